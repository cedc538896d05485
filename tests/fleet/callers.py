"""Callers as people run them, of a fleet whose replicas come and go: keep-alive REST and long-lived gRPC, by a balancer
and directly, each with the customary retry. What the first attempt met and what the caller got are told apart."""

import itertools
import json
import multiprocessing
import random
import re
import time
import urllib.request
from dataclasses import dataclass, field
from threading import Event, Thread

import grpc
from tritonclient.grpc import service_pb2 as pb

from clients import Http, check

ATTEMPTS = 3
LOSSES = (502, 503)
"""What a balancer or a server that can't answers, and which is tried again."""
CHANNEL = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.initial_reconnect_backoff_ms", 200),
]
ROUND_ROBIN = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": "inference.GRPCInferenceService"},
    }
)


class Lost(Exception):
    """Not answered, as it happens when a replica goes: tried again. Names the replica's address where the caller knows
    it."""

    def __init__(self, what: str, address: str | None):
        super().__init__(what)
        self.address = address


@dataclass(frozen=True)
class Attempt:
    """One that was lost, or an answer."""

    way: str
    request: str
    began: float
    ended: float
    address: str | None = None
    version: int = 0
    revision: int = 0
    what: str = ""


@dataclass
class Record:
    answers: list[Attempt] = field(default_factory=list)
    lost: list[Attempt] = field(default_factory=list)
    """That a retry made good, or not."""
    failed: list[str] = field(default_factory=list)
    """Requests that retries did not save, and answers that are wrong."""


class Rest:
    """A connection that is kept for as long as the other side keeps it."""

    def __init__(self, pick):
        self.pick, self.kept = pick, None
        self.address = None

    def infer(self, x: float, request: str, avoid: str | None) -> tuple[str, str]:
        """(version and revision, address)."""
        try:
            if self.kept is None:
                self.address = self.pick(avoid)
                self.kept = Http(self.address)
            self.kept.socket.sendall(self.kept.request(x, x_request_id=request))
            if not self.kept.file.peek(1):
                raise ConnectionError("closed without an answer")
            status, headers, body = self.kept.read()
        except OSError as error:
            self.drop()
            raise Lost(repr(error), self.address) from None
        if headers.get(b"connection") == b"close" or status in LOSSES:
            self.drop()
        if status in LOSSES:
            raise Lost(f"HTTP {status}: {body[:200]!r}", self.address)
        if status != 200:
            raise AssertionError(f"HTTP {status}: {body[:300]!r}")
        version, id = int(headers[b"x-ocelli-model-version"]), headers[b"x-ocelli-request-id"].decode()
        return check(x, json.loads(body)["predictions"][0][0], version, id, "m").id, self.address

    def drop(self):
        if self.kept is not None:
            self.kept.close()
        self.kept = None


class Grpc:
    """One channel for all its life. Over several addresses it goes round those that say that they serve."""

    def __init__(self, target: str, address: str | None):
        # Without a name, the list of addresses would be the authority, which HTTP/2 takes for malformed.
        several = [("grpc.service_config", ROUND_ROBIN), ("grpc.default_authority", "ocelli")]
        options = [*CHANNEL, *several] if address is None else CHANNEL
        self.address = address
        self.channel = grpc.insecure_channel(target, options=options)
        self.call = self.channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )

    def infer(self, x: float, request: str, _avoid) -> tuple[str, str | None]:
        asked = pb.ModelInferRequest(model_name="m")
        tensor = asked.inputs.add(name="x", datatype="FP32", shape=[1, 1])
        tensor.contents.fp32_contents.append(x)
        try:
            answer, call = self.call.with_call(asked, metadata=[("x-request-id", request)], timeout=30)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
            said = error.debug_error_string()
            peers = re.findall(r"ipv4:([\d.]+:\d+)", said)
            raise Lost(said, self.address or (peers[0] if peers else None)) from None
        id = dict(call.initial_metadata())["x-ocelli-request-id"]
        y = float(answer.outputs[0].contents.fp32_contents[0])
        return check(x, y, int(answer.model_version), id, "m").id, self.address


class Endpoints:
    """What a Service's endpoints would be: addresses that were asked whether they are ready, and said so, and are not
    leaving. In the test's process; `listed` is shared with callers."""

    def __init__(self, addresses: list[str], listed, period=0.25):
        self.addresses, self.listed, self.period = addresses, listed, period
        self.leaving, self.over = set(), Event()
        self.look()
        Thread(target=self.watch, daemon=True).start()

    def watch(self):
        while not self.over.wait(self.period):
            self.look()

    def look(self):
        for at, address in enumerate(self.addresses):
            self.listed[at] = at not in self.leaving and is_ready(address)

    def withdraw(self, at: int):
        self.leaving.add(at)
        self.listed[at] = 0


def is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


@dataclass
class Doors:
    """Where callers go: the balancer's doors, and the replicas' own."""

    balancer: tuple[str, str]
    rest: list[str]
    grpc: list[str]


def caller(way: str, doors: Doors, listed) -> Rest | Grpc:
    def pick(avoid: str | None) -> str:
        found = [a for a, ready in zip(doors.rest, listed) if ready and a != avoid]
        return random.choice(found or doors.rest)

    match way:
        case "REST, balanced":
            return Rest(lambda _: doors.balancer[0])
        case "REST":
            return Rest(pick)
        case "gRPC, balanced":
            return Grpc(doors.balancer[1], doors.balancer[1])
        case "gRPC":
            return Grpc("ipv4:" + ",".join(doors.grpc), None)


REST, GRPC = ("REST, balanced", "REST"), ("gRPC, balanced", "gRPC")


def keep_calling(client, way: str, number: str, record: Record, over):
    for n in itertools.count():
        if over.is_set():
            return
        x, avoid = float(n % 1000 + 1), None
        for attempt in range(ATTEMPTS):
            request = f"{number}-{n}-{attempt}"
            began = time.time()
            try:
                id, address = client.infer(x, request, avoid)
            except Lost as lost:
                avoid = lost.address
                record.lost.append(Attempt(way, request, began, time.time(), avoid, what=str(lost)))
                continue
            except Exception as error:
                record.failed.append(f"{way}, {request}: {error!r}")
                break
            version, _, revision = id.split(".")[2].partition("r")
            told = Attempt(way, request, began, time.time(), address, int(version), int(revision or 0))
            record.answers.append(told)
            break
        else:
            record.failed.append(f"{way}, {request}: lost {ATTEMPTS} times: {record.lost[-ATTEMPTS:]}")


def work(ways: tuple, count: int, doors: Doors, listed, going, over, results):
    """Runs in a process: as many callers of each way, until it is over."""
    records, threads = [], []
    for way in ways:
        for n in range(count):
            records.append(Record())
            client = caller(way, doors, listed)
            number = f"{way.replace(', ', '-')}-{n}"
            threads.append(Thread(target=keep_calling, args=(client, way, number, records[-1], over)))
    [thread.start() for thread in threads]
    going.release()
    [thread.join() for thread in threads]
    results.put([(r.answers, r.lost, r.failed) for r in records])


class Callers:
    """As many of each way, in two processes, for as long as the block runs."""

    def __init__(self, doors: Doors, each=3):
        spawn = multiprocessing.get_context("spawn")
        self.listed = spawn.Array("b", len(doors.rest), lock=False)
        self.endpoints = Endpoints(doors.rest, self.listed)
        self.going, self.over, self.results = spawn.Semaphore(0), spawn.Event(), spawn.Queue()
        more = (doors, self.listed, self.going, self.over, self.results)
        self.processes = [spawn.Process(target=work, args=(ways, each, *more)) for ways in (REST, GRPC)]
        self.record = Record()

    def __enter__(self):
        for process in self.processes:
            process.start()
        for _ in self.processes:
            assert self.going.acquire(timeout=30)
        return self

    def __exit__(self, *_):
        self.over.set()
        self.endpoints.over.set()
        for _ in self.processes:
            for answers, lost, failed in self.results.get(timeout=60):
                self.record.answers += answers
                self.record.lost += lost
                self.record.failed += failed
        for process in self.processes:
            process.join()
