"""The HorizontalPodAutoscaler's algorithm (autoscaling/v2), as published and as its controller does it. Pure: time is
an argument. The simulator and the controller of real servers (scale.py) both run this very code.

`desired` turns what pods tell into a number of replicas; a `Controller` remembers, and so stabilises that number,
keeps to its policies, and stays within its bounds.
"""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Policy:
    """At most so many pods, or percent of the pods, in a period."""

    kind: str
    value: float
    period: float

    def __post_init__(self):
        if self.kind not in ("Pods", "Percent"):
            raise ValueError(f"a policy is of Pods or Percent, not of {self.kind}")


@dataclass(frozen=True)
class Rules:
    """Of one direction."""

    window: float
    """Seconds over which the most cautious proposal counts."""
    policies: tuple[Policy, ...]
    select: str = "Max"
    """Which policy counts: the one that allows most (Max) or least (Min), or Disabled."""


@dataclass(frozen=True)
class Behaviour:
    """What Kubernetes does unless it is told otherwise."""

    up: Rules = Rules(0, (Policy("Percent", 100, 15), Policy("Pods", 4, 15)))
    down: Rules = Rules(300, (Policy("Percent", 100, 15),))
    tolerance: float = 0.1
    sync: float = 15
    """Seconds between two looks."""

    def faster(self, times: float) -> "Behaviour":
        """The same with all times that much shorter."""

        def rules(r: Rules) -> Rules:
            policies = tuple(Policy(p.kind, p.value, p.period / times) for p in r.policies)
            return Rules(r.window / times, policies, r.select)

        return Behaviour(rules(self.up), rules(self.down), self.tolerance, self.sync / times)


@dataclass(frozen=True)
class Pod:
    """A pod that is meant to be there, and what it tells."""

    value: float | None
    """The metric's value, if there is any."""
    ready: bool = True
    """Whether the value counts: a pod that has not started does not count, nor, for CPU, one that is not ready."""


def desired(pods: list[Pod], target: float, tolerance: float, missing_down: float | None = None) -> int | None:
    """Replicas by a metric of pods whose mean should be the target; nothing if no pod tells anything.

    What is not known is assumed so that it slows the change down: 0 while scaling up; while scaling down the target, or
    `missing_down`, which for utilisations is the whole of what was requested.
    """
    current = len(pods)
    told = [p.value for p in pods if p.ready and p.value is not None]
    missing = sum(p.ready and p.value is None for p in pods)
    unready = sum(not p.ready for p in pods)
    if not told:
        return None
    ratio = sum(told) / len(told) / target
    up_with_unready = unready > 0 and ratio > 1
    if not up_with_unready and not missing:
        return current if abs(ratio - 1) <= tolerance else whole(ratio * len(told))
    values = list(told)
    if ratio < 1:
        values += [target if missing_down is None else missing_down] * missing
    elif ratio > 1:
        values += [0.0] * missing
    if up_with_unready:
        values += [0.0] * unready
    again = sum(values) / len(values) / target
    if abs(again - 1) <= tolerance or (ratio < 1 < again) or (again < 1 < ratio):
        return current
    found = whole(again * len(values))
    turned = (again < 1 and found > current) or (again > 1 and found < current)
    return current if turned else found


def desired_of_sum(total: float, current: int, target: float, tolerance: float) -> int:
    """Replicas by an external metric with a target for each pod, which is what KEDA makes of a trigger."""
    ratio = total / (target * current)
    return current if abs(ratio - 1) <= tolerance else whole(total / target)


def whole(replicas: float) -> int:
    """Rounded up, but not for what floating point adds: the controller counts in thousandths."""
    return math.ceil(round(replicas, 6))


@dataclass
class Controller:
    """What one autoscaler remembers."""

    behaviour: Behaviour
    least: int
    most: int
    proposals: list[tuple[float, int]] = field(default_factory=list)
    """When, and how many replicas the metric asked for."""
    changes: list[tuple[float, int]] = field(default_factory=list)
    """When, and by how many replicas it scaled."""

    def step(self, now: float, current: int, proposal: int | None) -> int:
        """How many replicas there should be from now on."""
        # What it finds counts as asked for.
        self.proposals = self.proposals or [(now, current)]
        if proposal is None:
            return current
        wanted = self.limited(now, current, self.stabilised(now, current, proposal))
        if wanted != current:
            self.changes.append((now, wanted - current))
        longest = max(p.period for rules in (self.behaviour.up, self.behaviour.down) for p in rules.policies)
        self.changes = [c for c in self.changes if c[0] > now - longest]
        return wanted

    def stabilised(self, now: float, current: int, proposal: int) -> int:
        """Up only as far as all proposals of its window, down only as far as all of its own."""
        up, down = self.behaviour.up.window, self.behaviour.down.window
        lowest = min([proposal, *(n for at, n in self.proposals if at > now - up)])
        highest = max([proposal, *(n for at, n in self.proposals if at > now - down)])
        kept = [p for p in self.proposals if p[0] > now - max(up, down)]
        self.proposals = [*kept, (now, proposal)]
        return min(max(current, lowest), highest)

    def limited(self, now: float, current: int, wanted: int) -> int:
        """Within policies and bounds."""
        if wanted > current:
            return max(min(wanted, self.most, max(self.limit(now, current, self.behaviour.up, 1), current)), self.least)
        if wanted < current:
            return min(max(wanted, self.least, min(self.limit(now, current, self.behaviour.down, -1), current)), self.most)
        return min(max(current, self.least), self.most)

    def limit(self, now: float, current: int, rules: Rules, way: int) -> int:
        """The farthest that the policies of a direction let it go."""
        if rules.select == "Disabled":
            return current
        limits = []
        for policy in rules.policies:
            # Changes of the period are counted from its start, in both directions.
            start = current - sum(by for at, by in self.changes if at > now - policy.period)
            if policy.kind == "Pods":
                limits.append(start + way * policy.value)
            elif way > 0:
                # Rounded up: else one replica could never become two.
                limits.append(whole(start * (1 + policy.value / 100)))
            else:
                limits.append(math.floor(round(start * (1 - policy.value / 100), 6)))
        farthest, nearest = (max, min) if way > 0 else (min, max)
        return int((farthest if rules.select == "Max" else nearest)(limits))
