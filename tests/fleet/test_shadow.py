"""Shadows: what they are told to agree on, and that nothing they do harms an answer."""

import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from clients import Http, Load
from fleet import ALL, Fleet, put_model, put_version, times, until

OUTCOMES = {"agree": 0, "differ": 0, "error": 0, "shed": 0}


def settled(replica, version: int, copies: int) -> dict:
    """What became of so many copies."""
    seen = lambda: replica.shadows(version)
    until(lambda: sum(seen().values()) >= copies, 20, seen)
    time.sleep(0.2)
    return seen()


def distance(replica, version: int) -> float:
    """The mean of all."""
    of = lambda kind: f'ocelli_shadow_distance_{kind}{{model="m",version="{version}"}}'
    metrics = replica.metrics()
    return metrics[of("sum")] / metrics[of("count")]


def ask(replica, times: int, pause=0.001):
    """One after the other, with time for the copies."""
    http = Http(replica.rest)
    for n in range(times):
        assert http.infer(float(n % 50 + 1)).version == 1
        time.sleep(pause)


@pytest.fixture
def pair():
    """Version 2 computes the same as 1, version 3 twice as much, version 4 almost the same."""
    def make(models):
        (models / "m").mkdir()
        (models / "m/model.toml").write_text(ALL)
        for version, factor in [(1, 1.0), (2, 1.0), (3, 2.0), (4, 1.0005)]:
            put_version(models, "m", version, times(factor))

    with Fleet(1, make=make) as fleet:
        yield fleet[0]


def test_agreement_and_distance_are_recorded(pair):
    shadows = [{"version": v, "percent": 100} for v in (2, 3, 4)]
    pair.weigh({1: 1}, shadow=shadows)
    ask(pair, 200)
    assert settled(pair, 2, 200) == {**OUTCOMES, "agree": 200}
    assert settled(pair, 3, 200) == {**OUTCOMES, "differ": 200}
    # Numbers within 0.1 % agree.
    assert settled(pair, 4, 200) == {**OUTCOMES, "agree": 200}
    assert distance(pair, 2) == 0
    assert distance(pair, 3) == pytest.approx(1)
    assert distance(pair, 4) == pytest.approx(0.0005, rel=0.01)
    # Shadows answered nobody.
    requests = {s: v for s, v in pair.metrics().items() if s.startswith("ocelli_arm_requests_total")}
    assert sum(v for s, v in requests.items() if 'version="1"' in s) == 200
    assert sum(v for s, v in requests.items() if 'version="1"' not in s) == 0


def test_a_shadow_gets_its_share_and_none_of_what_names_a_version(pair):
    pair.weigh({1: 1}, shadow=[{"version": 2, "percent": 25}])
    ask(pair, 2000, pause=0)
    time.sleep(0.5)
    # Four standard deviations around 500.
    assert 420 < sum(pair.shadows(2).values()) < 580
    before = pair.shadows(2)
    http = Http(pair.rest)
    for _ in range(100):
        http.infer(path="/v1/models/m/versions/1:predict")
    pair.set(shadow=[])
    ask(pair, 200)
    time.sleep(0.3)
    assert pair.shadows(2) == before


def test_shadow_is_followed_by_all_replicas(fleet):
    told = fleet[0].weigh({1: 1}, shadow=[{"version": 2, "percent": 100}])
    fleet.agree_on(told["revision"])
    for replica in fleet:
        ask(replica, 50)
        assert settled(replica, 2, 50) == {**OUTCOMES, "differ": 50}


def faulty(plan: str):
    """Version 2 is computed by the engine that fails on purpose."""
    def make(models):
        put_model(models, "m", [1])
        put_version(models, "m", 2, times(1), model_toml='engine = "faults"\n', faults_json=plan)

    return make


@pytest.fixture(scope="module")
def faults():
    with Fleet(1, make=faulty("{}")) as fleet:
        if fleet[0].states()[2] != "AVAILABLE":
            pytest.skip("the binary has no engine `faults`")


@pytest.mark.parametrize(
    "plan, outcomes",
    [
        # The engine spares the first runs, of which some were the warm-up.
        ('{"error_every": 1}', {"agree": (0, 16), "error": (284, 300)}),
        ('{"panic_every": 1}', {"agree": (0, 16), "error": (284, 300)}),
        ('{"panic_every": 3, "error_every": 2}', {"agree": (80, 130), "error": (170, 220)}),
        ('{"delay_ms": 50}', {"agree": (64, 130), "shed": (100, 236)}),
    ],
    ids=["fails", "panics", "fails and panics at times", "hangs"],
)
def test_a_shadow_that_breaks_never_harms_an_answer(faults, plan, outcomes):
    with Fleet(1, make=faulty(plan)) as fleet:
        replica = fleet[0]
        replica.weigh({1: 1}, shadow=[{"version": 2, "percent": 100}])
        http = Http(replica.rest)
        took = []
        for n in range(300):
            began = time.monotonic()
            assert http.infer(float(n + 1)).version == 1
            took.append(time.monotonic() - began)
            time.sleep(0.002)
        seen = settled(replica, 2, 300)
        for outcome in OUTCOMES:
            expected = outcomes.get(outcome, 0)
            low, high = expected if isinstance(expected, tuple) else (expected, expected)
            assert low <= seen[outcome] <= high, seen
        assert sorted(took)[150] < 0.05
        # Version 1 has no failure to its name, and both go on.
        failures = [s for s in replica.metrics() if "ocelli_arm_requests_total" in s and "error" in s]
        assert all(replica.metrics()[s] == 0 for s in failures)
        assert replica.states() == {1: "AVAILABLE", 2: "AVAILABLE"}
        # The thread of the background outlived it: another shadow is still computed.
        put_version(fleet.models, "m", 3, times(1))
        until(lambda: replica.states().get(3) == "AVAILABLE", 10)
        replica.set(shadow=[{"version": 3, "percent": 100}])
        time.sleep(0.3)
        for n in range(20):
            assert http.infer(float(n + 1)).version == 1
            time.sleep(0.01)
        until(lambda: replica.shadows(3)["agree"] == 20, 20, lambda: replica.shadows(3))


def heavy(factor: float) -> onnx.ModelProto:
    """y = x * factor, after a detour of some milliseconds that adds nothing."""
    width = 1024
    zeros = np.zeros((width, width), np.float32)
    constants = [
        numpy_helper.from_array(np.array(factor, np.float32), "factor"),
        numpy_helper.from_array(np.zeros((1, width), np.float32), "up"),
        numpy_helper.from_array(zeros, "square"),
        numpy_helper.from_array(np.zeros((width, 1), np.float32), "down"),
    ]
    nodes = [helper.make_node("Mul", ["x", "factor"], ["scaled"])]
    nodes += [helper.make_node("MatMul", ["x", "up"], ["h0"])]
    turns = 8
    for n in range(turns):
        nodes += [helper.make_node("MatMul", [f"h{n}", "square"], [f"h{n + 1}"])]
    nodes += [helper.make_node("MatMul", [f"h{turns}", "down"], ["nothing"])]
    nodes += [helper.make_node("Add", ["scaled", "nothing"], ["y"])]
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1])
    graph = helper.make_graph(nodes, "heavy", [value("x")], [value("y")], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_when_there_is_no_spare_capacity_copies_are_shed_and_answers_are_not():
    def make(models):
        (models / "m").mkdir()
        (models / "m/model.toml").write_text(ALL)
        for version in (1, 2):
            put_version(models, "m", version, heavy(version))

    with Fleet(1, make=make) as fleet:
        replica = fleet[0]
        replica.weigh({1: 1})
        counts = {False: [], True: []}
        for _ in range(3):
            for on in counts:
                shadow = [{"version": 2, "percent": 100}] if on else []
                replica.weigh({1: 1}, shadow=shadow)
                with Load([replica], threads=6, kinds=["http"]) as load:
                    time.sleep(1.0)
                assert load.failed == []
                rows = [row for row in load.rows()]
                assert {row[3] for row in rows} == {1}
                span = max(row[1] for row in rows) - min(row[0] for row in rows)
                counts[on].append(len(rows) / span)
        seen = replica.shadows(2)
        print(f"\nanswers/s saturated: {counts[False]} without, {counts[True]} with; copies {seen}")
        assert seen["shed"] > 100
        assert seen["error"] == seen["agree"] == 0
        assert np.median(counts[True]) > 0.75 * np.median(counts[False])
