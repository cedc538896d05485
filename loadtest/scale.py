#!/usr/bin/env python3
"""The autoscaling comparison for real: servers that come and go behind HAProxy, a Prometheus that scrapes them, and the
autoscaler's algorithm (hpa.py) on its answers, under load from loadtest; each signal in turn on the same trace.

    loadtest/scale.py                           # load, CPU, RPS: some 14 minutes
    loadtest/scale.py --signals RPS CPU load     # the other way round

Each replica has a fifth of a CPU (a control group, so this needs root) and one compute thread. A row takes several times
as long as what a pod may use at once, so that its CPU is slow, and not now fast and now still. All times of Kubernetes are
shorter, five times unless --faster says otherwise: the sync period, windows, policies, the scrape interval, what a pod
takes to start. Not ocelli_load's own memory of 5 s, which is the server's. A crowd comes and goes; later a heavier version
takes over by a change of traffic. Then the same trace is simulated, with the costs that were just measured, and both are
told. Needs prometheus and haproxy on the PATH. Kept in loadtest/runs.
"""

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cpu_limit
import fleet_sim
import rig
import traces
import venvs
from hpa import Behaviour, Controller, Pod, desired
from real_fleet import Fleet, until
from server_sim import Cost, Server

MODEL = "m"
SLO = 0.3
VIEWS = {"1": 8, "2": 16}
"""How often each version looks at a picture."""
HEADER = 256
"""Bytes of V2's JSON before the tensor; it is padded to that."""
TOML = f"""\
engine = "tract"
slo = "p99={SLO * 1000:g}ms"
[versions]
all = true
[traffic]
1 = 100
"""
LEAST, MOST, SCRAPE, START, WINDOW = 2, 6, 15.0, 30.0, 30.0
"""As in fleet_sim.World, in seconds of a cluster."""
ROLLOUT = ((0.62, 25), (0.68, 50), (0.74, 100))
"""When, in parts of the trace, and percent of the requests to the heavier version."""
TARGETS = {"load": 0.7, "CPU": 0.7, "RPS": 0.7}
"""What people take. RPS' is a part of the capacity, which is measured first."""


def trace(faster: float) -> traces.Trace:
    """Calm, a crowd, calm, then a plateau for the heavier version; in units of what a replica can do of the first."""
    crowd = traces.flash(650, 1.0, 3.8, at=150, rise=30, stays=180, fades=80)
    return traces.faster(traces.joined("crowd, then heavier", crowd, traces.steady(550, 1.9)), faster)


def query(signal: str, faster: float, cpus: float) -> str:
    """Of each pod: as deploy/prometheus/adapter-values.yaml has it, and metrics-server. A second more than the window, so
    that two scrapes are always within it."""
    window = f"{round((WINDOW / faster + 1) * 1000)}ms"
    return {
        "load": f"avg by (pod) (avg_over_time(ocelli_load[{window}]))",
        "CPU": f"sum by (pod) (rate(container_cpu_usage_seconds_total[{window}])) / {cpus}",
        "RPS": f"sum by (pod) (rate(ocelli_requests_total[{window}]))",
    }[signal]


def repository(root: Path) -> None:
    """Two versions of a model that are made of the teacher of tests/data, and a request."""
    teacher = rig.ROOT / "tests/data/fashion/fashion_teacher.onnx"
    for version, views in VIEWS.items():
        out = root / "models" / MODEL / version
        out.mkdir(parents=True)
        script = rig.ROOT / "loadtest/views.py"
        subprocess.run([venvs.python("autoscaling"), script, teacher, "28", str(views), out / "model.onnx"], check=True)
    (root / "models" / MODEL / "model.toml").write_text(TOML)
    (root / "picture").write_bytes(request())


def request() -> bytes:
    """A picture as V2's binary tensor: as good as nothing to read, so that computing it is the work."""
    picture = [(x * y % 17) / 8.5 - 1 for x in range(28) for y in range(28)]
    raw = struct.pack(f"<{len(picture)}f", *picture)
    tensor = {"name": "input", "datatype": "FP32", "shape": [1, 1, 28, 28], "parameters": {"binary_data_size": len(raw)}}
    return json.dumps({"inputs": [tensor]}).encode().ljust(HEADER) + raw


def load(address: str, root: Path, *flags: str, version: str = "") -> dict:
    """The report of asking for a picture's class."""
    url = f"http://{address}/v2/models/{MODEL}{version}/infer"
    header = f"inference-header-content-length: {HEADER}"
    return rig.load(url, root / "picture", "--header", header, *flags)


def settle(fleet: Fleet, wanted: int) -> None:
    fleet.scale(wanted, at_once=True)
    until(lambda: len(fleet.serving()) == wanted, 60, f"{wanted} replicas")


def measure(root: Path, args) -> dict:
    """What one replica can do, and what its batches cost it while it does."""
    fleet = Fleet(root, 1, args.cpus, 0.0, SCRAPE / args.faster)
    try:
        settle(fleet, 1)
        pod, found = fleet.serving()[0].pod, {}
        for version in ("1", "2"):
            told = load(f"127.0.0.1:{pod.port}", root, "--concurrency", "4", "--duration", "12s", "--warmup", "2s",
                        version=f"/versions/{version}")["phases"][0]
            metrics = rig.series(pod.ask("/metrics"))
            cost = {part: metrics[f'ocelli_batch_cost_seconds{{model="{MODEL}",part="{part}",version="{version}"}}']
                    for part in ("fixed", "row")}
            found[version] = {**cost, "per_second": told["good_per_second"], "p50_ms": told["ok"]["p50"],
                              "p99_ms": told["ok"]["p99"]}
        return found
    finally:
        fleet.close()


class Autoscaler:
    """The algorithm, on Prometheus' answers, until it is stopped."""

    def __init__(self, fleet: Fleet, signal: str, target: float, args):
        self.fleet, self.target = fleet, target
        self.behaviour = Behaviour().faster(args.faster)
        self.controller = Controller(self.behaviour, LEAST, MOST)
        self.query = query(signal, args.faster, args.cpus)
        self.missing_down = 1.0 if signal == "CPU" else None
        self.utilisation = signal == "CPU"
        self.history: list[tuple] = []
        self.stopped = threading.Event()

    def look(self, since: float) -> None:
        now = time.monotonic()
        told = self.fleet.prometheus.by_pod(self.query)
        with self.fleet.lock:
            places = list(self.fleet.places)
        # CPU of a pod that has just begun does not count, instead of being missing.
        counts = lambda p: p.ready_at is not None and (p.name in told or not self.utilisation)
        pods = [Pod(told.get(p.name), counts(p)) for p in places]
        proposal = desired(pods, self.target, self.behaviour.tolerance, self.missing_down)
        wanted = self.controller.step(now, len(places), proposal)
        serving = sum(p.ready_at is not None for p in places)
        values = [round(told[p.name], 3) for p in places if p.name in told]
        self.history.append((round(now - since, 2), wanted, serving, values))
        self.fleet.scale(wanted)

    def run(self, since: float) -> None:
        while not self.stopped.wait(self.behaviour.sync):
            self.look(since)


def violations(report: dict) -> dict:
    """What was refused, failed, or answered too late."""
    seconds = report["seconds"]
    of = lambda s: s["refused"] + s["failed"] + s["over_slo"]
    not_sent = sum(phase["not_sent"] for phase in report["phases"])
    sent = sum(s["sent"] for s in seconds) + not_sent
    bad = sum(map(of, seconds)) + not_sent
    return {
        "requests": sent, "violated": bad / sent, "refused": sum(s["refused"] for s in seconds),
        "failed": sum(s["failed"] for s in seconds), "over_slo": sum(s["over_slo"] for s in seconds),
        "not_sent": not_sent, "by_second": [of(s) for s in seconds], "sent_by_second": [s["sent"] for s in seconds],
        "generator_late_p99_ms": max(phase["late"]["p99"] for phase in report["phases"]),
    }


def play(root: Path, signal: str, target: float, arrivals: Path, seconds: float, args) -> dict:
    """One signal's turn."""
    shutil.rmtree(root / "store", ignore_errors=True)
    fleet = Fleet(root, MOST, args.cpus, START / args.faster, SCRAPE / args.faster)
    try:
        settle(fleet, LEAST)
        time.sleep(SCRAPE / args.faster * 2)
        scaler = Autoscaler(fleet, signal, target, args)
        since, spent = time.monotonic(), fleet.replica_seconds()
        threading.Thread(target=scaler.run, args=(since,), daemon=True).start()
        steps = [threading.Timer(part * seconds, shift, (fleet, percent)) for part, percent in ROLLOUT]
        [step.start() for step in steps]
        report = load(fleet.balancer.address, root, "--arrivals", arrivals, "--duration", f"{seconds:g}s",
                      "--warmup", "0s", "--timeout", "5s", "--slo", f"{round(SLO * 1000)}ms")
        scaler.stopped.set()
        spent = fleet.replica_seconds() - spent
        [step.cancel() for step in steps]
        return {
            "signal": signal, "target": target, **violations(report), "replica_seconds": spent,
            "starts_seconds": [round(s, 2) for s in fleet.starts[LEAST:]], "start_failures": fleet.failed,
            "history": scaler.history, "load_average": os.getloadavg(),
        }
    finally:
        fleet.close()


def shift(fleet: Fleet, percent: int) -> None:
    weights = {"2": percent, "1": 100 - percent}
    fleet.serving()[0].pod.set_traffic(MODEL, {version: weight for version, weight in weights.items() if weight})


def simulated(costs: dict, signal: str, target: float, arrivals: list[float], seconds: float, start: float, args) -> dict:
    """The same trace, in the simulator, with the costs that were measured under the same limit."""
    # A row takes what the capacity says: reading and answering it too.
    made = Server(tuple(Cost(0.0, 1 / costs[v]["per_second"]) for v in ("1", "2")), slo=SLO)
    steps = [(0.0, 0), *ROLLOUT]
    version = lambda t: max((at, percent) for at, percent in steps if t >= at * seconds)[1] / 100
    world = fleet_sim.World(
        made, least=LEAST, most=MOST, start=start, scrape=SCRAPE / args.faster, window=WINDOW / args.faster + 1,
        behaviour=Behaviour().faster(args.faster), version=version)
    out = fleet_sim.Fleet(world, fleet_sim.Signal(signal, target), args.seed).run(arrivals, seconds)
    return {"signal": signal, "violated": out.violated, "replica_seconds": out.replica_seconds,
            "history": [(round(t, 2), wanted, serving) for t, wanted, serving in out.history]}


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--signals", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--rounds", type=int, default=1, help="each signal once in each, every other one backwards")
    parser.add_argument("--faster", type=float, default=5, help="how many times shorter a cluster's times are")
    parser.add_argument("--cpus", type=float, default=0.2, help="of a replica")
    parser.add_argument("--seed", type=int, default=1, help="of the arrivals")
    return parser.parse_args(given)


def main() -> None:
    args = arguments()
    if lacking := [p for p in ("prometheus", "haproxy") if not shutil.which(p)]:
        raise SystemExit(f"there is no {', '.join(lacking)} on the PATH")
    # What asks, balances and scrapes is no part of what is compared: it gets its time before others too.
    with cpu_limit.Group(f"ocelli-scale-{os.getpid()}"):
        compare(args)


def compare(args: argparse.Namespace) -> None:
    """Each signal in turn; prints a table and keeps the rest."""
    root = Path(tempfile.mkdtemp(prefix="ocelli-scale-"))
    try:
        before = rig.host()
        repository(root)
        costs = measure(root, args)
        # What it is known to do is what people scale by, so the traffic is in units of that.
        unit = costs["1"]["per_second"]
        print(f"one replica: {unit:.0f}/s, {costs['2']['per_second']:.0f}/s of the heavier version", file=sys.stderr)
        shape = trace(args.faster)
        arrivals = shape.arrivals(unit, args.seed)
        (root / "arrivals").write_text("".join(f"{t:.6f}\n" for t in arrivals))
        runs = []
        for n in range(args.rounds):
            for signal in args.signals if n % 2 == 0 else args.signals[::-1]:
                target = TARGETS[signal] * (unit if signal == "RPS" else 1)
                run = play(root, signal, target, root / "arrivals", shape.seconds, args)
                runs.append(run)
                print(f"{signal}: {run['violated'] * 100:.2f} % of {run['requests']} violated, "
                      f"{run['replica_seconds']:.0f} replica-seconds, load average {run['load_average'][0]:.1f}",
                      file=sys.stderr, flush=True)
        starts = [s for run in runs for s in run["starts_seconds"]]
        start = sum(starts) / len(starts) if starts else START / args.faster
        for run in runs:
            run["simulated"] = simulated(costs, run["signal"], run["target"], arrivals, shape.seconds, start, args)
    finally:
        shutil.rmtree(root)
    # More than one a day: the machine may be quieter later.
    kept = rig.keep(f"scaled-{time.strftime('%H%M', time.gmtime())}", {
        "host": before, "faster": args.faster, "cpus": args.cpus, "slo_seconds": SLO, "least": LEAST, "most": MOST,
        "seconds": shape.seconds, "rollout": ROLLOUT, "seed": args.seed, "costs": costs, "mean_start_seconds": start,
        "runs": runs,
    }, indent=None)
    print("| | violated | replica-seconds | simulated: violated | replica-seconds |\n|---|---|---|---|---|")
    for run in runs:
        sim = run["simulated"]
        print(f"| {run['signal']} | {run['violated'] * 100:.2f} % | {run['replica_seconds']:.0f} | "
              f"{sim['violated'] * 100:.2f} % | {sim['replica_seconds']:.0f} |")
    print(f"\n{kept.relative_to(rig.ROOT)}")


if __name__ == "__main__":
    main()
