#!/usr/bin/env python3
"""What ocelli_load tells of a real server that is asked a known part of what it can do, where it is in doubt.

    loadtest/misled.py rows                 # to compare with: rows that take far more than what a pod may use at once
    loadtest/misled.py quota                # a part of a CPU, and rows that take less than that
    loadtest/misled.py decoding PHOTO       # a large photo for a small model

A pod has one compute thread and a limit (a control group, so this needs root). Closed loops find its capacity; then
requests come by the clock. Prints a table.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import rig
import scale
from real_fleet import Pod

PARTS = (0.3, 0.7, 1.0, 3.0)
"""Of the capacity."""
MODEL, SLO = "m", 0.3
TOML = 'engine = "tract"\nslo = "p99=300ms"\n'
IMAGE = '[input]\nkind = "image"\nsize = [28, 28]\ncolour = "gray"\n'


def teacher(root: Path, toml: str) -> None:
    version = root / "models" / MODEL / "1"
    version.mkdir(parents=True)
    shutil.copy(rig.ROOT / "tests/data/fashion/fashion_teacher.onnx", version / "model.onnx")
    (root / "models" / MODEL / "model.toml").write_text(toml)


def rows(root: Path, _) -> tuple[float, list]:
    scale.repository(root)
    return 0.2, ["infer", root / "picture", "--header", f"inference-header-content-length: {scale.HEADER}"]


def quota(root: Path, _) -> tuple[float, list]:
    teacher(root, TOML)
    (root / "picture").write_bytes(scale.request())
    return 0.2, ["infer", root / "picture", "--header", f"inference-header-content-length: {scale.HEADER}"]


def decoding(root: Path, photo: Path) -> tuple[float, list]:
    teacher(root, TOML + IMAGE)
    return 1.0, [":predict", photo]


CASES = {f.__name__: f for f in (rows, quota, decoding)}


def ask(pod: Pod, way: list, *flags: str) -> dict:
    door, body, *headers = way
    path = f"/v2/models/{MODEL}/infer" if door == "infer" else f"/v1/models/{MODEL}:predict"
    return rig.load(f"http://127.0.0.1:{pod.port}{path}", body, *headers, *flags)


def asked(pod: Pod, way: list, cpus: float, rate: float, seconds: float) -> dict:
    """What is told while so much is asked: the load's mean over the second half, CPU, and what was violated."""
    told, over = [], threading.Event()

    def watch() -> None:
        time.sleep(seconds / 2)
        while not over.wait(0.5):
            told.append(json.loads(pod.ask("/autoscale"))["load"])

    watcher = threading.Thread(target=watch)
    watcher.start()
    before, since = sum(pod.cpu().values()), time.monotonic()
    report = ask(pod, way, "--rate", f"{rate:g}", "--duration", f"{seconds:g}s", "--warmup", "0s", "--slo",
                 f"{round(SLO * 1000)}ms", "--timeout", "5s")
    used = (sum(pod.cpu().values()) - before) / (time.monotonic() - since) / cpus
    over.set()
    watcher.join()
    return {"load": sum(told) / len(told), "cpu": used, "violated": scale.violations(report)["violated"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("photo", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=12, help="of each part")
    args = parser.parse_args()
    if args.case == "decoding" and args.photo is None:
        parser.error("decoding needs a photo")
    root = Path(tempfile.mkdtemp(prefix="ocelli-misled-"))
    try:
        cpus, way = CASES[args.case](root, args.photo)
        pod = Pod("one", root, rig.free_port(), cpus)
        try:
            closed = ask(pod, way, "--concurrency", "4", "--duration", "8s", "--warmup", "2s")
            capacity = closed["phases"][0]["good_per_second"]
            print(f"{capacity:.0f}/s, load average {os.getloadavg()[0]:.1f}", file=sys.stderr)
            print("| asked / capacity | ocelli_load | CPU / limit | violated |\n|---|---|---|---|")
            for part in PARTS:
                found = asked(pod, way, cpus, part * capacity, args.seconds)
                print(f"| {part:g} | {found['load']:.2f} | {found['cpu']:.2f} | {found['violated'] * 100:.1f} % |",
                      flush=True)
        finally:
            pod.leave()
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
