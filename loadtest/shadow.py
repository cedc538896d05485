#!/usr/bin/env python3
"""Measures what a shadow of 100 % costs the answers on this machine, and prints it.

    cargo build --release --workspace
    tests/fleet/run --collect-only            # makes the virtual environment, or: pip install numpy onnx
    target/fleet/venv/bin/python loadtest/shadow.py [spare] [saturated]

OCELLI_BIN and LOADTEST_BIN name other binaries. SHADOW_ROUNDS and SHADOW_SECONDS: how often, and how long.
"""

import json
import os
import shutil
import sys
import tempfile
import urllib.request
from pathlib import Path

import numpy as np
import onnx
import rig
from onnx import TensorProto, helper, numpy_helper

ROUNDS = int(os.environ.get("SHADOW_ROUNDS", 12))
SECONDS = int(os.environ.get("SHADOW_SECONDS", 10))
SCRATCH = Path(tempfile.mkdtemp(prefix="ocelli-shadow-"))
BODY = SCRATCH / "row.json"
WIDTH, PRODUCTS = 256, 8


def model() -> onnx.ModelProto:
    """Some milliseconds of products of matrices that fit in a core's own cache: y of one x."""
    square = np.random.default_rng(1).normal(0, 1 / WIDTH**0.5, (WIDTH, WIDTH)).astype(np.float32)
    constants = [numpy_helper.from_array(square, "square")]
    nodes = [helper.make_node("Mul", ["x", "square"], ["h0"])]
    for n in range(PRODUCTS):
        nodes += [helper.make_node("MatMul", [f"h{n}", "square"], [f"h{n + 1}"])]
    nodes += [helper.make_node("ReduceMean", [f"h{PRODUCTS}"], ["y"], axes=[0, 1], keepdims=1)]
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1])
    graph = helper.make_graph(nodes, "busy", [value("x")], [value("y")], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


class Server(rig.Server):
    """A server with two versions that compute the same; version 1 answers."""

    def __init__(self):
        models = SCRATCH / "models"
        if not models.exists():
            for version in ("1", "2"):
                (models / "busy" / version).mkdir(parents=True)
                onnx.save(model(), models / "busy" / version / "model.onnx")
            (models / "busy/model.toml").write_text("[versions]\nall = true\n")
            BODY.write_text('{"instances": [[1.5]]}')
        super().__init__(models, "--settle-ms=0", "--traffic-store=memory")
        self.shadow(0)

    def shadow(self, percent: float):
        shadow = [{"version": 2, "percent": percent}] if percent else []
        body = json.dumps({"weights": {"1": 1}, "shadow": shadow}).encode()
        url = f"{self.admin}/admin/v1/models/busy/traffic"
        urllib.request.urlopen(urllib.request.Request(url, body, method="PUT"), timeout=30).read()

    def copies(self) -> dict:
        of = lambda o: f'ocelli_shadow_total{{model="busy",outcome="{o}",version="2"}}'
        metrics = self.metrics()
        return {o: int(metrics.get(of(o), 0)) for o in ("agree", "differ", "error", "shed")}

    def compute(self) -> float:
        """Milliseconds of an answer's computing, since the start."""
        return self.mean("ocelli_compute_duration_seconds", "busy") * 1e3

    def asked(self, *flags: str, seconds=SECONDS) -> dict:
        phase = self.load("busy", BODY, f"--duration={seconds}s", "--warmup=1s", *flags)
        if set(phase["statuses"]) != {"200"}:
            print(f"  statuses {phase['statuses']}: was the machine busy with something else?", flush=True)
        return phase


def middle(values: list) -> str:
    low, mid, high = np.percentile(values, [25, 50, 75])
    return f"median {mid:.3f}, quartiles {low:.3f} to {high:.3f}"


def rounds(server: Server, *flags: str):
    """Without and with the shadow, the order turned around each time."""
    for n in range(ROUNDS):
        seen = {}
        for on in [False, True] if n % 2 else [True, False]:
            server.shadow(100 if on else 0)
            seen[on] = server.asked(*flags, f"--seed={n}")
        yield seen[False], seen[True]


def spare(busy=0.2) -> None:
    """Open loop; answers and copies each keep the cores busy to that part. Of 1 at most: there is room.
    `a/a` compares rounds without a shadow with each other: what chance alone does."""
    cores = len(os.sched_getaffinity(0))
    with Server() as server:
        server.asked("--concurrency=1", seconds=3)
        cost = server.compute()
        rate = busy * cores / cost * 1e3
        print(f"{cost:.2f} ms an answer, {rate:.0f}/s on {cores} cores: {busy:.0%} of them for answers, as "
              f"much for copies; load average {os.getloadavg()[0]:.1f}", flush=True)
        p50, p99, plain = [], [], []
        for without, with_ in rounds(server, f"--rate={rate:.0f}"):
            a, b = without["ok"], with_["ok"]
            p50.append(b["p50"] / a["p50"])
            p99.append(b["p99"] / a["p99"])
            plain.append(a["p99"])
            print(f"  p50 {a['p50']:.2f} and {b['p50']:.2f} ms, p99 {a['p99']:.2f} and {b['p99']:.2f} ms: "
                  f"{p99[-1]:.3f}", flush=True)
        chance = [b / a for a, b in zip(plain, plain[1:])]
        print(f"p99 with over without: {middle(p99)}; p50: {middle(p50)}; a/a p99: {middle(chance)}; "
              f"copies {server.copies()}", flush=True)


def saturated() -> None:
    """Closed loop with more under way than there are cores."""
    with Server() as server:
        ratios = []
        for without, with_ in rounds(server, "--concurrency=16"):
            a, b = without["good_per_second"], with_["good_per_second"]
            ratios.append(b / a)
            print(f"  {a:.0f} and {b:.0f} answers/s: {ratios[-1]:.3f}", flush=True)
        print(f"answers/s with over without: {middle(ratios)}; copies {server.copies()}", flush=True)


if __name__ == "__main__":
    scenarios = {f.__name__: f for f in [spare, saturated]}
    try:
        for name in sys.argv[1:] or scenarios:
            print(f"\n## {name}\n", flush=True)
            scenarios[name]()
    finally:
        shutil.rmtree(SCRATCH)
