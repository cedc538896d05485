"""The server under test, and tensors to and from it by the Open Inference Protocol's binary extension."""

import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path
from threading import Thread

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("OCELLI_BIN", ROOT / "target/release/ocelli")
LENGTH = "Inference-Header-Content-Length"


def engines() -> dict:
    """What `ocelli engines` tells, by name."""
    told = subprocess.run([BINARY, "engines", "--json"], capture_output=True, check=True)
    return {engine["name"]: engine for engine in json.loads(told.stdout)["engines"]}


def pairs() -> list[tuple[str, str]]:
    """Every engine that is here with every precision it has."""
    return [(name, p) for name, engine in engines().items() for p in engine["precisions"]]


def put(models: Path, name: str, onnx: Path, toml: str = "") -> None:
    """Puts version 1 of a model into a repository."""
    directory = models / name / "1"
    directory.mkdir(parents=True)
    shutil.copy(onnx, directory / ("model" + onnx.suffix))
    (models / name / "model.toml").write_text(toml)


class Server:
    """Serves a directory until the end of a `with`."""

    def __init__(self, models: Path, *flags: str):
        command = [BINARY, "serve", "--models", models, "--log-format", "json", "--settle-ms", "0", *flags]
        for door in ("--rest-addr", "--grpc-addr", "--admin-addr"):
            command += [door, "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.log = []
        for line in self.process.stderr:
            entry = json.loads(line)
            self.log.append(entry)
            if entry["message"] == "serving":
                self.rest, self.admin = entry["rest"], entry["admin"]
            if entry["message"] == "ready":
                break
        else:
            raise RuntimeError(f"the server did not start: {self.log}")
        # A full pipe would stop the server.
        self.rest_of_log = Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self.rest_of_log.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.rest_of_log.join()
        self.process.stderr.close()

    def told(self, message: str) -> int:
        """How often something was logged since it was ready."""
        return sum(f'"{message}"' in line for line in self.log if isinstance(line, str))

    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def versions(self, model: str) -> list[dict]:
        with urllib.request.urlopen(f"http://{self.admin}/admin/v1/models/{model}") as answer:
            return json.load(answer)["versions"]

    def platform(self, model: str) -> str:
        with urllib.request.urlopen(f"http://{self.rest}/v2/models/{model}") as answer:
            return json.load(answer)["platform"]

    def infer(self, model: str, name: str, array: np.ndarray) -> tuple[np.ndarray, dict]:
        """The first output, and the headers of the answer."""
        raw = np.ascontiguousarray(array, dtype=np.float32).tobytes()
        tensor = {"name": name, "shape": array.shape, "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        headers = {LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
        request = urllib.request.Request(f"http://{self.rest}/v2/models/{model}/infer", head + raw, headers)
        with urllib.request.urlopen(request) as answer:
            body, told = answer.read(), answer.headers
        at = int(told[LENGTH])
        output = json.loads(body[:at])["outputs"][0]
        size = output["parameters"]["binary_data_size"]
        return np.frombuffer(body[at : at + size], np.float32).reshape(output["shape"]), told
