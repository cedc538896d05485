#!/usr/bin/env python3
"""Self-tuned batching against every fixed setting, on the real server, interleaved.

    cargo build --release --workspace
    pip install onnx numpy                     # makes the tiny model
    loadtest/batching.py --model tiny --seconds 10 --rounds 3 --out runs/batching.json
    loadtest/batching.py --model lite0 --loads 0.6,0.9 --batches 1,8 --delays 0,2

For each of four traffics and each load, every setting gets the same arrivals by the clock, one after the
other, and that again for each round, so that what else the machine does meets them all. The load is a part of
what the server reaches with as many clients as its largest batches hold. A request has `--deadline-ms`; what
is answered later or refused is not good. Printed is a line for each traffic and load: the best fixed setting (the
least p99 of those with at least 99 % of the most good answers), its good answers a second and p99, and the
self-tuned ones as parts of them, the median over the rounds. What is best is chosen for each round by the other
rounds: chosen by its own figures, the best of many settings would look better than it is.
"""

import argparse
import json
import math
import random
import shutil
import statistics
import sys
from pathlib import Path

import measure
import rig
from measure import DEMO, PHOTO, SCRATCH, TINY, Server, repository

TRAFFICS = ["poisson", "bursty", "diurnal", "heavy-tailed"]


def arrivals(traffic: str, rate: float, seconds: float, seed: int) -> list[float]:
    """Starts in seconds; the same as those of src/batcher/sim.rs, but for the generator's numbers."""
    chance = random.Random(seed)
    now, until, quick, times = 0.0, 0.0, False, []
    while True:
        if traffic == "poisson":
            now += chance.expovariate(rate)
        elif traffic == "bursty":
            # Two states, one with five times the other's rate, each for fifty requests in the mean.
            if now >= until:
                quick, until = not quick, now + chance.expovariate(rate / 50)
            now += chance.expovariate(rate * (5 / 3 if quick else 1 / 3))
        elif traffic == "diurnal":
            phase = now / seconds * 3 * math.tau
            now += chance.expovariate(rate * max(1 - 0.75 * math.cos(phase), 0.05))
        else:
            now += (1.5 - 1) / 1.5 / rate * (1 - chance.random()) ** (-1 / 1.5)
        if now >= seconds:
            return times
        times.append(now)


def model_toml(setting: tuple[int, float] | None, largest: int, engine: str) -> str:
    lines = [f'engine = "{engine}"'] if engine else []
    lines.append("[batching]")
    if setting is None:
        lines += ['rule = "tuned"', f"max_batch = {largest}"]
    else:
        lines += ['rule = "all"', f"max_batch = {setting[0]}", f"max_queue_delay_ms = {setting[1]}"]
    return "\n".join(lines + ["max_queue_rows = 4096", ""])


def name(setting: tuple[int, float] | None) -> str:
    return "tuned" if setting is None else f"{setting[0]}, {setting[1]:g} ms"


def serve(args: argparse.Namespace, setting: tuple[int, float] | None) -> Server:
    root = repository(**({"lite0": DEMO} if args.model == "lite0" else {}))
    own = model_toml(setting, max(args.batches), args.engine)
    file = root / args.model / "model.toml"
    # What the demo model says of images and labels stays.
    text = file.read_text() if file.exists() else ""
    file.write_text(own.split("[batching]")[0] + text + "\n[batching]" + own.split("[batching]")[1])
    return Server(root)


def measured(args, setting, traffic: str, rate: float, seed: int) -> dict:
    trace = SCRATCH / "trace"
    times = arrivals(traffic, rate, args.seconds, seed)
    trace.write_text("\n".join(f"{t:.6f}" for t in times) + f"\n{args.seconds}\n")
    body = PHOTO if args.model == "lite0" else TINY
    with serve(args, setting) as server:
        server.load(args.model, body, "--concurrency=8", "--duration=1s", "--warmup=0s")
        phase = server.load(
            args.model, body, f"--arrivals={trace}", f"--duration={args.seconds}s", "--warmup=0s",
            f"--header=x-request-timeout-ms: {args.deadline_ms:g}")
        figures = [l for l in server.get("/metrics").splitlines() if l.startswith("ocelli_batch_cost")]
    return {"traffic": traffic, "rate": rate, "setting": name(setting), "offered": len(times) / args.seconds,
            "good": phase["good_per_second"], "p50": phase["ok"]["p50"], "p99": phase["ok"]["p99"],
            "statuses": phase["statuses"], "cost": figures}


def typical(runs: list[dict], setting: str, key: str) -> float:
    """The median of a setting's runs."""
    return statistics.median(r[key] for r in runs if r["setting"] == setting)


def best_fixed(runs: list[dict]) -> str:
    """The setting with the least p99 of those that give at least 99 % of the most good answers."""
    fixed = sorted({r["setting"] for r in runs} - {"tuned"})
    most = max(typical(runs, s, "good") for s in fixed)
    able = [s for s in fixed if typical(runs, s, "good") >= 0.99 * most]
    return min(able, key=lambda s: typical(runs, s, "p99"))


def against_best(runs: list[dict]) -> list[dict]:
    """For each round, the tuned setting's figures over those of the setting that is best in all other rounds."""
    rounds = sorted({r["round"] for r in runs})
    found = []
    for n in rounds:
        best = best_fixed([r for r in runs if r["round"] != n or len(rounds) == 1])
        here = {r["setting"]: r for r in runs if r["round"] == n}
        part = lambda key: here["tuned"][key] / here[best][key]
        found.append({"best": best, "good": part("good"), "p99": part("p99")})
    return found


def report(runs: list[dict], traffic: str, load: float) -> None:
    here = [r for r in runs if r["traffic"] == traffic and r["load"] == load]
    best, found = best_fixed(here), against_best(here)
    of = lambda setting, key: typical(here, setting, key)
    part = lambda key: statistics.median(one[key] for one in found)
    spread = " to ".join(f"{end(one['p99'] for one in found):.2f}" for end in (min, max))
    print(f"| {traffic} | {load} | {of('tuned', 'offered'):.0f} | {of(best, 'good'):.1f} | {part('good'):.3f} "
          f"| {best} | {of(best, 'p99'):.2f} | {part('p99'):.3f} ({spread}) |", flush=True)


def main() -> None:
    numbers = lambda kind: lambda text: [kind(x) for x in text.split(",")]
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", choices=["tiny", "lite0"], default="tiny")
    options.add_argument("--engine", default="", help="of model.toml")
    options.add_argument("--traffics", type=numbers(str), default=TRAFFICS)
    options.add_argument("--loads", type=numbers(float), default=[0.3, 0.6, 0.9])
    options.add_argument("--batches", type=numbers(int), default=[1, 2, 4, 8, 16, 32])
    options.add_argument("--delays", type=numbers(float), default=[0.0, 1.0, 2.0, 5.0])
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--deadline-ms", type=float, default=1000.0)
    options.add_argument("--out", type=Path, help="where all runs are written, as JSON")
    args = options.parse_args()
    host = rig.host()
    settings: list[tuple[int, float] | None] = [None]
    settings += [(batch, delay) for batch in args.batches for delay in args.delays]
    with serve(args, None) as server:
        body = PHOTO if args.model == "lite0" else TINY
        clients = f"--concurrency={2 * max(args.batches)}"
        peak = server.load(args.model, body, clients, "--duration=5s")["good_per_second"]
    if not peak:
        sys.exit(f"{args.model} answers nothing with the engine {args.engine or 'that is chosen'}: is its library there?")
    print(f"{args.model}: {peak:.1f} answers a second at most\n")
    print("| traffic | load | asked/s | good/s, best fixed | tuned | best by p99 | p99 ms | tuned |")
    print("|---|---|---|---|---|---|---|---|")
    runs: list[dict] = []
    for traffic in args.traffics:
        for load in args.loads:
            for turn in range(args.rounds):
                order = random.Random(turn).sample(settings, len(settings))
                for setting in order:
                    runs.append({"load": load, "round": turn, **measured(args, setting, traffic, load * peak, turn)})
            report(runs, traffic, load)
            if args.out:
                args.out.parent.mkdir(parents=True, exist_ok=True)
                args.out.write_text(json.dumps({"host": host, "arguments": sys.argv[1:], "peak": peak, "runs": runs}, indent=1))


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(measure.SCRATCH)
