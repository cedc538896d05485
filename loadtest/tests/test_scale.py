"""The parts of the comparison on real servers that need none."""

import json
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cpu_limit
import scale
import views
from real_fleet import Place


def test_the_trace_is_a_clusters_in_a_fifth_of_the_time():
    shape = scale.trace(5)
    assert shape.seconds == 240
    assert [shape.rate(t) for t in (0, 29, 36, 50)] == [1.0, 1.0, 3.8, 3.8]
    assert shape.rate(129) < 1.6 and [shape.rate(t) for t in (131, 239)] == [1.9, 1.9]
    # The heavier version comes when the crowd is gone.
    assert all(at * shape.seconds > 140 for at, _ in scale.ROLLOUT)


def test_queries_are_the_adapters_with_shorter_windows():
    adapter = (scale.rig.ROOT / "deploy/prometheus/adapter-values.yaml").read_text()
    assert f"avg_over_time(<<.Series>>{{<<.LabelMatchers>>}}[{scale.WINDOW:g}s])" in adapter
    assert scale.query("load", 5, 0.2) == "avg by (pod) (avg_over_time(ocelli_load[7000ms]))"
    assert scale.query("CPU", 5, 0.2).endswith("[7000ms])) / 0.2")


def test_a_request_is_a_picture_behind_its_header():
    body = scale.request()
    told = json.loads(body[: scale.HEADER])["inputs"][0]
    assert (told["shape"], told["parameters"]) == ([1, 1, 28, 28], {"binary_data_size": 784 * 4})
    assert len(body) == scale.HEADER + 784 * 4


def test_what_was_refused_failed_late_or_not_sent_is_violated():
    second = lambda **more: {"sent": 10, "refused": 0, "failed": 0, "over_slo": 0, **more}
    report = {"seconds": [second(refused=2, over_slo=1), second(failed=3), second()],
              "phases": [{"not_sent": 2, "late": {"p99": 1.5}}]}
    told = scale.violations(report)
    assert told["violated"] == 8 / 32
    assert (told["requests"], told["by_second"], told["generator_late_p99_ms"]) == (32, [3, 3, 0], 1.5)


class FakeFleet:
    """Pods that tell what they are given."""

    def __init__(self, told: dict, starting: int = 0):
        self.lock = threading.Lock()
        self.places = [Place(name, n) for n, name in enumerate(told)]
        for place in self.places:
            place.ready_at = time.monotonic()
        self.places += [Place(f"new{n}", 9) for n in range(starting)]
        self.prometheus = SimpleNamespace(by_pod=lambda query: {n: v for n, v in told.items() if v is not None})
        self.asked = []

    def scale(self, wanted: int) -> None:
        self.asked.append(wanted)


def look(signal: str, target: float, told: dict, starting: int = 0) -> int:
    fleet = FakeFleet(told, starting)
    scaler = scale.Autoscaler(fleet, signal, target, SimpleNamespace(faster=5, cpus=0.2))
    scaler.look(time.monotonic())
    assert scaler.behaviour.sync == 3
    return fleet.asked[0]


def test_the_autoscaler_does_what_the_metric_asks():
    assert look("load", 0.7, {"a": 1.4, "b": 1.4}) == 4
    assert look("load", 0.7, {"a": 0.7, "b": 0.7}) == 2
    assert look("load", 0.7, {"a": 9.0, "b": 9.0}) == scale.MOST
    assert look("RPS", 100, {"a": 150, "b": 150}) == 3


def test_pods_that_start_and_pods_without_a_value_count_as_in_a_cluster():
    assert look("load", 0.7, {"a": 1.4, "b": 1.4}, starting=1) == 4
    # A load of none yet counts 0 on the way up; a CPU of none yet does not count before it is there.
    assert look("load", 0.7, {"a": 1.4, "b": 1.4, "c": None}) == 4
    assert look("CPU", 0.5, {"a": 0.1, "b": 0.1, "c": None}) == 3, "held by the five minutes"


def test_the_simulation_of_a_run_has_its_versions_and_its_start():
    costs = {"1": {"per_second": 1 / 0.032}, "2": {"per_second": 1 / 0.064}}
    shape = scale.trace(5)
    args = SimpleNamespace(faster=5, seed=1)
    told = scale.simulated(costs, "RPS", 0.7 / 0.032, shape.arrivals(1 / 0.032, 1), shape.seconds, 6.0, args)
    # RPS does not see that the second version costs twice as much: 1.9 replicas' worth becomes 3.8 on 3.
    assert 2 <= told["history"][-1][1] <= 3
    assert told["violated"] > 0.02
    by_load = scale.simulated(costs, "load", 0.7, shape.arrivals(1 / 0.032, 1), shape.seconds, 6.0, args)
    assert by_load["history"][-1][1] >= 4
    assert by_load["violated"] < told["violated"]


def test_a_group_has_its_limit_and_starts_what_runs_in_it(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu_limit, "ROOT", tmp_path)
    (tmp_path / "cgroup.subtree_control").write_text("")
    pod = cpu_limit.Group("pod", 0.2)
    assert [(tmp_path / "pod" / file).read_text() for file in ("cpu.max", "cpu.weight")] == ["1000 5000", "400"]
    command = pod.command(["ocelli", "serve"])
    assert command[-2:] == ["ocelli", "serve"] and command[3] == str(tmp_path / "pod/cgroup.procs")
    # The first version's names, where there is such a hierarchy.
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1")
    cpu_limit.Group("pod", 0.2)
    assert (tmp_path / "cpu/pod/cpu.cfs_quota_us").read_text() == "1000"
    cpu_limit.Group("rest")
    assert not (tmp_path / "cpu/rest/cpu.cfs_quota_us").exists()
    assert (tmp_path / "cpu/rest/cpu.shares").read_text() == "4096"


def test_a_heavier_version_gives_the_mean_of_all_its_views():
    np, onnx, runtime = (pytest.importorskip(name) for name in ("numpy", "onnx", "onnxruntime"))
    model = onnx.load(scale.rig.ROOT / "tests/data/fashion/fashion_student_plain.onnx")
    run = lambda m, x: runtime.InferenceSession(m.SerializeToString()).run(None, {"input": x})[0]
    x = np.random.default_rng(1).normal(0, 1, (3, 1, 28, 28)).astype(np.float32)
    wanted = sum(run(model, np.roll(x, -view, axis=3)) for view in range(3)) / 3
    np.testing.assert_allclose(run(views.averaged(model, 28, 3), x), wanted, rtol=1e-4, atol=1e-5)
