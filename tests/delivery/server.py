"""The server under test: the real binary, on free loopback ports, and its admin API."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from threading import Thread

import urllib3

import fashion

BINARY = os.environ.get("OCELLI_BIN", fashion.ROOT / "target/release/ocelli")
FEEDBACK = "[versions]\nall = true\n[feedback]\nclass = true\n"


class Refused(Exception):
    """The admin API said no."""

    def __init__(self, status: int, error: str):
        super().__init__(f"{status}: {error}")
        self.status = status
        self.error = error


class Server:
    """Serves a directory that models are put into while it runs."""

    def __init__(self, models: Path, *flags: str):
        self.models = models
        self.flags = flags
        self.pool = urllib3.PoolManager(maxsize=8, retries=False, timeout=30)
        self.start()

    def start(self):
        command = [BINARY, "serve", "--models", self.models, "--log-format", "json"]
        for door in ("--rest-addr", "--grpc-addr", "--admin-addr"):
            command += [door, "127.0.0.1:0"]
        command += ["--poll-ms", "100", "--settle-ms", "100", "--lame-duck-ms", "0"]
        command += ["--max-queue-rows", "4096", *self.flags]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            entry = json.loads(line)
            if entry["message"] == "serving":
                self.rest, self.admin_address = entry["rest"], entry["admin"]
            if entry["message"] == "ready":
                break
        else:
            raise RuntimeError("the server did not start:\n" + "".join(self.log))
        # A full pipe would stop the server.
        log, stderr = self.log, self.process.stderr
        Thread(target=lambda: log.extend(stderr), daemon=True).start()

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=30)

    # Models.

    def put(self, name: str, versions: dict, toml=FEEDBACK, extra=None, wait=True) -> "Model":
        """Puts a model there: `versions` by number; `extra` are other files' texts by path."""
        made = self.models / f".{name}"
        for version, model in versions.items():
            directory = made / str(version)
            directory.mkdir(parents=True)
            shutil.copy(fashion.MODELS / model, directory / "model.onnx")
        for path, text in {"model.toml": toml, **(extra or {})}.items():
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            (made / path).write_text(text)
        made.rename(self.models / name)
        model = Model(self, name)
        if wait:
            model.wait_for(*versions)
        return model

    # The admin API.

    def admin(self, method: str, path: str, body=None):
        url = f"http://{self.admin_address}/admin/v1/{path}"
        sent = None if body is None else json.dumps(body)
        answer = self.pool.request(method, url, body=sent)
        told = json.loads(answer.data)
        if answer.status >= 400:
            raise Refused(answer.status, told["error"])
        return told

    def metrics(self) -> dict:
        """By series, such as `ocelli_drift{model="m"}`."""
        text = self.pool.request("GET", f"http://{self.rest}/metrics").data.decode()
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return {series: float(value) for series, value in lines}


class Model:
    """A model's part of the admin API."""

    def __init__(self, server: Server, name: str):
        self.server = server
        self.name = name

    def admin(self, method: str, path="", body=None):
        path = f"/{path}" if path else ""
        return self.server.admin(method, f"models/{self.name}{path}", body)

    def wait_for(self, *versions: int):
        def available():
            try:
                listed = self.admin("GET")["versions"]
            except Refused:
                return False
            states = {v["version"]: v["state"] for v in listed}
            return all(states.get(v) == "AVAILABLE" for v in versions)

        until(available, 60, lambda: f"{self.name}: {versions}")

    def weights(self) -> dict:
        """In force now."""
        split = self.admin("GET", "traffic")["split"]
        return {arm["version"]: arm["weight"] for arm in split}

    def set(self, **weights):
        """`v1=50, v2=50`."""
        body = {"weights": {version[1:]: weight for version, weight in weights.items()}}
        return self.admin("PUT", "traffic", body)

    def history(self) -> list:
        return self.admin("GET", "traffic")["history"]

    def rollout(self, **start):
        return self.admin("POST", "rollout", start)

    def rollout_state(self):
        return self.admin("GET", "rollout")

    def wait_for_state(self, *states: str, seconds=30.0, step=None):
        """Until the rollout is in one of these states (at a step)."""
        seen = []

        def there():
            state = self.rollout_state()
            seen[:] = [state]
            return state["state"] in states and step in (None, state["step"])

        until(there, seconds, lambda: f"{self.name}: {states} at {step}, it is {seen}")
        return seen[0]

    def events(self) -> list:
        """The newest first."""
        events = self.server.admin("GET", "events?limit=256")["events"]
        return [e for e in events if e["model"] == self.name]

    def feedback(self) -> dict:
        """Of all time, by version."""
        versions = self.admin("GET", "feedback")["versions"]
        return {int(version): told["total"] for version, told in versions.items()}

    def experiment(self, **asked) -> dict:
        query = "&".join(f"{key}={value}" for key, value in asked.items())
        return self.admin("GET", f"experiment?{query}")


def until(condition, seconds: float, what=lambda: ""):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what()}")
        time.sleep(0.05)
