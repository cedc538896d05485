#!/usr/bin/env python3
"""Load at 80 % of what the server can do, for long, while a version's files are replaced again and again.

    cargo build --release --workspace
    loadtest/soak.py [--minutes 30] [--engine onnxruntime]

Says whether memory stayed within 2 % once warm, and p99 flat: the medians of three thirds of the time are compared, of
the p99 and of the least memory of each window, which is what is resident between reloads. While a version is replaced
the old one and the new one are there; how far that goes is compared for itself.

At 80 % of its peak a server's p99 follows every change of the machine's own speed, and half an hour has some. So in the
end a fresh server stands beside the aged one and they take turns with the same load, without reloads: what the machine
does is then the same for both, and what age does is not. Raw data go to loadtest/runs.
"""

import argparse
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import rig
import venvs
from sides import environment, repository


def windows(samples: list[tuple[float, float]], width: float, of=median) -> list[float]:
    """The median, or another figure, of each whole stretch of `width` seconds of (second, value)."""
    found: dict[int, list[float]] = {}
    for at, value in samples:
        found.setdefault(int(at // width), []).append(value)
    whole = int(max((at for at, _ in samples), default=0) // width)
    return [of(found[n]) for n in range(whole) if n in found]


def swing(values: list[float]) -> float:
    """How far apart the largest and the smallest are, as a part of the smallest."""
    return max(values) / min(values) - 1 if values else float("nan")


def thirds(values: list[float]) -> list[float]:
    """The medians of the beginning, the middle and the end."""
    third = max(1, len(values) // 3)
    return [median(part) for part in (values[:third], values[third:-third] or values, values[-third:])]


def verdict(rest: list[float], peak: list[float], p99: list[float], memory_within=0.02, p99_within=0.1) -> dict:
    """Windows after the warm-up, in order: of memory between reloads, of the most memory, and of the p99."""
    told = {}
    for name, values in (("rest", rest), ("peak", peak), ("p99", p99)):
        parts = thirds(values)
        told |= {f"{name}_thirds": parts, f"{name}_apart": swing(parts), f"{name}_swing": swing(values)}
    told["memory_flat"] = told["rest_apart"] <= memory_within
    told["p99_flat"] = told["p99_apart"] <= p99_within
    return told


def replace(model: Path) -> None:
    """Replaces a model file as a deployment would: the new one takes its name at once."""
    aside = model.with_name(f".{model.name}.new")
    shutil.copyfile(model, aside)
    aside.rename(model)


def aged_over_fresh(aged: list[float], fresh: list[float], within=0.1) -> dict:
    """Figures of turns beside each other: the median of their ratios, its range, and whether age added nothing."""
    ratios = [a / b for a, b in zip(aged, fresh, strict=True)]
    middle = median(ratios)
    return {"median": middle, "least": min(ratios), "most": max(ratios), "flat": middle <= 1 + within}


def beside_a_fresh_one(args, aged: rig.Server, fresh: rig.Server, body: Path, rate: float, how: list[str]) -> dict:
    """Both in turn, each first as often as the other."""
    servers, runs = {"aged": aged, "fresh": fresh}, {"aged": [], "fresh": []}
    asked = [f"--rate={rate:.3f}", f"--duration={args.turn:g}s", *how]
    fresh.load("lite0", body, *asked, "--warmup=0s")
    for pair in range(args.pairs):
        for name in ("aged", "fresh") if pair % 2 == 0 else ("fresh", "aged"):
            phase = servers[name].load("lite0", body, *asked, "--warmup=1s")
            runs[name].append({**phase["ok"], "statuses": phase["statuses"], "errors": phase["errors"]})
    told = {
        of: aged_over_fresh([run[of] for run in runs["aged"]], [run[of] for run in runs["fresh"]])
        for of in ("p50", "p99")
    }
    return {**told, "seconds": args.turn, "runs": runs}


def soak(args, scratch: Path) -> dict:
    models = repository(scratch / "repository", scratch, args.engine, {"lite0": args.model})
    body, before = scratch / "photo.jpg" if args.photo else scratch / "lite0.grpc", rig.host()
    how = [] if args.photo else ["--grpc", "--connections=2"]
    library = venvs.onnxruntime("raw")
    flags = ["--settle-ms=100", "--poll-ms=200", *args.ocelli]
    with rig.Server(models, *flags, env=environment(library)) as server:
        peak = server.load("lite0", body, "--concurrency=8", "--duration=10s", "--warmup=3s", *how)
        rate = args.share * peak["good_per_second"]
        print(f"{peak['good_per_second']:.1f}/s at its peak: {rate:.1f}/s for {args.minutes:g} minutes, a reload "
              f"every {args.reload:g} s", file=sys.stderr, flush=True)
        start, done, memory = time.monotonic(), threading.Event(), []
        loaded = server.told["available"]

        def sample() -> None:
            stat = Path(f"/proc/{server.process.pid}/statm")
            while not done.wait(1):
                memory.append((time.monotonic() - start, int(stat.read_text().split()[1]) * rig.PAGE / 1e6))

        replaced = [0]

        def reload() -> None:
            while not done.wait(args.reload):
                replace(models / "lite0/1/model.onnx")
                replaced[0] += 1

        threads = [threading.Thread(target=sample), threading.Thread(target=reload)]
        for thread in threads:
            thread.start()
        count = max(3, round(args.minutes * 60 / args.window))
        phases = ";".join([f"rate={rate:.3f},{args.window:g}s"] * count)
        url = server.grpc + rig.INFER if how else f"{server.url}/v1/models/lite0:predict"
        pid = str(server.process.pid)
        try:
            report = rig.load(url, body, "--phases", phases, "--warmup=0s", "--server-pid", pid, *how)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        loads = server.told["available"] - loaded
        beside = None
        if args.pairs:
            # What was replaced last is in its place before anything is measured again.
            time.sleep(2)
            with rig.Server(models, *flags, env=environment(library)) as fresh:
                beside = beside_a_fresh_one(args, server, fresh, body, rate, how)
    warm = max(1, round(count * args.warm))
    p99 = [phase["ok"]["p99"] for phase in report["phases"]]
    rest, most = (windows(memory, args.window, of) for of in (min, max))
    return {
        "scenario": "soak", "model": "lite0", "host": before,
        "settings": {key: value for key, value in vars(args).items() if key not in ("model", "json")},
        "peak_per_second": peak["good_per_second"], "rate": rate, "replaced": replaced[0], "reloads": loads,
        "statuses": added(phase["statuses"] for phase in report["phases"]),
        "errors": added(phase["errors"] for phase in report["phases"]),
        "verdict": verdict(rest[warm:], most[warm:], p99[warm:]),
        "windows": {"seconds": args.window, "warm_after": warm, "rest_mb": rest, "most_mb": most, "p99_ms": p99,
                    "p50_ms": [phase["ok"]["p50"] for phase in report["phases"]]},
        "aged_over_fresh": beside,
        "rss_mb": [(round(at, 1), round(value, 2)) for at, value in memory],
        "phases": report["phases"],
    }


def added(counts) -> dict[str, int]:
    sums: dict[str, int] = {}
    for count in counts:
        for name, n in count.items():
            sums[name] = sums.get(name, 0) + n
    return sums


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--share", type=float, default=0.8, help="of the measured peak")
    parser.add_argument("--reload", type=float, default=20, help="seconds between two replacements of the files")
    parser.add_argument("--window", type=float, default=60, help="seconds that a p99 and a memory figure are of")
    parser.add_argument("--warm", type=float, default=0.1, help="part of the time that is warm-up")
    parser.add_argument("--pairs", type=int, default=12, help="turns of the aged and of a fresh server in the end")
    parser.add_argument("--turn", type=float, default=20, help="seconds of each")
    parser.add_argument("--photo", action="store_true", help="JPEGs by REST in place of tensors by gRPC")
    parser.add_argument("--model", type=Path, default=rig.DEMO)
    parser.add_argument("--engine", default="onnxruntime", help="'' says nothing in model.toml")
    parser.add_argument("--ocelli", action="append", default=[], metavar="FLAG", help="another flag for `ocelli serve`")
    parser.add_argument("--json", metavar="FILE", help="the raw data here too")
    return parser.parse_args(given)


def main() -> None:
    args = arguments()
    scratch = Path(tempfile.mkdtemp(prefix="ocelli-soak-"))
    try:
        rig.samples(venvs.python("raw"), scratch)
        told = soak(args, scratch)
    finally:
        shutil.rmtree(scratch)
    file = rig.keep("soak-lite0", told)
    if args.json:
        shutil.copyfile(file, args.json)
    found = told["verdict"]
    says = lambda flat: "flat" if flat else "NOT flat"
    parts = lambda name: ", ".join(f"{value:.1f}" for value in found[f"{name}_thirds"])
    print(f"{told['rate']:.1f}/s, {told['reloads']} reloads of {told['replaced']} replacements; statuses "
          f"{told['statuses']}, errors {told['errors']}; beginning, middle and end once warm:")
    print(f"RSS between reloads {parts('rest')} MB ({found['rest_apart']:.2%} apart, single windows "
          f"{found['rest_swing']:.2%}): {says(found['memory_flat'])}; at its most {parts('peak')} MB")
    print(f"p99 {parts('p99')} ms ({found['p99_apart']:.1%} apart, single windows {found['p99_swing']:.0%}): "
          f"{says(found['p99_flat'])} in time; {file.relative_to(rig.ROOT)}")
    flat = found["p99_flat"]
    if beside := told["aged_over_fresh"]:
        ratio = lambda of: "{median:.3f} ({least:.3f} to {most:.3f})".format(**beside[of])
        flat = beside["p99"]["flat"]
        print(f"aged over fresh: p50 {ratio('p50')}, p99 {ratio('p99')}: {says(flat)} with age")
    sys.exit(0 if found["memory_flat"] and flat else 1)


if __name__ == "__main__":
    main()
