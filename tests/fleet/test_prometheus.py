"""Rollouts that go by what Prometheus has of all replicas. A real Prometheus scrapes them."""

import json
import os
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from threading import Event, Thread

import pytest

from balancer import free_port
from clients import Http
from fleet import ALL, Fleet, put_model, put_version, times, until

PROMETHEUS = os.environ.get("PROMETHEUS") or shutil.which("prometheus")


@contextmanager
def prometheus(fleet: Fleet, port: int):
    """Scrapes the fleet each second."""
    config = fleet.root / "prometheus.yml"
    targets = json.dumps([replica.rest for replica in fleet])
    config.write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: ocelli, static_configs: [{{targets: {targets}}}]}}]\n"
    )
    command = [PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={fleet.root}/tsdb"]
    process = subprocess.Popen(
        [*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: ready(port), 30, lambda: "Prometheus", 0.2)
        yield
    finally:
        process.kill()
        process.wait()


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


@contextmanager
def asking(fleet: Fleet):
    done = Event()

    def ask(replica):
        client = Http(replica.rest)
        while not done.is_set():
            client.socket.sendall(client.request(3))
            client.read()
            time.sleep(0.004)

    threads = [Thread(target=ask, args=(replica,)) for replica in fleet for _ in range(2)]
    [t.start() for t in threads]
    try:
        yield
    finally:
        done.set()
        [t.join() for t in threads]


def models(root):
    put_model(root, "m", range(1, 2), ALL)
    put_version(root, "m", 2, times(2), model_toml='engine = "faults"', faults_json='{"error_every": 2}')
    put_version(root, "m", 3, times(3))


@pytest.mark.skipif(PROMETHEUS is None, reason="there is no Prometheus")
def test_a_rollout_goes_by_what_prometheus_has_of_all_replicas():
    port = free_port()
    with Fleet(2, f"--prometheus-url=http://127.0.0.1:{port}", make=models) as fleet:
        if fleet[0].states()[2] != "AVAILABLE":
            pytest.skip("the binary has no engine that fails")
        fleet.agree_on(fleet[0].weigh({1: 1})["revision"])
        start = {"from": 1, "steps": [30, 100], "interval": "6s", "timeout": "40s", "min_samples": 100}
        gates = {"gates": ["error_rate<=5%", "p99<=20x"]}
        path = "models/m/rollout"
        with prometheus(fleet, port), asking(fleet):
            time.sleep(5)
            fleet[0].ask("POST", path, {**start, **gates, "to": 2})
            until(lambda: fleet[1].ask("GET", path)["state"] == "rolled_back", 40, pause=0.3)
            told = fleet[1].ask("GET", path)
            assert "error_rate<=5% is breached" in told["reason"], told
            assert fleet[1].split() == {1: 10_000}

            fleet[1].ask("POST", path, {**start, **gates, "to": 3})
            until(lambda: fleet[0].ask("GET", path)["state"] == "running", 10, pause=0.1)
            until(lambda: fleet[0].ask("GET", path)["step"] == 1, 40, pause=0.3)
            until(lambda: fleet[0].ask("GET", path)["state"] == "done", 60, pause=0.3)
            experiment = fleet[0].ask("GET", "models/m/experiment")
            own = fleet[0].metrics()['ocelli_arm_requests_total{model="m",outcome="ok",version="3"}']
            both = {arm["version"]: arm["requests"] for arm in experiment["arms"]}
            assert both[3] > 0 and own > 0
