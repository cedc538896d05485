"""Each query of each rule and panel, answered by a real Prometheus that scraped real servers under load."""

import json
import math
import os
import subprocess
import time


import pytest

from queries import PENDING, Query, alerts, dashboards, panels, recordings, selectors
from world import ROOT


def marked(queries: list[Query]) -> list:
    """Those of metrics that aren't there yet must fail: when they pass, pending.py is to be made shorter."""
    late = pytest.mark.xfail(strict=True, reason=f"waits for {', '.join(sorted(PENDING))}")
    return [pytest.param(q, marks=[late] if q.is_pending else [], id=str(q)) for q in queries]


def finite(values) -> list:
    return [v for v in values if math.isfinite(v)]


@pytest.mark.parametrize("query", marked(panels()))
def test_every_panel_has_data(world, query):
    if query.instant:
        found = finite(value for _, value in world.prometheus.now(query.text))
    else:
        found = finite(value for _, points in world.prometheus.over(query.text) for _, value in points)
    assert found, query.text


@pytest.mark.parametrize("query", marked(recordings()))
def test_every_recording_rule_records(world, query):
    found = finite(value for _, points in world.prometheus.over(query.where) for _, value in points)
    assert found, query.text


@pytest.mark.parametrize("query", marked(alerts()))
def test_every_alert_looks_at_something(world, query):
    """Each series that it selects is there; whether it tells right from wrong is alerts.yaml's to say."""
    for selector in selectors(query.text):
        assert world.prometheus.over(selector.text), f"{query.where}: nothing is {selector.text}"


def test_no_rule_fails(world):
    groups = world.prometheus.get("rules")["groups"]
    assert len(groups) > 5
    bad = {rule["name"]: rule["lastError"] for group in groups for rule in group["rules"] if rule["health"] != "ok"}
    assert not bad


@pytest.mark.parametrize("alert", ["OcelliRolledBack", "OcelliVersionFailedToLoad"])
def test_what_happened_is_told(world, alert):
    found = world.prometheus.now(f'max_over_time(ALERTS{{alertname="{alert}", alertstate="firing"}}[10m])')
    assert [labels["model"] for labels, _ in found] == ["m"], found


def test_failures_burn_the_budget(world):
    # Pending or firing: it waits two minutes, which this world may not last.
    found = world.prometheus.now('max_over_time(ALERTS{alertname="OcelliErrorBudgetBurnsFast"}[10m])')
    assert "narrow" in {labels["model"] for labels, _ in found}, found


def test_the_better_version_is_called_so(world):
    verdict = next(q for q in panels() if "Verdict by accuracy" in q.where)
    # The teacher (2) is the truth here, so the student (1) can't be better.
    ((_, value),) = world.prometheus.now(verdict.text)
    assert value == 1


def test_the_balancer_reaches_all(world):
    share = lambda: {labels["instance"]: v for labels, v in world.prometheus.now("sum by (instance) (rate(ocelli_rows_total[10s]))")}
    assert sum(v > 0 for v in share().values()) == 3, share()


def test_the_balancer_passes_grpc_on(world):
    """A call of the health service, whose request is empty, by hand."""
    url = f"http://{world.balancer.grpc}/grpc.health.v1.Health/Check"
    command = ["curl", "-sS", "--http2-prior-knowledge", "-H", "content-type: application/grpc", "-H", "te: trailers"]
    done = subprocess.run([*command, "--data-binary", "@-", url], input=bytes(5), capture_output=True, timeout=30)
    # A frame of two bytes: status = SERVING.
    assert done.stdout == b"\0\0\0\0\2\x08\1", done


def test_every_metric_of_ours_is_in_the_docs():
    text = (ROOT / "docs/metrics.md").read_text()
    recorded = {q.where for q in recordings()}
    used = {m for q in [*panels(), *recordings(), *alerts()] for m in q.metrics if m.startswith("ocelli_")}
    base = {m.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for m in used} - recorded - PENDING
    busy = {"ocelli_compute_threads_busy"}
    missing = {m for m in base - busy if f"`{m}`" not in text}
    assert not missing


@pytest.mark.skipif(not os.environ.get("PLOTS"), reason="drawn where PLOTS names a directory")
def test_plots(world):
    from plot import draw

    for name in dashboards():
        draw(name, world.prometheus, ROOT / os.environ["PLOTS"] / f"dashboard-{name}.png")


def test_a_replica_that_stops_fails_no_request_behind_the_balancer(world):
    """Last, since it does not come back."""
    body = json.dumps({"instances": [[[[0.0] * 28] * 28]]}).encode()
    leaving = world.replicas[2].process
    statuses, end = [], None
    began = time.monotonic()
    leaving.terminate()
    while end is None or time.monotonic() < end:
        statuses.append(world.post("/v1/models/m:predict", body).status)
        if end is None and leaving.poll() is not None:
            # And it is not missed.
            end = time.monotonic() + 1
        assert time.monotonic() - began < 60, "it does not stop"
    assert set(statuses) == {200} and len(statuses) > 100, {s: statuses.count(s) for s in set(statuses)}
    assert leaving.returncode == 0
