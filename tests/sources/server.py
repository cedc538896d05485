"""The server under test, with its models behind a URL."""

import hashlib
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("OCELLI_BIN", ROOT / "target/release/ocelli")
PATIENCE = 20


def until(said, what: str):
    """Waits until `said()` is true, and gives what it was."""
    end = time.monotonic() + PATIENCE
    while not (told := said()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return told


def manifest(directory: Path) -> bytes:
    """What `ocelli manifest` writes."""
    return subprocess.run([BINARY, "manifest", directory], capture_output=True, check=True).stdout


class Server:
    """Serves a URL until the end of a `with`."""

    def __init__(self, url: str, cache: Path, *flags: str, env=None, wrap=()):
        command = [*wrap, BINARY, "serve", "--models", url, "--model-cache", cache, "--log-format", "json"]
        for door in ("--rest-addr", "--grpc-addr", "--admin-addr"):
            command += [door, "127.0.0.1:0"]
        command += ["--source-poll-ms", "200", "--lame-duck-ms", "0", *flags]
        if "--source-stall-ms" not in flags:
            command += ["--source-stall-ms", "1000"]
        self.cache = cache
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        self.log = []
        for line in self.process.stderr:
            if not line.startswith("{"):
                raise RuntimeError(f"the server did not start: {line}")
            entry = json.loads(line)
            self.log.append(entry)
            if entry["message"] == "serving":
                self.rest, self.admin = entry["rest"], entry["admin"]
                break
        else:
            raise RuntimeError(f"the server did not start: {self.log}")
        # A full pipe would stop the server.
        self.reader = Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            self.log.append(json.loads(line))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stderr.close()

    def get(self, address: str, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def is_ready(self) -> bool:
        return self.get(self.rest, "/readyz")[0] == 200

    def wait_ready(self) -> "Server":
        until(self.is_ready, "it does not get ready")
        return self

    def predict(self, model: str, x: float = 2.0) -> float | int:
        """What a model makes of a number, or the status of a refusal."""
        body = json.dumps({"instances": [[x]]}).encode()
        request = urllib.request.Request(f"http://{self.rest}/v1/models/{model}:predict", data=body)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)["predictions"][0][0]
        except urllib.error.HTTPError as error:
            return error.code

    def wait_answer(self, model: str, expected: float):
        until(lambda: self.predict(model) == expected, f"{model} does not answer {expected}")

    def source(self) -> dict:
        """What the admin API tells of the source."""
        return json.loads(self.get(self.admin, "/admin/v1/status")[1])["source"]

    def wait_failing(self, reason: str) -> dict:
        """Waits until a file of the source fails for a reason, and gives what is told of it."""
        found = lambda: [f for f in self.source()["failing"] if f["reason"] == reason]
        return until(found, f"nothing fails as {reason}: {self.source()}")[0]

    def wait_error(self, says: str) -> str:
        """Waits until the source can't be read for a reason that is told in these words."""
        until(lambda: says in (self.source()["error"] or ""), f"no error says {says}")
        return self.source()["error"]

    def looks(self) -> None:
        """Waits until the source was looked at once more from now."""
        age = lambda: self.source().get("last_good_seconds", 1e9)
        before = age()
        time.sleep(0.05)
        until(lambda: age() < before + 0.05 or self.source()["error"], "it does not look")

    def metric(self, name: str) -> float:
        """The sum of a metric's series; `name` may have labels."""
        text = self.get(self.rest, "/metrics")[1].decode()
        lines = [line for line in text.splitlines() if line.startswith(name)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def loaded(self) -> list[tuple[str, int]]:
        """The versions that the loader tried, in order."""
        return [(e["model"], e["version"]) for e in self.log if e["message"] == "loading"]

    def check_cache(self) -> None:
        """Every object in the cache is what its name says: nothing else was ever to be seen by the loader."""
        for path in (self.cache / "objects").iterdir():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
