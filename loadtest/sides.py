"""What is compared: Ocelli, a peer, and the engine without a server. A side is measured again and again."""

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import rig
import venvs
from rig import ROOT

PEER_FILES = ROOT / "loadtest/peers"
# As samples.py writes them.
BINARY = ("--header", "Inference-Header-Content-Length: 256")
FORM = ("--content-type", "multipart/form-data; boundary=of-a-form")


@dataclass(frozen=True)
class Way:
    """How a model is asked: by which path, with which of the samples, and what the load generator must know."""

    path: str
    body: str
    flags: tuple[str, ...] = ()


# How Ocelli is asked where a peer is asked in the form of that name.
OCELLI = {
    "json": Way("/v1/models/{model}:predict", "{model}.v1.json"),
    "v2": Way("/v2/models/{model}/infer", "{model}.v2.json"),
    "grpc": Way(rig.INFER, "{model}.grpc", ("--grpc", "--connections=2")),
    "bytes": Way("/v2/models/{model}/infer", "{model}.v2", BINARY),
    "form": Way("/v2/models/{model}/infer", "{model}.v2", BINARY),
    "photo": Way("/v1/models/{model}:predict", "photo.jpg"),
}
# And a peer. What V2 asks for is the same.
PEER = {
    "json": Way("/predict", "{model}.x.json"),
    "v2": OCELLI["v2"],
    "grpc": OCELLI["grpc"],
    "bytes": Way("/predict", "{model}.bytes"),
    "form": Way("/predict", "{model}.form", FORM),
}


@dataclass(frozen=True)
class Kind:
    """A peer: the forms in which it is asked small and large tensors, and what tells that it is up."""

    small: str
    large: str
    ready: str
    paths: dict[str, str] | None = None
    command: tuple[str, ...] = ("{python}", "{file}")


PEERS = {
    "mlserver": Kind("v2", "grpc", "/v2/models/{model}/ready"),
    "pytriton": Kind("v2", "grpc", "/v2/models/{model}/ready"),
    "litserve": Kind("json", "form", "/health"),
    "mosec": Kind(
        "json", "bytes", "/metrics", {"json": "/inference", "bytes": "/inference"},
        ("{python}", "{file}", "--address", "127.0.0.1", "--port", "{port}", "--timeout", "60000",
         "--log-level", "warning"),
    ),
    "bentoml": Kind(
        "json", "form", "/readyz", {"form": "/predict_file"},
        ("{python}", "-m", "bentoml", "serve", "{module}:Onnx", "--working-dir", "{dir}", "--host", "127.0.0.1",
         "--port", "{port}"),
    ),
    "rayserve": Kind("json", "bytes", "/-/healthz"),
}


def repository(root: Path, samples: Path, engine: str, models: dict[str, Path]) -> Path:
    """Models for Ocelli, each told its engine."""
    for name, source in models.items():
        shutil.copytree(source, root / name)
        settings = root / name / "model.toml"
        told = settings.read_text() if settings.exists() else ""
        # Before the file's tables.
        settings.write_text((f'engine = "{engine}"\n' if engine else "") + told)
    return root


def numbers(answer) -> list[float]:
    """All numbers of a JSON answer's tensor, in whichever form: V1's, V2's, a peer's, or a bare list."""
    if isinstance(answer, dict):
        if "outputs" in answer:
            return numbers(answer["outputs"][0]["data"])
        return numbers(answer["predictions"] if "predictions" in answer else answer["y"])
    return [n for part in answer for n in numbers(part)] if isinstance(answer, list) else [float(answer)]


def agree(a: list[float], b: list[float], within: float = 1e-3) -> bool:
    """Whether two answers are the same, within a part of the largest number."""
    largest = max(map(abs, a), default=0)
    return len(a) == len(b) and all(abs(x - y) <= within * largest for x, y in zip(a, b))


class Loaded:
    """A side that is asked over a socket."""

    pins: list[str] = []

    def __init__(self, group: rig.Group, rest: str, grpc: str, way: Way, model: str, scratch: Path, args):
        self.group, self.way, self.args, self.rest = group, way, args, rest
        self.model, self.scratch = model, scratch
        self.url = (grpc if "--grpc" in way.flags else rest) + way.path.format(model=model)
        self.body = scratch / way.body.format(model=model)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.group.stop()

    def pause(self) -> None:
        self.group.pause()

    def resume(self) -> None:
        self.group.resume()

    def answer(self, way: Way) -> list[float]:
        """What it computes of the sample."""
        headers = {"Content-Type": "application/json"} if way.body.endswith(".json") else {}
        if "--content-type" in way.flags:
            headers["Content-Type"] = way.flags[way.flags.index("--content-type") + 1]
        headers.setdefault("Content-Type", "application/octet-stream")
        body = (self.scratch / way.body.format(model=self.model)).read_bytes()
        request = urllib.request.Request(self.rest + way.path.format(model=self.model), body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return numbers(json.loads(answer.read()))

    def load(self, seconds: float, warmup: float = 0) -> dict:
        flags = [f"--concurrency={self.args.concurrency}"]
        flags += [f"--duration={round(seconds * 1e3)}ms", f"--warmup={round(warmup * 1e3)}ms"]
        return rig.load(self.url, self.body, *flags, *self.way.flags)["phases"][0]

    def measure(self, seconds: float, warmup: float) -> dict:
        before: dict[int, float] = {}
        # No pause behind the warm-up: a server that has its hands full is measured, and not how it gets there.
        timer = threading.Timer(warmup, lambda: before.update(self.group.cpu()))
        timer.start()
        phase = self.load(seconds, warmup)
        timer.join()
        used = rig.grown(before, self.group.cpu())
        good = phase["ok"]["count"]
        if not good:
            raise RuntimeError(f"{self.name} gave no answer: statuses {phase['statuses']}, errors {phase['errors']}")
        return {
            "per_second": phase["good_per_second"],
            "p50_ms": phase["ok"]["p50"],
            "p99_ms": phase["ok"]["p99"],
            "per_cpu_second": good / used if used else 0,
            "cpu_seconds": used,
            "memory_mb": self.group.memory(),
            "statuses": phase["statuses"],
            "errors": phase["errors"],
        }


class Served(Loaded):
    """Ocelli, with the ONNX Runtime that it is compared with."""

    name = "Ocelli"

    def __init__(self, models: Path, model: str, scratch: Path, args, form: str, library: Path):
        flags = [f"--compute-threads={args.threads}", f"--max-batch={args.batch}", *args.ocelli]
        self.server = rig.Server(models, *flags, env=environment(library))
        self.form = form
        super().__init__(self.server, self.server.url, self.server.grpc, OCELLI[form], model, scratch, args)

    def decode_seconds(self) -> float:
        """What decoding a photo takes when nothing else is under way."""
        flags = ["--concurrency=1", "--duration=3s"]
        rig.load(self.url, self.body, *flags)
        return self.server.mean("ocelli_preprocess_duration_seconds", self.model)


class Peer(Loaded):
    """One of peers/*_peer.py."""

    def __init__(self, name: str, python: Path, file: Path, model: str, scratch: Path, args, form: str):
        kind, port, grpc_port = PEERS[name], rig.free_port(), rig.free_port()
        self.name, self.pins = name, venvs.pins(name)
        told = {
            "python": python, "file": PEER_FILES / f"{name}_peer.py", "dir": PEER_FILES, "module": f"{name}_peer",
            "port": port,
        }
        env = {
            "PEER_MODEL": str(file), "PEER_NAME": model, "PEER_PORT": str(port), "PEER_GRPC_PORT": str(grpc_port),
            "PEER_THREADS": str(max(1, args.threads // args.workers)), "PEER_WORKERS": str(args.workers),
            "PEER_BATCH": str(args.batch),
            "PATH": f"{python.parent}:{os.environ['PATH']}", "PYTHONPATH": str(PEER_FILES),
            # None of them is to call home.
            "BENTOML_DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1",
        }
        self.log = tempfile.TemporaryFile("w+")
        group = rig.Group([part.format(**told) for part in kind.command], env, stdout=self.log, stderr=self.log)
        rest, grpc = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{grpc_port}"
        way = PEER[form]
        way = Way((kind.paths or {}).get(form, way.path), way.body, way.flags)
        super().__init__(group, rest, grpc, way, model, scratch, args)
        self.wait(rest + kind.ready.format(model=model))

    def wait(self, ready: str, patience: float = 180) -> None:
        """Until it answers, a request too."""
        end = time.monotonic() + patience
        while time.monotonic() < end and self.group.process.poll() is None:
            time.sleep(0.5)
            try:
                with urllib.request.urlopen(ready, timeout=5):
                    if self.load(0.5)["statuses"].keys() == {"200"}:
                        return
            except OSError:
                continue
        self.group.stop()
        self.log.seek(0)
        said = self.log.read()[-3000:]
        raise RuntimeError(f"{self.name} did not start to answer; the end of what it said:\n{said}")


def environment(onnxruntime: Path) -> dict[str, str]:
    """Where Ocelli finds that onnxruntime, and the OpenVINO that the raw engine is of."""
    openvino = venvs.site_packages("raw") / "openvino/libs"
    return {"OCELLI_ONNXRUNTIME_LIBRARY": str(onnxruntime), "OCELLI_OPENVINO_LIBRARY": str(openvino)}


def check(ocelli: Served, peer: Peer) -> None:
    """Refuses two sides that don't compute the same. What is asked by gRPC is asked by V2's JSON here."""
    theirs = peer.answer(OCELLI["v2"] if "--grpc" in peer.way.flags else peer.way)
    ours = ocelli.answer(OCELLI["v2"])
    if not agree(ours, theirs):
        raise RuntimeError(f"{peer.name} answers {theirs[:4]} ... and Ocelli {ours[:4]} ...: not the same model")


class Alone:
    """A side that is a program which runs for as long as it is measured."""

    pins: list[str] = []

    def pause(self) -> None:
        pass

    resume = pause


class Anew(Alone):
    """Ocelli, started for each run as what it is held against is: how fast an engine's rows are differs by several
    hundredths from start to start, with the pages in which its memory lies."""

    name = Served.name

    def __init__(self, form: str, start):
        self.form, self.start = form, start

    def measure(self, seconds: float, warmup: float) -> dict:
        with self.start(self.form) as side:
            return side.measure(seconds, warmup)


class Bench(Alone):
    """`ocelli bench`: as many runs at once as there are threads, and nobody who waits."""

    name, kind = "ocelli bench", "bench"

    def __init__(self, model: Path, args, library: Path):
        self.command = [*rig.MEASURED, rig.OCELLI, "bench", model, f"--threads={args.threads}", "--json"]
        self.env = {**os.environ, **environment(library)}

    def measure(self, seconds: float, warmup: float) -> dict:
        command = [*self.command, f"--seconds={seconds}"]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, env=self.env).stdout)
        # Its quantiles are of runs that did not wait: nothing to hold an answer's against.
        return {"per_second": told["rows_per_second"], "bench": told}


# Engines that peers/raw.py can ask; for any other setting, such as auto, ONNX Runtime stands in.
WHEELS = ("onnxruntime", "openvino", "tract")


class Raw(Alone):
    """The engine in Python, with callers that wait for their turn."""

    kind = "raw"

    def __init__(self, file: Path, args, instances: int = 1, threads: int = 1, photo: Path | None = None):
        self.file, self.args, self.photo = file, args, photo
        self.instances, self.threads = instances, threads
        self.engine = args.engine if args.engine in WHEELS else "onnxruntime"
        self.name = f"{self.engine} in Python, {instances} x {threads} threads"
        self.pins = venvs.pins("raw")

    def best(self) -> "Raw":
        """The faster of one instance with all the threads, and as many instances as threads."""
        n = self.args.threads
        # tract's wheel has one thread for a run.
        plans = {(n, 1)} if self.engine == "tract" else {(1, n), (n, 1)}
        plans = [Raw(self.file, self.args, *plan, self.photo) for plan in plans]
        return max(plans, key=lambda plan: plan.measure(3, 1)["per_second"])

    def measure(self, seconds: float, warmup: float) -> dict:
        command = [*rig.MEASURED, venvs.python("raw"), PEER_FILES / "raw.py", self.file, f"--callers={self.args.concurrency}"]
        command += [f"--engine={self.engine}", f"--instances={self.instances}", f"--threads={self.threads}"]
        command += [f"--seconds={seconds}", f"--warmup={warmup}"]
        if self.photo:
            command += ["--photo", self.photo]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
