"""A model of one server for the simulator: what src/batcher does, with batches that cost what was recorded.

It forms batches by the server's rule, refuses what can't keep the objective as the server does, and reckons
ocelli_load by the server's formula. Time is an argument. Left out: weights and priorities; requests have one row.
"""

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass

# As in src/batcher: load.rs, core.rs, rule.rs, admission.rs, and DECODE_QUEUE of src/app.
MEMORY, LATELY, PAST, MOST_LOAD, HAND_OVER = 5.0, 50.0, 0.5, 0.8, 25e-6
AIM_FIRST, AIM_LEAST, AIM_STEP, SHARE = 0.85, 0.4, 0.01, 0.99
DECODE_QUEUE = 64


@dataclass(frozen=True)
class Cost:
    """Seconds of a batch: `fixed + row * rows`."""

    fixed: float
    row: float

    def exec(self, rows: int) -> float:
        return self.fixed + self.row * rows

    def share(self, full: int) -> float:
        """Of the capacity, that a row takes in a full batch."""
        return self.row + self.fixed / full


@dataclass(frozen=True)
class Server:
    """How a replica is made."""

    costs: tuple[Cost, ...]
    """Of each version, in the seconds that its thread takes when nothing is in its way."""
    slo: float
    """Seconds within which 99 % of the answers should be there; the server's p99 objective."""
    threads: int = 1
    cpus: float = 1.0
    """What the pod requests, which is also its limit."""
    max_batch: int = 8
    max_queue: int = 128
    beside: float = 0.0
    """Seconds of CPU that a request costs outside the engine."""
    decode: float = 0.0
    """Seconds of CPU to decode its picture, on threads of their own, one a CPU. Not part of `beside`."""
    noise: float = 0.05
    """Standard deviation of a batch's time, as part of it."""

    def full(self, version: int) -> int:
        """Rows of the largest batch: it may take half the objective's time."""
        cost = self.costs[version]
        return min(max(int((self.slo / 2 - cost.fixed) / cost.row), 1), self.max_batch)

    @property
    def crowded(self) -> float:
        """Seconds that the other threads' work on a row takes from the engine: all, if there is no CPU beside."""
        return self.beside if self.cpus <= self.threads else 0.0

    def capacity(self, version: int = 0) -> float:
        """Requests a second, in full batches, as a load test of one replica would find it."""
        engine = self.threads / (self.costs[version].share(self.full(version)) + self.crowded)
        return min(engine, self.cpus / self.decoding(version)) if self.decode else engine

    def decoding(self, version: int) -> float:
        """Seconds to decode a picture, which compute takes its part of where there is no CPU beside."""
        return self.decode + (self.costs[version].row if self.cpus <= self.threads else 0.0)


class Rate:
    """As src/batcher/demand.rs: what came `memory` ago counts a third of what comes now."""

    __slots__ = ("memory", "since", "at", "sum")

    def __init__(self, memory: float):
        self.memory, self.since, self.at, self.sum = memory, None, 0.0, 0.0

    def add(self, amount: float, now: float) -> None:
        if self.since is None:
            self.since = now
        self.sum = self.sum * math.exp((self.at - now) / self.memory) + amount
        self.at = now

    def per_second(self, now: float) -> float:
        if self.since is None:
            return 0.0
        whole = max(1 - math.exp((self.since - now) / self.memory), 0.01)
        return max(self.sum * math.exp((self.at - now) / self.memory) / (self.memory * whole), 0.0)


class Replica:
    """One server. `begun` batches are told to who keeps the time, who says `done` when it has come."""

    def __init__(self, made: Server, rng: random.Random, slower: float = 1.0):
        self.made, self.rng = made, rng
        self.slower = slower
        """How many times as long all takes on its node, whose CPU time it does not get (steal)."""
        versions = range(len(made.costs))
        self.cost = [Cost(c.fixed * slower, (c.row + made.crowded) * slower) for c in made.costs]
        self.fulls = [made.full(v) for v in versions]
        self.lanes = [deque() for _ in versions]
        self.taken = [0 for _ in versions]
        self.ends: list[float] = []
        self.under_way = 0
        self.decoders = [0.0] * max(int(made.cpus), 1) if made.decode else []
        self.decoding = 0
        self.part = made.threads / len(self.decoders) if self.decoders else 0.0
        """A decoder's second in seconds of a compute thread."""
        self.spent = Rate(MEMORY)
        self.aim = AIM_FIRST
        self.served, self.refused = Rate(MEMORY), Rate(MEMORY)
        self.demand = Rate(max(LATELY * self.cost[0].exec(1), 1e-3))
        self.cpu_seconds, self.requests = 0.0, 0

    def share(self, version: int) -> float:
        return self.cost[version].share(self.fulls[version])

    def load(self, now: float) -> float:
        """ocelli_load, as of now."""
        waiting = sum(len(lane) * self.share(v) for v, lane in enumerate(self.lanes))
        decoding = (self.spent.per_second(now) + self.decoding * self.made.decode) * self.part
        return (self.served.per_second(now) + waiting + decoding + self.refused.per_second(now)) / self.made.threads

    def refuse(self, now: float, version: int) -> None:
        """A request is turned away before its picture is decoded."""
        self.refused.add(self.share(version) + self.made.decode * self.part, now)

    def decode(self, now: float, version: int) -> float | None:
        """When the picture of a request that comes now is decoded; nothing if there is no place for it, or it would
        be answered too late."""
        if self.decoding >= DECODE_QUEUE * len(self.decoders) or self.answered_in(now, version) > self.made.slo * self.aim:
            self.refuse(now, version)
            return None
        self.decoding += 1
        start = max(heapq.heappop(self.decoders), now)
        end = start + self.made.decoding(version) * self.slower
        heapq.heappush(self.decoders, end)
        self.cpu_seconds += self.made.decode
        return end

    def decoded(self, now: float) -> None:
        """A picture was."""
        self.decoding -= 1
        self.spent.add(self.made.decode, now)

    def answered_in(self, now: float, version: int) -> float:
        """Seconds until a picture that comes now is decoded and computed; none for the first of an idle server."""
        first, compute = self.decoding == 0, any(self.lanes) or self.ends
        if first and not compute:
            return 0.0
        wall = self.made.decoding(version) * self.slower
        decoded = self.decoding * wall / len(self.decoders) + wall + self.cost[version].exec(1)
        return max(decoded, self.finish(now, version, self.decoding)) if compute else decoded

    def admits(self, now: float, since: float, version: int) -> bool:
        """Whether a request that came at `since` is queued now."""
        lane = self.lanes[version]
        if len(lane) >= self.made.max_queue or (self.late_by_now(now, since, version) and (lane or self.ends)):
            self.refused.add(self.share(version), now)
            return False
        self.demand.add(self.share(version), now)
        lane.append(since)
        return True

    def late_by_now(self, now: float, since: float, version: int) -> bool:
        return now - since + self.finish(now, version) > self.made.slo * self.aim

    def finish(self, now: float, version: int, preparing: int = 0) -> float:
        """Seconds until a row that comes now is computed, with so many before it that are not queued yet."""
        cost, full = self.cost[version], self.fulls[version]
        total = len(self.lanes[version]) + preparing + 1
        ahead = (total - 1) // full
        own, each = cost.exec(full if ahead else total), cost.exec(full)
        free = [max(end - now, 0.0) for end in self.ends]
        free += [0.0] * (self.made.threads - len(free))
        if len(free) == 1:
            return free[0] + ahead * each + own
        for _ in range(ahead):
            free[free.index(min(free))] += each
        return min(free) + own

    def begin(self, now: float) -> tuple[float, list[float], int] | None:
        """When the next batch ends, since when its rows were here, and how many others went that had waited too long;
        nothing if no thread is idle or nothing waits."""
        if len(self.ends) >= self.made.threads:
            return None
        heads = [(lane[0], v) for v, lane in enumerate(self.lanes) if lane]
        if not heads:
            return None
        version = min(heads)[1]
        lane, cost = self.lanes[version], self.cost[version]
        gone, patience = 0, max(self.made.slo - cost.exec(1), self.made.slo / 8)
        while lane and now - lane[0] > patience:
            lane.popleft()
            gone += 1
        if not lane:
            self.taken[version] = 0
            return now, [], gone
        rows = min(self.rows(now, version), len(lane))
        batch = [lane.popleft() for _ in range(rows)]
        self.taken[version] = self.taken[version] + rows if lane else 0
        takes = cost.exec(rows) * max(self.rng.gauss(1, self.made.noise), 0.5)
        self.served.add(takes * rows * self.share(version) / cost.exec(rows), now)
        # `crowded` is in the time that a batch takes, and is the CPU time of other threads.
        self.cpu_seconds += takes / self.slower + rows * (self.made.beside - self.made.crowded)
        self.ends.append(now + takes)
        return now + takes, batch, gone

    def rows(self, now: float, version: int) -> int:
        """Of the next batch: rule.rs."""
        cost, most, threads = self.cost[version], self.fulls[version], self.made.threads
        waiting = len(self.lanes[version])
        if most == 1 or waiting == 1:
            return 1
        load = min(self.demand.per_second(now) / threads, MOST_LOAD)
        fixed = max(cost.fixed, HAND_OVER)
        n = waiting + PAST * self.taken[version]
        rows = math.ceil(math.sqrt(n * fixed / (threads * (1 - load) * cost.row)) - 1e-9)
        part = -(-waiting // max(threads - len(self.ends), 1))
        if cost.row * max(min(rows, waiting) - part, 0) > fixed:
            rows = min(rows, part)
        return min(max(rows, 1), most)

    def done(self, now: float, batch: list[float]) -> int:
        """A batch ended; how many of its rows were too late."""
        self.ends.remove(now)
        late = sum(now - since > self.made.slo for since in batch)
        up = AIM_STEP * (1 - SHARE) / 2
        self.aim = min(max(self.aim + up * len(batch) - AIM_STEP * late, AIM_LEAST), 1.0)
        return late
