"""Clients that check every answer: the value, the version it names, and the version in its id."""

import json
import multiprocessing
import socket
import time
from dataclasses import dataclass, field
from threading import Thread

import grpc
from tritonclient.grpc import service_pb2 as pb


@dataclass(frozen=True)
class Answer:
    version: int
    id: str


class Wrong(Exception):
    """A failed or inconsistent answer."""


def check(x: float, y: float, version: int, id: str, model: str) -> Answer:
    """The answer, if value, version and id say the same."""
    if y != x * version:
        raise Wrong(f"version {version} answered {y} to {x}")
    parts = id.split(".")
    if len(parts) != 5 or parts[1] != model or parts[2].split("r")[0] != str(version):
        raise Wrong(f"version {version} of {model} has the id {id!r}")
    return Answer(version, id)


class Http:
    """One connection by HTTP/1.1, read by hand: Python's clients take longer than the server."""

    def __init__(self, address: str, model="m"):
        self.model = model
        self.path = f"/v1/models/{model}:predict"
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", 1 << 16)

    def request(self, x: float, path=None, **headers: str) -> bytes:
        body = b'{"instances":[[%d]]}' % x
        lines = [f"POST {path or self.path} HTTP/1.1", "host: t", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def read(self) -> tuple[int, dict, bytes]:
        line = self.file.readline()
        if not line:
            raise Wrong("the server closed the connection")
        headers = {}
        while header := self.file.readline().strip():
            name, _, value = header.partition(b":")
            headers[name.lower()] = value.strip()
        body = self.file.read(int(headers[b"content-length"]))
        return int(line.split(None, 2)[1]), headers, body

    def answer(self, x: float) -> Answer:
        status, headers, body = self.read()
        if status != 200:
            raise Wrong(f"HTTP {status}: {body[:300]!r}")
        version, id = int(headers[b"x-ocelli-model-version"]), headers[b"x-ocelli-request-id"].decode()
        return check(x, json.loads(body)["predictions"][0][0], version, id, self.model)

    def infer(self, x=3.0, path=None, **headers: str) -> Answer:
        self.socket.sendall(self.request(x, path, **headers))
        return self.answer(x)

    def infer_v2(self, query: str) -> Answer:
        """By the Open Inference Protocol."""
        tensor = {"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [5]}
        body = json.dumps({"inputs": [tensor]}).encode()
        head = f"POST /v2/models/{self.model}/infer{query} HTTP/1.1\r\nhost: t\r\n"
        self.socket.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
        status, headers, body = self.read()
        if status != 200:
            raise Wrong(f"HTTP {status}: {body[:300]!r}")
        told = json.loads(body)
        version, id = int(told["model_version"]), headers[b"x-ocelli-request-id"].decode()
        return check(5, told["outputs"][0]["data"][0], version, id, self.model)

    def infer_all(self, asked: list[dict], window=32) -> list[int]:
        """The versions that answered; as many requests on their way at a time."""
        versions = []
        for at in range(0, len(asked), window):
            part = asked[at : at + window]
            self.socket.sendall(b"".join(self.request(5, **one) for one in part))
            versions += [self.answer(5).version for _ in part]
        return versions

    def close(self):
        self.file.close()
        self.socket.close()


class Grpc:
    """One channel, Open Inference Protocol."""

    def __init__(self, address: str, model="m"):
        self.model = model
        # A pool of its own: channels to one address share a connection otherwise.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(address, options=options)
        self.call = self.channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )

    def infer(self, x=3.0, **metadata: str) -> Answer:
        request = pb.ModelInferRequest(model_name=self.model)
        tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 1])
        tensor.contents.fp32_contents.append(x)
        metadata = [(name.replace("_", "-"), value) for name, value in metadata.items()]
        answer, call = self.call.with_call(request, metadata=metadata, timeout=60)
        # It comes as the input did.
        values = answer.outputs[0].contents.fp32_contents
        id = dict(call.initial_metadata()).get("x-ocelli-request-id", "")
        return check(x, float(values[0]), int(answer.model_version), id, self.model)

    def close(self):
        self.channel.close()


KINDS = {"http": Http, "grpc": Grpc}


@dataclass
class Record:
    """What a load saw: columns of the same length, by the clock that all processes share."""

    began: list = field(default_factory=list)
    ended: list = field(default_factory=list)
    replica: list = field(default_factory=list)
    version: list = field(default_factory=list)
    failed: list = field(default_factory=list)

    def add(self, other: "Record"):
        for column, more in vars(other).items():
            getattr(self, column).extend(more)


def work(kind: str, addresses: list, threads: int, model: str, over, results):
    """Runs in a process: threads for each replica, until it is over."""
    records = [Record() for _ in addresses for _ in range(threads)]

    def run(replica: int, record: Record, x: int):
        client = KINDS[kind](addresses[replica], model)
        while not over.is_set():
            x = x % 1000 + 1
            began = time.monotonic()
            try:
                version = client.infer(float(x)).version
            except Exception as error:
                record.failed.append(f"{kind}, replica {replica}: {error!r}")
                client = KINDS[kind](addresses[replica], model)
                continue
            record.began.append(began)
            record.ended.append(time.monotonic())
            record.replica.append(replica)
            record.version.append(version)

    running = [
        Thread(target=run, args=(i % len(addresses), record, i))
        for i, record in enumerate(records)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    whole = Record()
    for record in records:
        whole.add(record)
    results.put((kind, whole))


class Load:
    """HTTP and gRPC clients in processes of their own, for as long as the block runs."""

    def __init__(self, replicas, threads=1, model="m", kinds=("http", "grpc")):
        spawn = multiprocessing.get_context("spawn")
        self.over, self.results = spawn.Event(), spawn.Queue()
        self.records: dict[str, Record] = {}
        doors = {"http": [r.rest for r in replicas], "grpc": [r.grpc for r in replicas]}
        self.processes = [
            spawn.Process(
                target=work, args=(kind, doors[kind], threads, model, self.over, self.results)
            )
            for kind in kinds
        ]

    def __enter__(self):
        for process in self.processes:
            process.start()
        time.sleep(1.5)
        return self

    def __exit__(self, *_):
        self.over.set()
        self.records = dict(self.results.get(timeout=60) for _ in self.processes)
        for process in self.processes:
            process.join()

    @property
    def failed(self) -> list:
        return [failure for record in self.records.values() for failure in record.failed]

    def rows(self):
        """(began, ended, replica, version) of each answer."""
        for r in self.records.values():
            yield from zip(r.began, r.ended, r.replica, r.version)
