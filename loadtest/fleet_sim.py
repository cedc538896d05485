"""A fleet of simulated servers behind a balancer, with the autoscaler that looks at it. A discrete-event simulation:
each request comes, waits, is computed in a batch or refused.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hpa import Behaviour, Controller, Pod, desired, desired_of_sum
from server_sim import Replica, Server


@dataclass(frozen=True)
class World:
    """What does not depend on the signal."""

    server: Server
    least: int = 2
    most: int = 20
    start: float = 30.0
    """Seconds from the decision until a pod serves: schedule, pull, load, warm up, be found ready. Varies by a fifth."""
    scrape: float = 15.0
    """Seconds between two looks of Prometheus, and of metrics-server, at a pod."""
    window: float = 30.0
    """Seconds that a metric is averaged over, as in deploy/prometheus/adapter-values.yaml."""
    behaviour: Behaviour = Behaviour()
    version: Callable[[float], float] = lambda _: 0.0
    """Share of the requests that go to the second version, at a moment."""
    slower: tuple[float, ...] = (1.0,)
    """How many times slower nodes are, in turn."""


@dataclass(frozen=True)
class Signal:
    """What is scaled by, and to which mean of the pods."""

    name: str
    target: float

    def proposal(self, fleet: "Fleet", now: float) -> int | None:
        return SIGNALS[self.name](fleet, now, self.target)


@dataclass
class Life:
    """A pod."""

    replica: Replica
    born: float
    ready: float
    scrapes: deque = field(default_factory=lambda: deque(maxlen=8))
    """When, ocelli_load, CPU seconds, requests."""
    gone: float | None = None


@dataclass
class Outcome:
    requests: int = 0
    refused: int = 0
    late: int = 0
    replica_seconds: float = 0.0
    history: list[tuple[float, int, int]] = field(default_factory=list)
    """When, replicas asked for, replicas that serve."""
    violations: list[int] = field(default_factory=list)
    """By ten seconds from the start: of the requests refused or answered too late then."""

    @property
    def violated(self) -> float:
        """Share of the requests."""
        return (self.refused + self.late) / max(self.requests, 1)

    @property
    def replica_hours(self) -> float:
        return self.replica_seconds / 3600


class Fleet:
    def __init__(self, world: World, signal: Signal, seed: int):
        self.world, self.signal = world, signal
        self.rng = random.Random(seed)
        self.controller = Controller(world.behaviour, world.least, world.most)
        self.pods: list[Life] = []
        self.serving: list[Life] = []
        self.events: list[tuple] = []
        self.count = 0
        self.made = 0
        self.out = Outcome()

    def at(self, when: float, what: Callable, *args) -> None:
        self.count += 1
        heapq.heappush(self.events, (when, self.count, what, args))

    def run(self, arrivals: list[float], seconds: float) -> Outcome:
        """Plays the arrivals. The fleet begins with the least number of replicas, all ready."""
        for _ in range(self.world.least):
            self.create(0.0, starts=0.0)
        self.at(self.rng.random() * self.world.behaviour.sync, self.sync)
        self.out.violations = [0] * (int(seconds / 10) + 1)
        events, pop = self.events, heapq.heappop
        for now in arrivals:
            while events[0][0] <= now:
                when, _, what, args = pop(events)
                what(when, *args)
            self.arrive(now)
        # What is under way is finished, and the clock goes on to the end of the trace.
        while events and events[0][0] <= seconds:
            when, _, what, args = pop(events)
            what(when, *args)
        for pod in self.pods:
            self.out.replica_seconds += seconds - pod.born
        return self.out

    def create(self, now: float, starts: float) -> None:
        slower = self.world.slower[self.made % len(self.world.slower)]
        self.made += 1
        pod = Life(Replica(self.world.server, random.Random(self.rng.random()), slower), now, now + starts)
        self.pods.append(pod)
        self.at(pod.ready, self.started, pod)

    def started(self, now: float, pod: Life) -> None:
        if pod.gone is None:
            self.serving.append(pod)
            self.at(now + self.rng.random() * self.world.scrape, self.scraped, pod)

    def remove(self, now: float, pod: Life) -> None:
        """It gets no more requests, and finishes those it has."""
        pod.gone = now
        self.pods.remove(pod)
        if pod in self.serving:
            self.serving.remove(pod)
        self.out.replica_seconds += now - pod.born

    def scraped(self, now: float, pod: Life) -> None:
        if pod.gone is None:
            r = pod.replica
            pod.scrapes.append((now, r.load(now), r.cpu_seconds, r.requests))
            self.at(now + self.world.scrape, self.scraped, pod)

    def sync(self, now: float) -> None:
        current = len(self.pods)
        wanted = self.controller.step(now, current, self.signal.proposal(self, now))
        for _ in range(current, wanted):
            self.create(now, self.world.start * self.rng.uniform(0.8, 1.2))
        # Those that do not serve yet go first, then the youngest.
        for pod in sorted(self.pods, key=lambda p: (p.ready <= now, -p.born))[: max(current - wanted, 0)]:
            self.remove(now, pod)
        self.out.history.append((now, wanted, len(self.serving)))
        self.at(now + self.world.behaviour.sync, self.sync)

    def arrive(self, now: float) -> None:
        self.out.requests += 1
        version = int(self.rng.random() < self.world.version(now))
        if not self.serving:
            return self.violated(now, refused=True)
        pod = min(self.serving, key=_under_way)
        replica = pod.replica
        replica.requests += 1
        replica.under_way += 1
        if replica.decoders:
            end = replica.decode(now, version)
            if end is None:
                replica.under_way -= 1
                return self.violated(now, refused=True)
            return self.at(end, self.decoded, replica, now, version)
        self.queue(now, replica, now, version)

    def decoded(self, now: float, replica: Replica, since: float, version: int) -> None:
        replica.decoded(now)
        self.queue(now, replica, since, version)

    def queue(self, now: float, replica: Replica, since: float, version: int) -> None:
        if replica.admits(now, since, version):
            self.begin(now, replica)
        else:
            replica.under_way -= 1
            self.violated(now, refused=True)

    def begin(self, now: float, replica: Replica) -> None:
        while (begun := replica.begin(now)) is not None:
            end, batch, gone = begun
            replica.under_way -= gone
            for _ in range(gone):
                self.violated(now, refused=True)
            if batch:
                self.at(end, self.done, replica, batch)

    def done(self, now: float, replica: Replica, batch: list[float]) -> None:
        replica.under_way -= len(batch)
        for _ in range(replica.done(now, batch)):
            self.violated(now, refused=False)
        self.begin(now, replica)

    def violated(self, now: float, refused: bool) -> None:
        if refused:
            self.out.refused += 1
        else:
            self.out.late += 1
        place = min(int(now / 10), len(self.out.violations) - 1)
        self.out.violations[place] += 1


def _under_way(pod: Life) -> int:
    return pod.replica.under_way


def _within(pod: Life, now: float, seconds: float) -> list[tuple]:
    return [s for s in pod.scrapes if s[0] > now - seconds]


def by_load(fleet: Fleet, now: float, target: float) -> int | None:
    """ocelli_load, scraped by Prometheus, averaged by prometheus-adapter."""

    def value(pod: Life) -> float | None:
        seen = _within(pod, now, fleet.world.window)
        return sum(s[1] for s in seen) / len(seen) if seen else None

    pods = [Pod(value(p), p.ready <= now) for p in fleet.pods]
    return desired(pods, target, fleet.world.behaviour.tolerance)


def by_load_asked(fleet: Fleet, now: float, target: float) -> int | None:
    """The pods' /autoscale, which KEDA asks when the autoscaler asks KEDA."""
    total = sum(p.replica.load(now) for p in fleet.serving)
    return desired_of_sum(total, len(fleet.pods), target, fleet.world.behaviour.tolerance)


def by_cpu(fleet: Fleet, now: float, target: float) -> int | None:
    """CPU utilisation between the last two looks of metrics-server. A pod that has not been ready for as long is not
    asked, as the autoscaler does in a pod's first five minutes."""

    def value(pod: Life) -> float | None:
        if len(pod.scrapes) < 2:
            return None
        (t0, _, c0, _), (t1, _, c1, _) = pod.scrapes[-2], pod.scrapes[-1]
        return (c1 - c0) / (t1 - t0) / fleet.world.server.cpus

    values = [value(p) for p in fleet.pods]
    return desired([Pod(v, v is not None) for v in values], target, fleet.world.behaviour.tolerance, missing_down=1.0)


def by_rps(fleet: Fleet, now: float, target: float) -> int | None:
    """Requests a second: Prometheus' rate over the window, of each pod."""

    def value(pod: Life) -> float | None:
        seen = _within(pod, now, fleet.world.window + 1e-6)
        if len(seen) < 2:
            return None
        return (seen[-1][3] - seen[0][3]) / (seen[-1][0] - seen[0][0])

    pods = [Pod(value(p), p.ready <= now) for p in fleet.pods]
    return desired(pods, target, fleet.world.behaviour.tolerance)


def by_load_and_cpu(fleet: Fleet, now: float, target: float) -> int | None:
    """Two metrics of one autoscaler, CPU's target being 0.8: the one that asks for more has its way."""
    asked = [n for n in (by_load(fleet, now, target), by_cpu(fleet, now, 0.8)) if n is not None]
    return max(asked, default=None)


SIGNALS = {"load": by_load, "load by KEDA": by_load_asked, "CPU": by_cpu, "RPS": by_rps, "load and CPU": by_load_and_cpu}
