"""Replicas of the real binary over the same models, and models whose answers name their version."""

import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from threading import Thread, Timer

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("OCELLI_BIN", ROOT / "target/release/ocelli")
ALL = "[versions]\nall = true\n"
ANY = "127.0.0.1:0"
NOBODY = 65534
PATIENCE = 10
"""Seconds that a server may take until it is ready."""


class Refused(Exception):
    """The admin API said no."""

    def __init__(self, status: int, error: str):
        super().__init__(f"{status}: {error}")
        self.status = status
        self.error = error


def scratch() -> Path:
    """A new directory that any user may look into."""
    made = Path(tempfile.mkdtemp(prefix="ocelli-fleet-"))
    made.chmod(0o777)
    return made


def times(factor: float, weight_bytes=0) -> onnx.ModelProto:
    """y = x * factor, for rows of one number. `weight_bytes` make the file that much larger."""
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1])
    constants = [numpy_helper.from_array(np.array(factor, np.float32), "factor")]
    nodes = [helper.make_node("Mul", ["x", "factor"], ["y"])]
    if weight_bytes:
        # A detour that adds nothing: x @ 0 @ 0.
        width = weight_bytes // 8
        constants += [numpy_helper.from_array(np.zeros((1, width), np.float32), "up")]
        constants += [numpy_helper.from_array(np.zeros((width, 1), np.float32), "down")]
        nodes[0].output[0] = "scaled"
        nodes += [
            helper.make_node("MatMul", ["x", "up"], ["wide"]),
            helper.make_node("MatMul", ["wide", "down"], ["nothing"]),
            helper.make_node("Add", ["scaled", "nothing"], ["y"]),
        ]
    graph = helper.make_graph(nodes, "times", [value("x")], [value("y")], constants)
    opset = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def put_version(models: Path, name: str, version: int, model: onnx.ModelProto, **files: str):
    """Adds a version as a whole; `files` lie beside its model: `model_toml="…"`."""
    (models / name).mkdir(parents=True, exist_ok=True)
    aside = models / name / f".{version}"
    aside.mkdir()
    onnx.save(model, aside / "model.onnx")
    for file, text in files.items():
        (aside / file.replace("_", ".")).write_text(text)
    aside.rename(models / name / str(version))


def put_model(models: Path, name: str, versions=range(1, 7), toml=ALL):
    """A model, each version of which multiplies by its number."""
    (models / name).mkdir(parents=True)
    (models / name / "model.toml").write_text(toml)
    for version in versions:
        put_version(models, name, version, times(version))


class Server:
    """A replica on ports of its own. It may be killed and started again. A store that is a path is a directory."""

    def __init__(self, models: Path, store: Path | str | None, *flags: str, env=None, user=None, lame_duck=0.0, **doors: str):
        self.models, self.store = models, store
        self.flags = ("--lame-duck-ms", str(round(lame_duck * 1000)), *flags)
        self.doors = {"rest": ANY, "grpc": ANY, "admin": ANY, **doors}
        self.env, self.user = env or {}, user
        self.start()

    def command(self) -> list:
        command = [BINARY, "serve", "--models", self.models, "--log-format", "json"]
        for door, address in self.doors.items():
            command += [f"--{door}-addr", address]
        if self.store:
            command += ["--traffic-store", f"file:{self.store}" if isinstance(self.store, Path) else self.store]
        return command + ["--poll-ms", "100", "--settle-ms", "0", *self.flags]

    def start(self):
        who = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        env = {**os.environ, **self.env}
        self.process = subprocess.Popen(
            self.command(), stderr=subprocess.PIPE, text=True, env=env, cwd="/", **who
        )
        self.log = []
        patience = Timer(PATIENCE, self.process.kill)
        patience.start()
        for line in self.process.stderr:
            self.log.append(line)
            entry = json.loads(line)
            if entry["message"] == "serving":
                self.rest, self.grpc, self.admin_address = entry["rest"], entry["grpc"], entry["admin"]
            if entry["message"] == "ready":
                break
        else:
            raise RuntimeError("the server did not start:\n" + "".join(self.log))
        patience.cancel()
        # A full pipe would stop the server.
        log, stderr = self.log, self.process.stderr
        Thread(target=lambda: log.extend(stderr), daemon=True).start()
        self.connection = http.client.HTTPConnection(self.admin_address, timeout=30)

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=30)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)

    def afresh(self) -> "Server":
        """With a new connection to the admin API, which leaves those that are idle for long."""
        self.connection.close()
        return self

    # The admin API. Not for several threads at a time.

    def ask(self, method: str, path: str, body=None) -> dict:
        sent = None if body is None else json.dumps(body)
        self.connection.request(method, f"/admin/v1/{path}", body=sent)
        answer = self.connection.getresponse()
        told = json.loads(answer.read())
        if answer.status >= 400:
            raise Refused(answer.status, told["error"])
        return told

    def status(self) -> dict:
        return self.ask("GET", "status")

    def traffic(self, model="m") -> dict:
        return self.ask("GET", f"models/{model}/traffic")

    def set(self, model="m", **body) -> dict:
        return self.ask("PUT", f"models/{model}/traffic", body)

    def weigh(self, weights: dict, model="m", **more) -> dict:
        """The new document."""
        weights = {str(version): weight for version, weight in weights.items()}
        return self.set(model, weights=weights, **more)["current"]

    def roll_back(self, model="m", **body) -> dict:
        return self.ask("POST", f"models/{model}/traffic/rollback", body)

    def offer(self, document: dict, model="m") -> dict:
        return self.ask("POST", f"models/{model}/traffic/offer", document)

    def revision(self, model="m") -> int:
        return (self.traffic(model)["current"] or {"revision": 0})["revision"]

    def split(self, model="m") -> dict:
        return shares(self.traffic(model)["split"])

    def states(self, model="m") -> dict:
        return {v["version"]: v["state"] for v in self.ask("GET", f"models/{model}")["versions"]}

    def metrics(self) -> dict:
        """By series, such as `ocelli_traffic_revision{model="m"}`."""
        self.connection.request("GET", "/metrics")
        text = self.connection.getresponse().read().decode()
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#"]
        return {series: float(value) for series, value in lines}

    def shadows(self, version: int, model="m") -> dict:
        """What became of copies, by outcome."""
        series = 'ocelli_shadow_total{model="%s",outcome="%s",version="%d"}'
        metrics = self.metrics()
        outcomes = ("agree", "differ", "error", "shed")
        return {o: int(metrics.get(series % (model, o, version), 0)) for o in outcomes}


class Fleet:
    """Replicas with the same models and the same store."""

    def __init__(self, count=3, *flags: str, make=lambda models: put_model(models, "m"), **more):
        self.root = scratch()
        self.models, self.store = self.root / "models", self.root / "store"
        self.models.mkdir()
        make(self.models)
        each = {"env": [{}] * count, **more}
        user = each.get("user")
        if user:
            subprocess.run(["chown", "-R", f"{user}:{user}", self.root], check=True)
        self.replicas = [
            Server(self.models, self.store, *flags, env=each["env"][i], user=user, lame_duck=each.get("lame_duck", 0))
            for i in range(count)
        ]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for replica in self.replicas:
            replica.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def __iter__(self):
        return iter(self.replicas)

    def __getitem__(self, i) -> Server:
        return self.replicas[i]

    def agree_on(self, revision: int, model="m", seconds=5.0):
        """Waits until all replicas are there."""
        seen = lambda: [replica.revision(model) for replica in self]
        until(lambda: all(r == revision for r in seen()), seconds, lambda: f"{revision}: {seen()}")


def shares(arms: list) -> dict:
    return {arm["version"]: arm["weight"] for arm in arms}


def until(condition, seconds: float, what=lambda: "", pause=0.02):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what()}")
        time.sleep(pause)


def quantiles(values) -> str:
    """Of seconds, in words."""
    ms = np.array(values) * 1e3
    p50, p99 = np.percentile(ms, [50, 99])
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {ms.max():.1f} ms (n = {len(ms)})"
