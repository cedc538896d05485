"""perf_analyzer, Triton's load generator: whether it runs, and finds the server's statistics."""

import csv
import os
import subprocess

import pytest

from repository import LITE0

BINARY = os.environ.get("PERF_ANALYZER")
pytestmark = pytest.mark.skipif(not BINARY, reason="tests/clients/run could not get perf_analyzer")

QUICK = ["--measurement-mode", "count_windows", "--measurement-interval", "500"]
QUICK += ["--stability-percentage", "999", "--max-trials", "3"]


def measure(report, address: str, model: str, *flags: str) -> list[dict]:
    """Rows of its report, one for each concurrency."""
    command = [BINARY, "-m", model, "-u", address, "-f", report, *QUICK, *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    # Without the server's own counts it has no such part.
    assert "  Server: " in done.stdout
    with open(report) as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "flags",
    [
        ["-i", "grpc"],
        ["-i", "grpc", "--async"],
        ["-i", "grpc", "--streaming", "--async"],
        ["-i", "grpc", "--grpc-compression-algorithm", "gzip"],
        ["-i", "http"],
        ["-i", "http", "--async", "-b", "4"],
        ["-i", "http", "--input-tensor-format", "json", "--output-tensor-format", "json"],
    ],
    ids=" ".join,
)
def test_small_model(server, tmp_path, flags):
    address = server.grpc if "grpc" in flags else server.rest
    enough = ["--measurement-request-count", "50", "--concurrency-range", "1:4:3"]
    rows = measure(tmp_path / "report.csv", address, "affine", *enough, *flags)
    assert [row["Concurrency"] for row in rows] == ["1", "4"]
    for row in rows:
        assert float(row["Inferences/Second"]) > 0
        assert int(row["Server Compute Infer"]) > 0


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_lite0(server, tmp_path, protocol):
    address = server.grpc if protocol == "grpc" else server.rest
    enough = ["--measurement-request-count", "20", "--concurrency-range", "2"]
    [row] = measure(tmp_path / "report.csv", address, LITE0, *enough, "-i", protocol)
    assert float(row["Inferences/Second"]) > 0
    # A network of this size takes a CPU milliseconds, not less.
    assert int(row["Server Compute Infer"]) > 1000
