#!/usr/bin/env python3
"""Measures the server on this machine and prints the tables of docs/performance.md.

    cargo build --release --workspace
    pip install -r loadtest/peers/raw.txt     # makes the tiny model
    loadtest/measure.py [table] [bench] [grpc] [metrics] [overload] [neighbour]
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import samples
from rig import DEMO, OCELLI, PHOTO, Server

SCRATCH = Path(tempfile.mkdtemp(prefix="ocelli-measure-"))
TINY = SCRATCH / "row.json"


def repository(**names: Path) -> Path:
    """A repository with the demo model under other names, and a tiny one."""
    root = Path(tempfile.mkdtemp(dir=SCRATCH))
    for name, source in names.items():
        shutil.copytree(source, root / name)
    samples.tiny(root)
    samples.mean(root)
    TINY.write_text(json.dumps({"instances": samples.row().tolist()}))
    return root


def table() -> None:
    """Throughput, latency, CPU and memory by concurrency, with and without batching."""
    print("| model | max_batch | concurrency | answers/s | p50 ms | p99 ms | CPU-ms/answer | RSS MB |")
    print("|---|---|---|---|---|---|---|---|")
    root = repository(lite0=DEMO)
    for model, body in [("lite0", PHOTO), ("tiny", TINY)]:
        for batch in [8, 1]:
            for concurrency in [1, 8, 32]:
                with Server(root, f"--max-batch={batch}") as server:
                    flags = [f"--concurrency={concurrency}", "--duration=8s", "--warmup=2s"]
                    phase = server.load(model, body, *flags)
                used = phase["server"]
                print(f"| {model} | {batch} | {concurrency} | {phase['good_per_second']:.1f} "
                      f"| {phase['ok']['p50']:.2f} | {phase['ok']['p99']:.2f} "
                      f"| {used['cpu_seconds_per_good_answer'] * 1e3:.2f} "
                      f"| {used['rss_last_bytes'] / 1e6:.0f} |", flush=True)


def bench() -> None:
    """Served photos against the raw engine, alternating, with the time of decoding taken off."""
    cores = len(os.sched_getaffinity(0))
    ratios = []
    for _ in range(4):
        command = [OCELLI, "bench", DEMO, f"--threads={cores}", "--seconds=8", "--json"]
        raw = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        rows = raw["rows_per_second"]
        with Server(repository(lite0=DEMO)) as server:
            server.load("lite0", PHOTO, "--concurrency=1", "--duration=3s")
            decode = server.mean("ocelli_preprocess_duration_seconds", "lite0")
            phase = server.load("lite0", PHOTO, "--concurrency=8", "--duration=8s")
        served = phase["good_per_second"]
        limit = cores / (cores / rows + decode)
        ratios.append(served / limit)
        print(f"engine alone {rows:.1f} rows/s, decode {decode * 1e3:.2f} ms, so at most "
              f"{limit:.1f}/s; served {served:.1f}/s: {served / limit:.3f}", flush=True)
    print(f"median {statistics.median(ratios):.3f}")


def metrics() -> None:
    """Answers a second and CPU time an answer with metrics on and off, alternating."""
    root = repository(lite0=DEMO)
    for model, body, rounds, seconds in [("lite0", PHOTO, 4, 8), ("tiny", TINY, 10, 4)]:
        rate, cost = {"true": [], "false": []}, {"true": [], "false": []}
        for _ in range(rounds):
            for on in rate:
                with Server(root, f"--metrics={on}") as server:
                    flags = ["--concurrency=8", f"--duration={seconds}s"]
                    phase = server.load(model, body, *flags)
                rate[on].append(phase["good_per_second"])
                cost[on].append(phase["server"]["cpu_seconds_per_good_answer"] * 1e6)
        middle = lambda of: [statistics.median(of[on]) for on in ("true", "false")]
        (rate_on, rate_off), (cost_on, cost_off) = middle(rate), middle(cost)
        print(f"{model}: {rate_on:.1f} answers/s with metrics, {rate_off:.1f} without "
              f"({(rate_on / rate_off - 1) * 100:+.1f} %); {cost_on:.1f} and {cost_off:.1f} us of "
              f"CPU an answer ({(cost_on / cost_off - 1) * 100:+.1f} %)", flush=True)


def overload() -> None:
    """Ten times what the server can do, for half a minute, between two measures of its peak."""
    with Server(repository(lite0=DEMO)) as server:
        peak = lambda: server.load("lite0", PHOTO, "--concurrency=16", "--duration=10s")
        before = peak()
        rate = 10 * before["good_per_second"]
        flood = server.load("lite0", PHOTO, f"--rate={rate:.0f}", "--duration=30s")
        after = peak()
    best = max(before["good_per_second"], after["good_per_second"])
    good = flood["good_per_second"]
    print(f"peak {before['good_per_second']:.1f}/s before, {after['good_per_second']:.1f}/s at once "
          f"after; {rate:.0f}/s offered for 30 s: {good:.1f}/s answered, {good / best:.3f} of the "
          f"peak; statuses {flood['statuses']}; refusals p99 {flood['refused']['p99']:.1f} ms, max "
          f"{flood['refused']['max']:.1f} ms; RSS {flood['server']['rss_first_bytes'] / 1e6:.0f} MB "
          f"to {flood['server']['rss_max_bytes'] / 1e6:.0f} MB at most", flush=True)


def neighbour() -> None:
    """What a model's requests notice of another one being loaded again and again."""
    root = repository(lite0=DEMO)
    with Server(root, "--settle-ms=0", "--poll-ms=50") as server:
        flags = ["--rate=12", "--duration=25s", "--warmup=2s"]
        quiet = server.load("lite0", PHOTO, *flags)
        done, loads = threading.Event(), []

        def load_again_and_again():
            version = 0
            while not done.is_set():
                version += 1
                aside = root / f".other-{version}"
                shutil.copytree(DEMO / "1", aside)
                (root / "other").mkdir(exist_ok=True)
                aside.rename(root / "other" / str(version))
                while not done.is_set():
                    time.sleep(0.05)
                    try:
                        if "AVAILABLE" in server.get(f"/v1/models/other/versions/{version}"):
                            loads.append(version)
                            break
                    except OSError:
                        pass
                if version > 1:
                    shutil.rmtree(root / "other" / str(version - 1), ignore_errors=True)

        loader = threading.Thread(target=load_again_and_again)
        loader.start()
        busy = server.load("lite0", PHOTO, *flags)
        done.set()
        loader.join()
    print(f"p50 {quiet['ok']['p50']:.1f} ms and p99 {quiet['ok']['p99']:.1f} ms quiet; "
          f"{busy['ok']['p50']:.1f} and {busy['ok']['p99']:.1f} while another model was loaded "
          f"{len(loads)} times, {busy['ok']['p99'] / quiet['ok']['p99']:.2f} times; statuses "
          f"{busy['statuses']}", flush=True)


def message(model: str, x: np.ndarray) -> Path:
    file = SCRATCH / f"{model}.bin"
    file.write_bytes(samples.message(model, "x", x))
    return file


def grpc() -> None:
    """Calls a CPU-second of the server, and its CPU outside the engine for a large tensor."""
    root = repository()
    tiny = message("tiny", samples.row())
    large = message("mean", np.full((1, 3, 224, 224), 0.5, np.float32))
    flags = ["--grpc", "--duration=5s", "--warmup=1s"]
    with Server(root) as server:
        for connections in [1, 4]:
            more = ["--concurrency=32", f"--connections={connections}"]
            used = server.load("tiny", tiny, *flags, *more)
            cpu = used["server"]["cpu_seconds_per_good_answer"]
            print(f"tiny, 32 calls over {connections} connections: {used['good_per_second']:.0f}/s, "
                  f"{1 / cpu:.0f} a CPU-second", flush=True)
    for under_way, connections in [(8, 2), (8, 1), (1, 1)] * 3:
        more = [f"--concurrency={under_way}", f"--connections={connections}"]
        with Server(root) as server:
            used = server.load("mean", large, *flags, *more)
            cpu, engine = used["server"]["cpu_seconds_per_good_answer"], server.mean(
                "ocelli_compute_duration_seconds", "mean")
            print(f"a tensor of {3 * 224 * 224 * 4} bytes, {under_way} calls over {connections}: "
                  f"{used['good_per_second']:.0f}/s, {cpu * 1e6:.0f} us of CPU, of which "
                  f"{engine * 1e6:.0f} the engine: {(cpu - engine) * 1e6:.0f} outside", flush=True)


if __name__ == "__main__":
    scenarios = {f.__name__: f for f in [table, bench, grpc, metrics, overload, neighbour]}
    try:
        for name in sys.argv[1:] or scenarios:
            print(f"\n## {name}\n", flush=True)
            scenarios[name]()
    finally:
        shutil.rmtree(SCRATCH)
