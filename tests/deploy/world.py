"""A small world that is watched: replicas, a balancer, a Prometheus, callers who do all that metrics tell of."""

import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from threading import Event, Thread

import numpy as np
import urllib3
import yaml

from balancer import NAMED, Balancer, free_port
from queries import ROOT, RULES

BINARY = os.environ.get("OCELLI_BIN", ROOT / "target/release/ocelli")
MODELS = ROOT / "tests/data/fashion"
STUDENT, MID, TEACHER = (MODELS / f"fashion_{name}.onnx" for name in ("student_plain", "mid_plain", "teacher"))
TOML = """
[versions]
all = true
[feedback]
class = true
[drift]
reference = 200
window = 100
"""


def until(condition, seconds: float, what="", pause=0.1):
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(pause)
    return found


class Replica:
    """A server on ports of its own."""

    def __init__(self, root: Path, name: str, *flags: str, source: bool = False):
        self.name = name
        models = f"file://{root}/models" if source else root / "models"
        if source:
            flags = (*flags, "--model-cache", str(root / f"cache-{name}"), "--source-poll-ms", "200")
        command = [BINARY, "serve", "--models", models, "--log-format", "json", "--lame-duck-ms", "3000"]
        for door in ("--rest-addr", "--grpc-addr", "--admin-addr"):
            command += [door, "127.0.0.1:0"]
        command += ["--traffic-store", f"file:{root}/store", "--poll-ms", "100", "--settle-ms", "0"]
        command += ["--prediction-log", root / f"log-{name}", "--prediction-log-sample", "1", *flags]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            entry = json.loads(line)
            if entry["message"] == "serving":
                self.rest, self.grpc, self.admin = entry["rest"], entry["grpc"], entry["admin"]
            if entry["message"] == "ready":
                break
        else:
            raise RuntimeError("the server did not start:\n" + "".join(self.log))
        log, stderr = self.log, self.process.stderr
        Thread(target=lambda: log.extend(stderr), daemon=True).start()

    def ask(self, method: str, path: str, body=None) -> dict:
        request = urllib.request.Request(f"http://{self.admin}/admin/v1/{path}", method=method)
        data = None if body is None else json.dumps(body).encode()
        request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, data, timeout=60) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.read().decode()}") from None


class Prometheus:
    """With the configuration of deploy/, but for where replicas are and how often they are asked."""

    def __init__(self, root: Path, replicas: list[Replica]):
        config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(RULES)]
        (job,) = config["scrape_configs"]
        assert tuple(job.pop("dns_sd_configs")[0]["names"]) == NAMED
        # The labels that a cluster would give.
        job["static_configs"] = [
            {"targets": [r.rest], "labels": {"namespace": "cv", "pod": f"vision-ocelli-{r.name}"}} for r in replicas
        ]
        (root / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.port = free_port()
        command = [shutil.which("prometheus"), f"--config.file={root}/prometheus.yml", f"--storage.tsdb.path={root}/tsdb"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}"]
        self.log = (root / "prometheus.log").open("w")
        self.process = subprocess.Popen(command, stderr=self.log)
        self.started = time.time()
        until(self.is_ready, 60, (root / "prometheus.log").read_text)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def get(self, path: str, **query) -> dict:
        sent = urllib.parse.urlencode(query).encode() or None
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", sent, timeout=60) as answer:
            return json.loads(answer.read())["data"]

    def now(self, query: str) -> list:
        """(labels, value) of each series."""
        found = self.get("query", query=query)["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def over(self, query: str, step=2.0) -> list:
        """(labels, [(when, value)]) of each series since the start."""
        found = self.get("query_range", query=query, start=self.started, end=time.time(), step=step)["result"]
        return [(s["metric"], [(float(t), float(v)) for t, v in s["values"]]) for s in found]


class World:
    def __init__(self, root: Path):
        self.root = root
        self.done = Event()
        self.threads: list[Thread] = []
        self.statuses: dict = {}
        self.put("m", {1: STUDENT, 2: TEACHER}, TOML)
        self.put("narrow", {1: TEACHER}, "[batching]\nmax_queue_rows = 1\nmax_batch = 1\n")
        self.put("kept", {1: STUDENT}, "[cache]\nmax_bytes = 1048576\n")
        self.put("photos", {1: TEACHER}, '[input]\nkind = "image"\nsize = [28, 28]\ncolour = "gray"\n')
        self.parts, self.replicas = [], []
        for name in NAMED:
            # The last one has its models from a source, as from a bucket.
            self.replicas.append(Replica(root, name, source=len(self.replicas) == 2))
            self.parts.append(self.replicas[-1])
        self.balancer = Balancer(root, [(r.rest, r.grpc) for r in self.replicas])
        self.parts.append(self.balancer)
        self.prometheus = Prometheus(root, self.replicas)
        self.parts.append(self.prometheus)
        self.pool = urllib3.PoolManager(maxsize=32, retries=False, timeout=60)
        try:
            until(lambda: self.answers("/readyz") == 200, 30, "the balancer finds nobody")
        except TimeoutError:
            self.close()
            raise

    def put(self, name: str, versions: dict, toml: str):
        made = self.root / "models" / f".{name}"
        for version, model in versions.items():
            (made / str(version)).mkdir(parents=True)
            shutil.copy(model, made / str(version) / "model.onnx")
        (made / "model.toml").write_text(toml)
        made.rename(self.root / "models" / name)

    def put_version(self, name: str, version: int, model: bytes):
        made = self.root / "models" / name / f".{version}"
        made.mkdir()
        (made / "model.onnx").write_bytes(model)
        made.rename(self.root / "models" / name / str(version))

    def post(self, path: str, body, headers=None, via=None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.pool.request("POST", f"http://{via or self.balancer.rest}{path}", body=data, headers=headers or {})
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        return answer

    def answers(self, path: str) -> int:
        try:
            return self.pool.request("GET", f"http://{self.balancer.rest}{path}").status
        except urllib3.exceptions.HTTPError:
            return 0

    def keep(self, work):
        """Does it again and again until the end."""

        def loop():
            while not self.done.is_set():
                work()

        thread = Thread(target=loop, daemon=True)
        self.threads.append(thread)
        thread.start()

    def busy(self):
        """Pictures by chance, whose true class is the teacher's; feedback on each answer."""
        noise = np.random.default_rng(1)
        pictures = noise.normal(size=(64, 1, 28, 28)).astype(np.float32)
        bodies = [json.dumps({"instances": [p.round(3).tolist()]}).encode() for p in pictures]
        truth = [self.label("/v1/models/m/versions/2:predict", body) for body in bodies]
        turn = iter(range(10**9))

        def ask():
            i = next(turn) % len(bodies)
            answer = self.post("/v1/models/m:predict", bodies[i])
            if answer.status == 200:
                told = {"request_id": answer.headers["x-ocelli-request-id"], "label": truth[i]}
                self.post("/v1/models/m:feedback", told)
            time.sleep(0.01)

        photo = (ROOT / "models/photos/chelsea.jpg").read_bytes()

        def now_and_then():
            self.post("/v1/models/m:predict", b"{}")
            self.post("/v1/models/nobody:predict", bodies[0])
            self.post("/v1/models/kept:predict", bodies[next(turn) % 16])
            self.post("/v1/models/m:predict", bodies[0], {"x-request-timeout-ms": "1"})
            self.post("/v1/models/photos:predict", photo, {"content-type": "image/jpeg"})
            time.sleep(0.2)

        many = json.dumps({"instances": [pictures[0].round(3).tolist()]}).encode()
        for _ in range(3):
            self.keep(ask)
        self.keep(now_and_then)
        # More than one place in the queue has room for.
        for _ in range(6):
            self.keep(lambda: (self.post("/v1/models/narrow:predict", many, via=self.replicas[0].rest), time.sleep(0.02)))

    def label(self, path: str, body: bytes) -> int:
        answer = json.loads(self.post(path, body).data)
        if "predictions" not in answer:
            raise RuntimeError(answer)
        (row,) = answer["predictions"]
        return int(np.argmax(row if isinstance(row, list) else list(row.values())[0]))

    def rollout(self, want: str, **start):
        """Starts one, and waits for its end."""
        self.replicas[0].ask("POST", "models/m/rollout", start)
        state = lambda: self.replicas[0].ask("GET", "models/m/rollout")
        ends = ("done", "rolled_back", "aborted")
        until(lambda: state()["state"] in ends, 300, lambda: state(), 0.3)
        told = state()
        assert told["state"] == want, told

    def live(self):
        """All that happens to a model in a year, in a minute."""
        first = self.replicas[0]
        first.ask("PUT", "models/m/traffic", {"weights": {"1": 50, "2": 50}})
        self.busy()
        time.sleep(15)
        # A version that is broken, and one that is shadowed.
        self.put_version("m", 9, b"this is no model")
        self.put_version("m", 3, MID.read_bytes())
        available = lambda: {v["version"]: v["state"] for v in first.ask("GET", "models/m")["versions"]}.get(3)
        until(lambda: available() == "AVAILABLE", 120, "version 3")
        shadow = [{"version": 3, "percent": 100}]
        first.ask("PUT", "models/m/traffic", {"weights": {"1": 50, "2": 50}, "shadow": shadow})
        time.sleep(15)
        # One that goes through, one that no gate lets through, and a person who thinks again.
        steps = {"steps": [25, 100], "interval": "4s", "timeout": "120s", "min_samples": 20}
        first.ask("PUT", "models/m/traffic", {"weights": {"1": 100}, "shadow": shadow})
        self.rollout("done", **steps, **{"from": 1, "to": 2}, gates=["p99<=60s"])
        self.rollout("rolled_back", **steps, **{"from": 2, "to": 1}, gates=["p50<=0.001ms"])
        first.ask("PUT", "models/m/traffic", {"weights": {"1": 40, "2": 60}, "shadow": shadow})
        first.ask("POST", "models/m/traffic/rollback", {})
        first.ask("PUT", "models/m/traffic", {"weights": {"1": 50, "2": 50}, "shadow": shadow})
        time.sleep(12)

    def close(self):
        self.done.set()
        [t.join(timeout=60) for t in self.threads]
        for part in self.parts:
            part.process.kill()
            part.process.wait()
