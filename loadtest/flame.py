#!/usr/bin/env python3
"""Flame graphs of the server at work: where the CPU time of a request goes, and how much of it is not the model's.

    cargo build --release --workspace
    cargo install inferno                   # inferno-collapse-perf, inferno-flamegraph; and Linux' perf
    loadtest/flame.py docs [tiny tensor photo]

Writes flame-CASE.svg into the directory, and prints what share of the samples each part of the road took.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import rig
import venvs
from sides import Served, repository

CASES = {"tiny": ("tiny", "grpc"), "tensor": ("lite0", "grpc"), "photo": ("lite0", "photo")}
PARTS = {
    # The first that is found anywhere in a stack has the sample.
    "model": r"libonnxruntime|onnxruntime::|Ort|tract_|MlasSgemm|mlas",
    "decoding": r"zune|jpeg|vision::|resize",
    "memory: copies": r"copy_rows|gather|memmove|memcpy",
    "memory: allocator": r"malloc|cfree|realloc|\bfree\b|calloc|mi_",
    "kernel: sockets": r"tcp_|sock_|skb|inet_|net_rx|epoll|__sys_(recv|send)|vfs_(read|write)",
    "kernel: waking and switching": r"futex|schedule|try_to_wake_up",
    "scheduler": r"batcher::",
    "HTTP/2, HTTP/1": r"h2::|hyper",
    "protocol": r"protocol::|prost|axum|tonic|tower",
    "runtime": r"tokio|mio",
    "kernel: other": r"\[k\]|entry_SYSCALL|do_syscall",
}


def shares(folded: str) -> dict[str, float]:
    """Of folded stacks, a line each with its count."""
    found, total = dict.fromkeys([*PARTS, "other"], 0), 0
    for line in folded.splitlines():
        stack, count = line.rsplit(" ", 1)
        part = next((name for name, of in PARTS.items() if re.search(of, stack)), "other")
        found[part] += int(count)
        total += int(count)
    return {name: count / max(total, 1) for name, count in found.items()}


def record(case: str, out: Path, scratch: Path, args) -> dict[str, float]:
    model, form = CASES[case]
    source = scratch / "models/tiny" if model == "tiny" else rig.DEMO
    models = repository(scratch / case, scratch, args.engine, {model: source})
    data = scratch / f"{case}.data"
    with Served(models, model, scratch, args, form, venvs.onnxruntime("raw")) as server:
        pid = str(server.server.process.pid)
        perf = ["perf", "record", "--quiet", "-F", "499", "--call-graph", "dwarf,16384", "-p", pid]
        recording = subprocess.Popen([*perf, "-o", data, "--", "sleep", f"{args.seconds:g}"], stderr=subprocess.DEVNULL)
        server.load(args.seconds)
        recording.wait()
    stacks = subprocess.run(["perf", "script", "--no-inline", "-i", data], check=True, capture_output=True, text=True)
    folded = subprocess.run(["inferno-collapse-perf"], input=stacks.stdout, check=True, capture_output=True, text=True)
    title = f"{case}, 8 under way: CPU time of the server"
    graph = ["inferno-flamegraph", "--title", title, "--minwidth", "0.3", "--colors", "rust"]
    drawn = subprocess.run(graph, input=folded.stdout, check=True, capture_output=True, text=True)
    (out / f"flame-{case}.svg").write_text(drawn.stdout)
    return shares(folded.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], default=[])
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--seconds", type=float, default=5)
    parser.set_defaults(threads=len(os.sched_getaffinity(0)), batch=8, concurrency=8, ocelli=[])
    args = parser.parse_args()
    for program in ("perf", "inferno-collapse-perf", "inferno-flamegraph"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not there")
    scratch = Path(tempfile.mkdtemp(prefix="ocelli-flame-"))
    try:
        rig.samples(venvs.python("raw"), scratch)
        told = {case: record(case, args.out, scratch, args) for case in args.cases or CASES}
    finally:
        shutil.rmtree(scratch)
    print(f"| | {' | '.join(told)} |\n|---|{'---|' * len(told)}")
    for part in [*PARTS, "other"]:
        print(f"| {part} | {' | '.join(f'{shares[part]:.1%}' for shares in told.values())} |")


if __name__ == "__main__":
    main()
