#!/usr/bin/env python3
"""The Grafana dashboards, as code.

    deploy/grafana/dashboards.py            writes helm/ocelli/files/dashboards/*.json
    deploy/grafana/dashboards.py --check    fails if what is there is not what this would write
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
WRITTEN = HERE.parents[1] / "helm/ocelli/files/dashboards"

M = 'namespace=~"$namespace", model=~"$model"'
"""Selects series of models."""
N = 'namespace=~"$namespace"'
BY = "sum by (model) "
RATE = "[$__rate_interval]"


@dataclass
class Panel:
    """One picture: its queries by their legends."""

    title: str
    queries: dict
    about: str
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 7
    stack: bool = False
    steps: list = field(default_factory=list)
    """Thresholds: (from, colour)."""
    mappings: list = field(default_factory=list)
    lowest: float | None = 0

    def json(self, number: int, x: int, y: int) -> dict:
        instant = self.kind in ("stat", "table", "bargauge")
        steps = [{"value": value, "color": colour} for value, colour in self.steps] or [{"value": None, "color": "green"}]
        custom = {}
        if self.kind == "timeseries":
            custom = {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}
            if self.stack:
                custom |= {"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 40}
        defaults = {"unit": self.unit, "custom": custom, "thresholds": {"mode": "absolute", "steps": steps}}
        if self.mappings:
            defaults["mappings"] = self.mappings
        if self.lowest is not None:
            defaults["min"] = self.lowest
        options = {
            "timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
            "stat": {"colorMode": "background" if self.mappings or self.steps else "value", "reduceOptions": {"calcs": ["lastNotNull"]}},
            "bargauge": {"orientation": "horizontal", "reduceOptions": {"calcs": ["lastNotNull"]}},
            "table": {},
        }[self.kind]
        targets = [
            {
                "refId": chr(ord("A") + i),
                "datasource": {"type": "prometheus", "uid": "$datasource"},
                "expr": query,
                "legendFormat": legend,
                "instant": instant,
                "range": not instant,
                **({"format": "table"} if self.kind == "table" else {}),
            }
            for i, (legend, query) in enumerate(self.queries.items())
        ]
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.about,
            "datasource": {"type": "prometheus", "uid": "$datasource"},
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": options,
            "targets": targets,
        }


@dataclass
class Dashboard:
    """Panels in reading order, and what one may choose."""

    name: str
    title: str
    panels: list
    choices: list = field(default_factory=list)

    def json(self) -> dict:
        placed, x, y, tallest = [], 0, 0, 0
        for number, panel in enumerate(self.panels, 1):
            if x + panel.width > 24:
                x, y, tallest = 0, y + tallest, 0
            placed.append(panel.json(number, x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        return {
            "uid": f"ocelli-{self.name}",
            "title": f"Ocelli / {self.title}",
            "tags": ["ocelli"],
            "timezone": "browser",
            "schemaVersion": 39,
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {"list": [DATASOURCE, choice("namespace", "ocelli_snapshot_revision", many=True), *self.choices]},
            "annotations": {"list": [EVENTS]},
            "links": [{"type": "dashboards", "tags": ["ocelli"], "asDropdown": True, "title": "Ocelli", "keepTime": True}],
            "panels": placed,
        }


DATASOURCE = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}


def choice(label: str, series: str, many: bool, name=None) -> dict:
    """A variable whose values are those of a label."""
    query = {"query": f"label_values({series}, {label})", "refId": "A"}
    made = {"name": name or label, "type": "query", "datasource": {"type": "prometheus", "uid": "$datasource"}}
    made |= {"query": query, "refresh": 2, "sort": 3, "multi": many, "includeAll": many}
    return made | ({"allValue": ".*", "current": {"text": "All", "value": "$__all"}} if many else {})


MODELS = choice("model", f"ocelli_loaded_versions{{{N}}}", many=True)
MODEL = choice("model", f"ocelli_loaded_versions{{{N}}}", many=False)
ARMS = 'ocelli_traffic_weight{namespace=~"$namespace", model="$model"}'
BASELINE = choice("version", ARMS, many=False, name="baseline")
CANDIDATE = choice("version", ARMS, many=False, name="candidate")

EVENTS = {
    "name": "Traffic",
    "datasource": {"type": "prometheus", "uid": "$datasource"},
    "enable": True,
    "iconColor": "purple",
    "expr": f"sum by (model, kind) (changes(ocelli_traffic_events_total{{{N}}}[$__interval])) > 0",
    "titleFormat": "{{kind}}",
    "textFormat": "{{model}}",
    "step": "10s",
}

RED = [(None, "green"), (0.001, "orange"), (0.01, "red")]


def quantile(q: float, series: str, by="model", where=M) -> str:
    return f"histogram_quantile({q}, sum by ({by}, le) (rate({series}_bucket{{{where}}}{RATE})))"


OVERVIEW = Dashboard(
    "overview",
    "Overview",
    [
        Panel("Requests", {"a second": f"sum(rate(ocelli_requests_total{{{M}}}{RATE}))"}, "Answered, whatever the answer.", "stat", "reqps", 4, 4),
        Panel("Failed", {"share": f'sum(rate(ocelli_requests_total{{{M}, code=~"5.."}}{RATE}) or 0 * rate(ocelli_requests_total{{{M}}}{RATE})) / sum(rate(ocelli_requests_total{{{M}}}{RATE}))'}, "Status 500 and above, refusals among them.", "stat", "percentunit", 4, 4, steps=RED),
        Panel("p99", {"p99": f"histogram_quantile(0.99, sum by (le) (rate(ocelli_request_duration_seconds_bucket{{{M}}}{RATE})))"}, "From routed to answered.", "stat", "s", 4, 4),
        Panel("Replicas", {"up": f"count(ocelli_snapshot_revision{{{N}}})"}, "That are scraped.", "stat", width=4, height=4),
        Panel("Load", {"of the capacity": f"avg(ocelli_load{{{N}}})"}, "Work that comes in, in parts of the capacity. What the autoscaler goes by.", "stat", "percentunit", 4, 4, steps=[(None, "green"), (0.8, "orange"), (1, "red")]),
        Panel("Month's error budget left", {"left": f'1 - max(model:ocelli_errors:ratio_rate3d{{{M}}}) / 0.001'}, "Of 99.9 %, if the last three days went on: below zero it is spent faster than it comes.", "stat", "percentunit", 4, 4, steps=[(None, "red"), (0, "orange"), (0.5, "green")], lowest=None),
        Panel("Requests by model", {"{{model}}": f"{BY}(rate(ocelli_requests_total{{{M}}}{RATE}))"}, "Answered, a second.", unit="reqps", stack=True),
        Panel("By status", {"{{code}}": f"sum by (code) (rate(ocelli_requests_total{{{M}}}{RATE}))"}, "Of HTTP; gRPC's are counted as theirs.", unit="reqps", stack=True),
        Panel("Refused and unrouted", {"{{model}}: {{reason}}": f"sum by (model, reason) (rate(ocelli_rejected_total{{{M}}}{RATE}))", "unrouted: {{code}}": f"sum by (code) (rate(ocelli_unrouted_requests_total{{{N}}}{RATE}))"}, "No place in the queue; a model or version that isn't there.", unit="reqps"),
        Panel("Latency", {f"{{{{model}}}} p{int(q * 100)}": quantile(q, "ocelli_request_duration_seconds") for q in (0.5, 0.9, 0.99)}, "From routed to answered.", unit="s"),
        Panel("Where the time goes", {name: f"sum(rate(ocelli_{name}_duration_seconds_sum{{{M}}}{RATE})) / sum(rate(ocelli_request_duration_seconds_count{{{M}}}{RATE}))" for name in ("preprocess", "queue", "compute")}, "Mean of a request: decoding and resizing; waiting; its batch's run, shared by the rows of the batch.", unit="s", stack=True),
        Panel("Waiting", {"{{model}}": f"{BY}(ocelli_queue_rows{{{M}}})"}, "Rows in queues.", stack=True),
        Panel("Slower than half a second", {"{{model}}": f"model:ocelli_slow:ratio_rate5m{{{M}}}"}, "Share of the answers; the objective is 1 %.", unit="percentunit"),
        Panel("Batch", {"{{model}}": f"{BY}(rate(ocelli_batch_rows_sum{{{M}}}{RATE})) / {BY}(rate(ocelli_batch_rows_count{{{M}}}{RATE}))"}, "Mean rows of a run."),
        Panel("Trouble", {"expired: {{model}}": f"{BY}(rate(ocelli_expired_total{{{M}}}{RATE}))", "abandoned: {{model}}": f"{BY}(rate(ocelli_abandoned_total{{{M}}}{RATE}))", "panics: {{model}}": f"{BY}(rate(ocelli_engine_panics_total{{{M}}}{RATE}))"}, "Deadlines that passed in the queue, callers that left, panics of the engine.", unit="cps"),
        Panel("Load of the replicas", {"mean": f"avg(ocelli_load{{{N}}})", "highest": f"max(ocelli_load{{{N}}})"}, "Far apart: the balancer does not spread the work.", unit="percentunit", width=12),
        Panel("Answered from the cache", {"{{model}}": f'{BY}(rate(ocelli_cache_requests_total{{{M}, result="hit"}}{RATE})) / {BY}(rate(ocelli_cache_requests_total{{{M}}}{RATE}))'}, "Share of the requests to models that have a cache.", unit="percentunit", width=12),
    ],
    [MODELS],
)

ONE = 'namespace=~"$namespace", model="$model"'
BOTH = f'{ONE}, version=~"$baseline|$candidate"'


def arm(version: str, outcome: str, series="ocelli_arm_feedback_total") -> str:
    return f'sum({series}{{{ONE}, version="${version}", outcome=~"{outcome}"}})'


def evidence(good: str, n: str, series: str) -> str:
    """The stake of the normal mixture against "both arms are alike": from 20 on, that is refused at 5 %, however
    often one looks (docs/statistics.md). The mixture's deviation is a point (0.01)."""
    a, b = (f"{arm(v, n, series)}" for v in ("baseline", "candidate"))
    # One more of each, so that arms without any failure have a variance too.
    p, q = (f"(({arm(v, good, series)} + 1) / ({arm(v, n, series)} + 2))" for v in ("baseline", "candidate"))
    variance = f"({p} * (1 - {p}) / {a} + {q} * (1 - {q}) / {b})"
    square = f"(({q} - {p}) ^ 2)"
    stake = f"sqrt({variance} / ({variance} + 0.0001)) * exp(0.0001 * {square} / (2 * {variance} * ({variance} + 0.0001)))"
    # It grows without end, and what it decides was decided at 20.
    return f"clamp_max({stake}, 100)"


VERDICT = [
    {"type": "range", "options": {"from": None, "to": -1, "result": {"text": "worse", "color": "red", "index": 0}}},
    {"type": "range", "options": {"from": -0.999, "to": 0.999, "result": {"text": "keep going", "color": "blue", "index": 1}}},
    {"type": "range", "options": {"from": 1, "to": None, "result": {"text": "better", "color": "green", "index": 2}}},
]
ACCURATE = ("correct", "correct|wrong", "ocelli_arm_feedback_total")
SUCCESS = ("ok", "ok|error", "ocelli_arm_requests_total")


def difference(good: str, n: str, series: str) -> str:
    return f"{arm('candidate', good, series)} / {arm('candidate', n, series)} - {arm('baseline', good, series)} / {arm('baseline', n, series)}"


def verdict(kind: tuple) -> str:
    """1 is better, -1 worse. The mixture is a normal one: it holds from a hundred samples in each arm."""
    enough = " * ".join(f"({arm(version, *kind[1:])} >= bool 100)" for version in ("baseline", "candidate"))
    return f"sgn({difference(*kind)}) * ({evidence(*kind)} >= bool 20) * {enough}"


VERSIONS = Dashboard(
    "versions",
    "Versions, A against B",
    [
        Panel("Verdict by accuracy", {"candidate": verdict(ACCURATE)}, "Whether the candidate is right more often, by feedback since the replicas started. At 5 %, however often one looks, from a hundred samples in each arm. `ocelli experiment` is exact, and knows what is worth having.", "stat", width=6, height=4, mappings=VERDICT, lowest=None),
        Panel("Accuracy, candidate less baseline", {"difference": difference(*ACCURATE)}, "Of all feedback on answers given as an arm.", "stat", "percentunit", 6, 4, lowest=None),
        Panel("Verdict by success", {"candidate": verdict(SUCCESS)}, "The same of requests that did not fail.", "stat", width=6, height=4, mappings=VERDICT, lowest=None),
        Panel("p99, candidate by baseline", {"times": quantile(0.99, "ocelli_arm_duration_seconds", "model", f'{ONE}, version="$candidate"') + " / " + quantile(0.99, "ocelli_arm_duration_seconds", "model", f'{ONE}, version="$baseline"')}, "1.2 is a fifth slower.", "stat", width=6, height=4, steps=[(None, "green"), (1.2, "orange"), (1.5, "red")]),
        Panel("Evidence", {"accuracy": evidence(*ACCURATE), "success": evidence(*SUCCESS)}, "What a stake of 1 against \"they are alike\" has become, as far as 100. 20 decides.", steps=[(None, "blue"), (20, "green")]),
        Panel("Requests", {"version {{version}}": f"sum by (version) (rate(ocelli_arm_requests_total{{{BOTH}}}{RATE}))"}, "Answered as an arm of the traffic.", unit="reqps"),
        Panel("Split", {"version {{version}}": f"avg by (version) (ocelli_traffic_weight{{{ONE}}}) / 10000"}, "Share of the traffic by the document in force.", unit="percentunit", stack=True),
        Panel("Accuracy", {"version {{version}}": f'sum by (version) (ocelli_arm_feedback_total{{{BOTH}, outcome="correct"}}) / sum by (version) (ocelli_arm_feedback_total{{{BOTH}, outcome=~"correct|wrong"}})'}, "Of all feedback on answers given as an arm.", unit="percentunit", lowest=None),
        Panel("Failed", {"version {{version}}": f'sum by (version) (rate(ocelli_arm_requests_total{{{BOTH}, outcome="error"}}{RATE})) / sum by (version) (rate(ocelli_arm_requests_total{{{BOTH}}}{RATE}))'}, "Share of the requests with status 500 and above.", unit="percentunit"),
        Panel("Latency", {f"version {{{{version}}}} p{int(q * 100)}": quantile(q, "ocelli_arm_duration_seconds", "version", BOTH) for q in (0.5, 0.99)}, "From routed to answered.", unit="s"),
        Panel("Shadow agrees", {"version {{version}}": f'sum by (version) (rate(ocelli_shadow_total{{{ONE}, outcome="agree"}}{RATE})) / sum by (version) (rate(ocelli_shadow_total{{{ONE}, outcome=~"agree|differ"}}{RATE}) > 0)'}, "Share of the copies whose best class was the answer's.", unit="percentunit"),
        Panel("Shadow copies", {"version {{version}}: {{outcome}}": f"sum by (version, outcome) (rate(ocelli_shadow_total{{{ONE}}}{RATE}))"}, "`shed` found no room or no time: answers come first.", unit="cps"),
        Panel("Feedback", {"version {{version}}: {{outcome}}": f"sum by (version, outcome) (rate(ocelli_feedback_total{{{ONE}}}{RATE}))"}, "Messages, `duplicate` ones aside.", unit="cps"),
        Panel("Recall of the last hour", {"{{class}}, version {{version}}": f"max by (version, class) (ocelli_recall{{{BOTH}}})"}, "By class: the 20 most frequent and the others together.", unit="percentunit"),
        Panel("Drift", {"{{of}}, version {{version}}": f'max by (version, of) (ocelli_drift{{{ONE}, measure="psi"}})', "chance alone: {{of}}": f'max by (of) (ocelli_drift{{{ONE}, measure="noise"}})'}, "PSI of what comes in against the reference. Worth a look well above what chance gives."),
    ],
    [MODEL, BASELINE, CANDIDATE],
)

ROLLOUT = Dashboard(
    "rollout",
    "Rollout",
    [
        Panel("Step", {"{{model}}": f"max by (model) (ocelli_rollout_step{{{M}}})"}, "Of the rollout that goes on, from 1; 0 without one.", "stat", width=6, height=4),
        Panel("Rollbacks of the last hour", {"{{model}}": f'sum by (model) ((ocelli_traffic_events_total{{{M}, kind=~"rollback|automatic_rollback"}} unless ocelli_traffic_events_total offset 1h) or increase(ocelli_traffic_events_total{{{M}, kind=~"rollback|automatic_rollback"}}[1h]))'}, "By a person, or by a gate.", "stat", width=6, height=4, steps=[(None, "green"), (1, "red")]),
        Panel("Store", {"{{kind}}": f"min by (kind) (ocelli_traffic_store_up{{{N}}})"}, "Whether every replica can reach and read it.", "stat", width=6, height=4, steps=[(None, "red"), (1, "green")]),
        Panel("Replicas behind", {"{{model}}": f"max by (model) (ocelli_traffic_revision{{{M}}}) - min by (model) (ocelli_traffic_revision{{{M}}})"}, "Revisions between the newest and the oldest document in force.", "stat", width=6, height=4, steps=[(None, "green"), (1, "orange")]),
        Panel("Weights", {"{{model}} {{version}}": f"avg by (model, version) (ocelli_traffic_weight{{{M}}}) / 10000"}, "Share of the traffic, by version.", unit="percentunit", width=12, height=8, stack=True),
        Panel("Requests by version", {"{{model}} {{version}}": f"sum by (model, version) (rate(ocelli_arm_requests_total{{{M}}}{RATE}))"}, "Answered as an arm.", unit="reqps", width=12, height=8, stack=True),
        Panel("Steps", {"{{model}}": f"max by (model) (ocelli_rollout_step{{{M}}})"}, "Of the rollout that goes on."),
        Panel("Failed by version", {"{{model}} {{version}}": f"version:ocelli_arm_errors:ratio_rate5m{{{M}}}"}, "What a gate `error_rate` looks at.", unit="percentunit"),
        Panel("p99 by version", {"{{model}} {{version}}": f"version:ocelli_arm_duration_seconds:p99_5m{{{M}}}"}, "What a gate `p99` looks at.", unit="s"),
        Panel("Changes", {"{{model}}: {{kind}}": f"sum by (model, kind) (ocelli_traffic_events_total{{{M}}})"}, "Since the replicas started: of the traffic, by whom or what.", lowest=0),
        Panel("Revision", {"{{model}}: newest": f"max by (model) (ocelli_traffic_revision{{{M}}})", "{{model}}: oldest in force": f"min by (model) (ocelli_traffic_revision{{{M}}})"}, "Two lines while replicas differ."),
        Panel("Loaded versions", {"{{model}}": f"max by (model) (ocelli_loaded_versions{{{M}}})", "failed to load: {{model}}": f"sum by (model) (ocelli_load_failures_total{{{M}}})"}, "Loaded and warm, on the replica with the most; loads that failed, of all."),
    ],
    [MODELS],
)

AUTOSCALING = Dashboard(
    "autoscaling",
    "Autoscaling",
    [
        Panel("Load", {"mean": f"avg(ocelli_load{{{N}}})", "highest": f"max(ocelli_load{{{N}}})"}, "Work that comes in, in parts of the capacity: what is being computed and what waits, in seconds of work a second. Beyond 1 it can't be done. The autoscaler goes by the mean.", unit="percentunit", width=12, height=8),
        Panel("Load by model", {"{{model}}": f"sum by (model) (ocelli_model_load{{{M}}}) / scalar(count(ocelli_snapshot_revision{{{N}}}))"}, "Each model's part of it.", unit="percentunit", width=12, height=8, stack=True),
        Panel("Replicas", {"scraped": f"count(ocelli_snapshot_revision{{{N}}})", "wanted for a load of 0.7": f"ceil(sum(ocelli_load{{{N}}}) / 0.7)"}, "What there are, and what the HPA's rule asks for before its tolerance and its windows."),
        Panel("Compute threads busy", {"share": f"sum(avg_over_time(ocelli_compute_threads_busy{{{N}}}{RATE})) / sum(ocelli_compute_threads{{{N}}})"}, "By looks at the moment of each scrape. Ends at 1, where the load goes on.", unit="percentunit"),
        Panel("Waiting", {"{{model}}": f"sum by (model) (ocelli_queue_rows{{{M}}})"}, "Rows. Rises before the CPU or latencies tell anything.", stack=True),
        Panel("Under way", {"{{model}}": f"sum by (model) (ocelli_in_flight_requests{{{M}}})"}, "Routed and not yet answered.", stack=True),
        Panel("Time in the queue", {"{{model}} p50": quantile(0.5, "ocelli_queue_duration_seconds"), "{{model}} p99": quantile(0.99, "ocelli_queue_duration_seconds")}, "From queued to computed.", unit="s"),
        Panel("Refused", {"{{model}}: {{reason}}": f"sum by (model, reason) (rate(ocelli_rejected_total{{{M}}}{RATE}))"}, "No place in the queue: too late to scale.", unit="reqps"),
        Panel("Requests by replica", {"{{instance}}": f"sum by (instance) (rate(ocelli_requests_total{{{M}}}{RATE}))"}, "Whether the balancer spreads them.", unit="reqps"),
        Panel("Work that waits", {"{{model}}": f"sum by (model) (ocelli_queued_seconds{{{M}}})"}, "Seconds of compute in the queues, in full batches: what the load counts of them.", unit="s", stack=True),
        Panel("What a run is expected to take", {"{{model}} {{version}}: {{part}}": f"avg by (model, version, part) (ocelli_batch_cost_seconds{{{M}}})"}, "A fixed part, and one for each row, as measured: what the load is reckoned with.", unit="s"),
    ],
    [MODELS],
)

OWN = lambda series: f"{series} and on (instance, job) ocelli_compute_threads{{{N}}}"
RESOURCES = Dashboard(
    "resources",
    "Resources",
    [
        Panel("CPU", {"{{instance}}": OWN(f"rate(process_cpu_seconds_total{RATE})")}, "Cores in use.", width=12),
        Panel("Memory", {"{{instance}}": OWN("process_resident_memory_bytes")}, "Resident.", unit="bytes", width=12),
        Panel("Compute threads", {"{{instance}}: busy": f"ocelli_compute_threads_busy{{{N}}}", "{{instance}}: all": f"ocelli_compute_threads{{{N}}}"}, "Those that run a batch."),
        Panel("CPU of a row", {"mean": f"sum({OWN(f'rate(process_cpu_seconds_total{RATE})')}) / sum(rate(ocelli_rows_total{{{N}}}{RATE}))"}, "All of the process' CPU by the rows computed.", unit="s"),
        Panel("Rows", {"{{model}}": f"sum by (model) (rate(ocelli_rows_total{{{M}}}{RATE}))"}, "Computed a second.", unit="cps", stack=True),
        Panel("Compute", {"{{model}} {{version}} p50": quantile(0.5, "ocelli_compute_duration_seconds", "model, version"), "{{model}} {{version}} p99": quantile(0.99, "ocelli_compute_duration_seconds", "model, version")}, "One run of the engine.", unit="s"),
        Panel("Decoding", {"{{model}} p50": quantile(0.5, "ocelli_preprocess_duration_seconds"), "{{model}} p99": quantile(0.99, "ocelli_preprocess_duration_seconds")}, "Decoding, resizing, normalising of a picture.", unit="s"),
        Panel("Open files", {"{{instance}}": OWN("process_open_fds / process_max_fds")}, "Share of the limit; connections are files.", unit="percentunit"),
        Panel("Threads", {"{{instance}}": OWN("process_threads")}, "Of the process."),
        Panel("Up for", {"{{instance}}": f"time() - ({OWN('process_start_time_seconds')})"}, "Since the process started.", unit="s"),
        Panel("Loaded versions", {"{{instance}}": f"sum by (instance) (ocelli_loaded_versions{{{N}}})"}, "Loaded and warm, of all models."),
        Panel("Engines", {"{{model}} {{version}}: {{engine}} {{precision}}": f"sum by (model, version, engine, precision) (ocelli_version_info{{{M}}})"}, "Replicas that compute a version so. Two lines of a version are replicas that chose differently."),
        Panel("Source", {"{{instance}}": f"ocelli_source_age_seconds{{{N}}}"}, "Since the models' source was last read well, where they come from one.", unit="s"),
        Panel("Prediction log", {"{{outcome}}": f"sum by (outcome) (rate(ocelli_prediction_log_total{{{N}}}{RATE}))"}, "Predictions that were to be logged.", unit="cps"),
        Panel("Cache", {"{{model}} {{version}}": f"sum by (model, version) (ocelli_cache_bytes{{{M}}})"}, "Bytes of answers that are kept, of all replicas, as of the last misses.", unit="bytes", stack=True),
    ],
    [MODELS],
)

ALL = [OVERVIEW, VERSIONS, ROLLOUT, AUTOSCALING, RESOURCES]


def main() -> int:
    stale = []
    WRITTEN.mkdir(parents=True, exist_ok=True)
    for dashboard in ALL:
        path = WRITTEN / f"{dashboard.name}.json"
        text = json.dumps(dashboard.json(), indent=1) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.is_file() or path.read_text() != text:
            stale.append(path.name)
    if stale:
        print(f"not as deploy/grafana/dashboards.py would write them: {', '.join(stale)}", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
