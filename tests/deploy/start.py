#!/usr/bin/env python3
"""Measures a server's start and memory: seconds until it listens and is ready, with its files out of the page cache and
in it, and the CPU seconds of that, which are the same on a machine that others use; resident memory idle and under load.

    tests/deploy/start.py [MODELS] [ROUNDS]      MODELS has the demo model; the load comes from the same machine
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("OCELLI_BIN", ROOT / "target/release/ocelli"))
MODELS = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "models"
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5


def forget(paths):
    """Puts files out of the page cache."""
    subprocess.run(["sync"], check=True)
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def start():
    command = [BINARY, "serve", "--models", MODELS, "--log-format", "json", "--traffic-store", "memory", "--lame-duck-ms", "0"]
    for door in ("--rest-addr", "--grpc-addr", "--admin-addr"):
        command += [door, "127.0.0.1:0"]
    began = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    listens = rest = None
    for line in process.stderr:
        entry = json.loads(line)
        if entry["message"] == "serving":
            listens, rest = time.monotonic() - began, entry["rest"]
        if entry["message"] == "ready":
            return process, rest, listens, time.monotonic() - began
    raise RuntimeError("it did not start")


def cpu(process) -> float:
    """Seconds, of all its threads."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(process) -> float:
    """MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


def stop(process):
    process.terminate()
    process.wait(timeout=60)


def load(rest: str, clients: int, seconds: float) -> int:
    """Photos, one after the other from each client; how many were answered."""
    photo = (ROOT / "models/photos/chelsea.jpg").read_bytes()
    end, answers = time.monotonic() + seconds, []

    def ask():
        connection = http.client.HTTPConnection(rest, timeout=60)
        while time.monotonic() < end:
            connection.request("POST", "/v1/models/efficientnet_lite0:predict", photo)
            answer = connection.getresponse()
            answer.read()
            answers.append(answer.status)

    threads = [Thread(target=ask) for _ in range(clients)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert set(answers) == {200}, set(answers)
    return len(answers)


def main():
    files = [BINARY, *(p for p in MODELS.rglob("*") if p.is_file())]
    times = {"cold": [], "warm": []}
    for _ in range(ROUNDS):
        for cache in times:
            if cache == "cold":
                forget(files)
            process, _, listens, ready = start()
            times[cache].append((listens, ready, cpu(process)))
            stop(process)
    for cache, found in times.items():
        listens, ready, used = (statistics.median(column) for column in zip(*found))
        spread = f"{min(r for _, r, _ in found):.2f} to {max(r for _, r, _ in found):.2f}"
        print(f"{cache}: listens after {listens * 1000:.0f} ms, ready after {ready:.2f} s ({spread}, n = {len(found)})")
        print(f"{cache}: ready after {used:.2f} s of CPU")
    process, rest, *_ = start()
    time.sleep(1)
    print(f"resident, idle: {resident(process):.0f} MB")
    for clients in (8, 32):
        answers = load(rest, clients, 10)
        print(f"resident, after 10 s of {clients} clients: {resident(process):.0f} MB ({answers} answers)")
    stop(process)


if __name__ == "__main__":
    main()
