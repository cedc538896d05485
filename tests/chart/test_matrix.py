"""Every object that the chart can make, against the schemas of who takes it."""

import json
import re
import subprocess
import tomllib
from functools import cache

import kubernetes_validate
import pytest
import yaml

from chart import BINARY, CHART, HELM3, NEWEST, ROOT, helm, render, settings
from custom import faults, is_custom
from matrix import MATRIX, SINCE

VERSIONS = [f"1.{minor}.0" for minor in range(29, 38)]
DIFFERENT = ["1.29.0", "1.30.0", "1.31.0", "1.33.0"]
"""From where on what is rendered is different."""
ALL = {name: (VERSIONS[0], values) for name, values in MATRIX.items()} | SINCE


def newer(version: str, than: str) -> bool:
    number = lambda v: [int(part) for part in v.split(".")]
    return number(version) >= number(than)


@cache
def validate(document: str, version: str):
    """Strictly: a field that isn't known would be dropped without a word. A kind that is gone fails."""
    kubernetes_validate.validate(json.loads(document), version, strict=True)


@pytest.mark.parametrize("name", ALL)
def test_every_version_of_kubernetes_takes_it(name):
    since, values = ALL[name]
    for version in VERSIONS:
        if not newer(version, since):
            continue
        # Many cases make the same objects, and many versions: each is rendered and checked once.
        rendered = max((v for v in DIFFERENT if newer(version, v)), key=VERSIONS.index)
        for document in render(values, rendered):
            if not is_custom(document):
                validate(json.dumps(document, sort_keys=True), version)


def test_templates_look_at_no_other_version():
    text = "".join(p.read_text() for p in (CHART / "templates").rglob("*") if p.is_file() and p.name != "NOTES.txt")
    asked = set(re.findall(r'semverCompare "[<>=]+(\S+)-0"', text))
    assert {f"{v}.0" for v in asked} <= set(DIFFERENT)


def test_a_removed_api_would_be_noticed():
    old = {"apiVersion": "autoscaling/v2beta2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "x"}}
    with pytest.raises(Exception):
        kubernetes_validate.validate(old, NEWEST, strict=True)


def test_custom_resources_are_as_their_projects_say(tmp_path):
    found = [doc for _, values in ALL.values() for doc in render(values) if is_custom(doc)]
    # Each once: the compiler takes long.
    distinct = list({json.dumps(doc, sort_keys=True): doc for doc in found}.values())
    kinds = {doc["kind"] for doc in distinct}
    assert kinds == {
        "ServiceMonitor", "PodMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication", "HTTPRoute", "GRPCRoute",
    }  # fmt: skip
    assert faults(distinct, tmp_path) == ""


def test_a_wrong_custom_resource_would_be_noticed(tmp_path):
    route = next(doc for doc in render(MATRIX["gateway"]) if doc["kind"] == "HTTPRoute")
    route["spec"]["hostname"] = "x"
    assert "hostname" in faults([route], tmp_path)


@pytest.mark.parametrize("name", ALL)
def test_the_server_knows_every_setting(name, tmp_path):
    file = tmp_path / "ocelli.toml"
    file.write_text(settings(render(ALL[name][1])))
    done = subprocess.run([BINARY, "serve", "--config", file, "--print-config"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ALL)
def test_two_objects_never_have_the_same_name(name):
    names = [(doc["kind"], doc["metadata"]["name"]) for doc in render(ALL[name][1])]
    assert len(names) == len(set(names)), names
    assert all(len(name) <= 63 for _, name in names), names


@pytest.mark.skipif(not HELM3, reason="there is no helm 3")
@pytest.mark.parametrize("name", ALL)
def test_helm_3_makes_the_same(name):
    def made(binary):
        return sorted(json.dumps(doc, sort_keys=True) for doc in render(ALL[name][1], binary=binary))

    assert made(HELM3) == made(None)


@pytest.mark.parametrize("name", ALL)
def test_lint_finds_nothing(name):
    told = helm("lint", str(CHART), "--strict", "--kube-version", NEWEST, given=ALL[name][1])
    assert "0 chart(s) failed" in told and "[WARNING]" not in told, told


def test_the_rollout_of_the_server_is_as_argo_says(tmp_path):
    documents = list(yaml.safe_load_all((ROOT / "deploy/rollouts/argo-rollouts.yaml").read_text()))
    assert [doc["kind"] for doc in documents] == ["Rollout", "AnalysisTemplate"]
    assert faults(documents, tmp_path) == ""


def test_the_chart_takes_the_values_of_the_edge(tmp_path):
    values = yaml.safe_load((ROOT / "deploy/edge/values.yaml").read_text())
    for document in render(values):
        kubernetes_validate.validate(document, NEWEST, strict=True)
    # Its file for a machine without a cluster says the same, but for where things are.
    told = tomllib.loads((ROOT / "deploy/edge/ocelli.toml").read_text())
    assert values["config"].items() <= told.items()
    done = subprocess.run([BINARY, "serve", "--config", ROOT / "deploy/edge/ocelli.toml", "--print-config"], capture_output=True)
    assert done.returncode == 0, done.stderr
