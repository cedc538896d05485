"""A small cluster: replicas at addresses that are known beforehand, the balancer of deploy/ in front of them, a store that
they share, and an operator who changes the traffic all the time."""

import http.client
import json
import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Thread

from balancer import Balancer, free_port
from callers import Doors, is_ready
from clients import Http
from fleet import Refused, Server, put_model, scratch, until
from kubernetes import Kubernetes

PRE_STOP, LAME_DUCK = 1.0, 3.0
"""Seconds. The balancer asks each second, and takes one out after two refusals."""
DETECTED, NOTICED = 2.5, 1.5
"""Within so many seconds everybody knows that a replica is gone, or has come."""
AGEING = ("--max-connection-age-ms", "2000")
"""Connections are renewed meanwhile, as they are in the chart and by compose, each five minutes there."""
ENDS = ("done", "rolled_back", "aborted")
TOML = """
[versions]
latest = 2
[batching]
# So that there always are requests under way, and in batches with others', without a busy machine.
max_queue_delay_ms = 25
max_batch = 8
"""


@dataclass(frozen=True)
class Arrival:
    """A new replica, at the moment when it said for the first time that it is ready."""

    expected: int
    """The newest revision when it was started."""
    revision: int
    states: dict
    """Of its versions."""
    needed: set
    """Versions of the document in force."""
    first: list
    """The seconds that its first answers took."""


class Cluster:
    """Places for four replicas, of which the last is free; rows of addresses by the place."""

    def __init__(self, kind: str, size=3, places=4):
        self.root = scratch()
        put_model(self.root / "models", "m", toml=TOML)
        self.kubernetes = Kubernetes(self.root) if kind == "kubernetes" else None
        self.store = "kubernetes:cv/traffic" if self.kubernetes else self.root / "store"
        address = lambda: f"127.0.0.1:{free_port()}"
        self.rest, self.grpc = ([address() for _ in range(places)] for _ in range(2))
        self.servers: list[Server | None] = [None] * places
        self.gone: list[Server] = []
        self.left: dict[int, tuple[float, float]] = {}
        """When a place's replica was killed: from, to."""
        self.balancer: Balancer | None = None
        self.size = size

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            # Nothing is left behind.
            self.__exit__()
            raise
        return self

    def start(self):
        for place in range(self.size):
            self.servers[place] = self.serve(place)
        self.servers[0].weigh({5: 1, 6: 1})
        until(lambda: all(s.revision() == 1 for s in self.live()), 5)
        self.balancer = Balancer(self.root, list(zip(self.rest, self.grpc)))
        until(lambda: is_ready(self.balancer.rest), 10)
        # It takes a server for one that is up until it has asked.
        time.sleep(NOTICED)

    def __exit__(self, *_):
        for server in [*self.live(), *self.gone]:
            server.kill()
        if self.balancer:
            self.balancer.kill()
        if self.kubernetes:
            self.kubernetes.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def live(self) -> list[Server]:
        return [server for server in self.servers if server]

    @property
    def doors(self) -> Doors:
        return Doors((self.balancer.rest, self.balancer.grpc), self.rest, self.grpc)

    def serve(self, place: int) -> Server:
        env = self.kubernetes.env if self.kubernetes else {}
        doors = {"rest": self.rest[place], "grpc": self.grpc[place]}
        return Server(self.root / "models", self.store, *AGEING, env=env, lame_duck=LAME_DUCK, **doors)

    def kill(self, place: int):
        """With -9."""
        server, self.servers[place] = self.servers[place], None
        self.gone.append(server)
        began = time.time()
        server.kill()
        self.left[place] = (began, time.time())

    def drain(self, place: int, endpoints) -> Server:
        """As a pod ends: out of the Services, which take no notice of it for a while, and then SIGTERM."""
        server, self.servers[place] = self.servers[place], None
        self.gone.append(server)
        endpoints.withdraw(place)
        time.sleep(PRE_STOP)
        server.stop()
        return server

    def add(self, place: int, endpoints=None) -> Arrival:
        expected = max(server.afresh().revision() for server in self.live())
        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(self.serve, place)
            until(lambda: is_ready(self.rest[place]), 20, pause=0.002)
            server = starting.result()
        traffic, states = server.traffic(), server.states()
        arrival = Arrival(
            expected,
            traffic["current"]["revision"],
            states,
            {arm["version"] for arm in traffic["current"]["arms"]},
            first_answers(server),
        )
        if endpoints:
            endpoints.leaving.discard(place)
        self.servers[place] = server
        return arrival


def first_answers(server: Server, count=5) -> list[float]:
    took = []
    client = Http(server.rest)
    for _ in range(count):
        began = time.monotonic()
        client.infer()
        took.append(time.monotonic() - began)
    client.close()
    return took


class Operator:
    """Splits traffic, rolls versions out, sees one rolled back by its gates, and goes back: in any order, by any
    replica that answers, until the block ends."""

    STEPS = {"steps": [30, 100], "interval": "1s", "timeout": "30s", "min_samples": 5}

    def __init__(self, cluster: Cluster, rng: random.Random):
        self.cluster, self.rng, self.over = cluster, rng, Event()
        self.documents: dict[int, dict] = {}
        self.done: list[str] = []
        self.failed: list[BaseException] = []
        self.thread = Thread(target=self.operate)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.look()

    def operate(self):
        work = [self.split, self.roll_out, self.roll_out_what_is_too_slow, self.go_back]
        try:
            # Each at least once.
            while not self.over.is_set() or len(self.done) < len(work):
                self.rng.shuffle(work)
                for change in work:
                    if self.over.is_set() and len(self.done) >= len(work):
                        break
                    change()
                    self.done.append(change.__name__)
                    self.look()
        except BaseException as error:
            self.failed.append(error)

    def ask(self, method: str, path: str, body=None) -> dict:
        """The first replica that answers, as `ocelli traffic --admin` does for a person who tries the next one."""
        servers = self.cluster.live()
        self.rng.shuffle(servers)
        for server in servers:
            connection = http.client.HTTPConnection(server.admin_address, timeout=20)
            try:
                connection.request(method, f"/admin/v1/models/m/{path}", None if body is None else json.dumps(body))
                answer = connection.getresponse()
                told = json.loads(answer.read())
            except (OSError, http.client.HTTPException):
                continue
            finally:
                connection.close()
            if answer.status >= 400:
                raise Refused(answer.status, told["error"])
            return told
        raise RuntimeError(f"no replica answered {method} {path}")

    def change(self, method: str, path: str, body: dict) -> dict:
        """Again, where a replica has not heard yet that the rollout before is over."""
        for _ in range(20):
            try:
                return self.ask(method, path, body)
            except Refused as refused:
                if refused.status != 409:
                    raise
                error = refused
            time.sleep(0.05)
        raise error

    def look(self):
        """Keeps the documents, of which a replica knows the last few."""
        self.documents |= {d["revision"]: d for d in self.ask("GET", "traffic")["history"]}

    def split(self):
        share = self.rng.randrange(10, 90)
        self.change("PUT", "traffic", {"weights": {"5": share, "6": 100 - share}})

    def roll(self, end: str, gate: str):
        """To a version that is not loaded, mostly."""
        begin = self.rng.choice([5, 6])
        self.change("PUT", "traffic", {"weights": {str(begin): 1}})
        to = self.rng.choice([v for v in range(1, 7) if v != begin])
        own = self.change("POST", "rollout", {**self.STEPS, "from": begin, "to": to, "gates": [gate]})["id"]
        deadline = time.monotonic() + 60
        while (told := self.rollout())["id"] != own or told["state"] not in ENDS:
            assert time.monotonic() < deadline, told
            time.sleep(0.2)
        assert told["state"] == end, json.dumps(told)

    def rollout(self) -> dict:
        """A replica that has not heard of it yet tells of the one before, or that there was none."""
        try:
            return self.ask("GET", "rollout")
        except Refused as refused:
            if refused.status != 404:
                raise
            return {"id": None}

    def roll_out(self):
        self.roll("done", "p99<=60s")

    def roll_out_what_is_too_slow(self):
        self.roll("rolled_back", "p50<=0.001ms")

    def go_back(self):
        self.change("POST", "traffic/rollback", {"reason": "back"})
