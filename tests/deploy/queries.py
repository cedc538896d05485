"""Every query of the rules and dashboards."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import promql_parser as promql
import yaml

from pending import PENDING

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/ocelli"
RULES = CHART / "files/rules.yaml"

CHOSEN = {"$namespace": ".*", "$baseline": "1", "$candidate": "2", "$__rate_interval": "20s", "$__interval": "10s"}
"""What a person would have chosen, and Grafana computed; but for the model, which is all or one."""


@dataclass(frozen=True)
class Query:
    where: str
    legend: str
    text: str
    instant: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.legend}" if self.legend else self.where

    @property
    def metrics(self) -> set:
        return {selector.name for selector in selectors(self.text)}

    @property
    def is_pending(self) -> bool:
        return any(needs_pending(metric) for metric in self.metrics)


def needs_pending(metric: str) -> bool:
    """Itself, or by what it is recorded from."""
    recorded = {rule.where: rule for rule in recordings()}
    return metric in PENDING or (metric in recorded and recorded[metric].is_pending)


def groups() -> list:
    return yaml.safe_load(RULES.read_text())["groups"]


def recordings() -> list[Query]:
    return [Query(r["record"], "", r["expr"]) for g in groups() for r in g["rules"] if "record" in r]


def alerts() -> list[Query]:
    return [Query(r["alert"], "", r["expr"]) for g in groups() for r in g["rules"] if "alert" in r]


def dashboards() -> dict:
    return {p.stem: json.loads(p.read_text()) for p in sorted((CHART / "files/dashboards").glob("*.json"))}


def fill(text: str) -> str:
    for variable, value in CHOSEN.items() | {("$model", "m" if 'model="$model"' in text else ".*")}:
        text = text.replace(variable, value)
    assert "$" not in text, text
    return text


def panels() -> list[Query]:
    found = []
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                where = f"{name} / {panel['title']}"
                found.append(Query(where, target["legendFormat"], fill(target["expr"]), target["instant"]))
    return found


def annotations() -> list[Query]:
    return [
        Query(f"{name} / {a['name']}", "", fill(a["expr"]))
        for name, dashboard in dashboards().items()
        for a in dashboard["annotations"]["list"]
    ]


@dataclass(frozen=True)
class Selector:
    name: str
    text: str


def selectors(text: str) -> set[Selector]:
    """Of series, as they stand in a query, without ranges and offsets."""
    found = set()

    def walk(node):
        if isinstance(node, promql.VectorSelector):
            matchers = [f'{m.name}{OPS[str(m.op)]}{json.dumps(m.value)}' for m in node.matchers.matchers]
            found.add(Selector(node.name, node.name + ("{" + ",".join(matchers) + "}" if matchers else "")))
        elif isinstance(node, promql.MatrixSelector):
            walk(node.vector_selector)
        elif isinstance(node, promql.BinaryExpr):
            walk(node.lhs), walk(node.rhs)
        elif isinstance(node, promql.Call):
            [walk(a) for a in node.args]
        elif isinstance(node, (promql.AggregateExpr, promql.ParenExpr, promql.UnaryExpr, promql.SubqueryExpr)):
            walk(node.expr)
        else:
            assert isinstance(node, (promql.NumberLiteral, promql.StringLiteral)), type(node)

    walk(promql.parse(text))
    return found


OPS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}


def braced(text: str) -> set[str]:
    """Metrics of ours that a text names, whatever language it is in."""
    return set(re.findall(r"\bocelli_[a-z_]+\b", text))
