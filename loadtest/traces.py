"""Traffic: how many requests a second there are at each moment, and when they come. Pure, and the same for a seed.

A trace's rate is in parts of a unit that who uses it chooses: what one replica can do, say.
"""

import math
import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Trace:
    name: str
    seconds: float
    rate: Callable[[float], float]
    """At a moment, in units."""
    peak: float
    """What the rate never exceeds."""

    def arrivals(self, unit: float, seed: int) -> list[float]:
        """Moments at which requests come: a Poisson process of the rate, by thinning."""
        rng = random.Random(seed)
        most, now, found = self.peak * unit, 0.0, []
        while True:
            now += rng.expovariate(most)
            if now >= self.seconds:
                return found
            if rng.random() * self.peak < self.rate(now):
                found.append(now)

    def mean(self, step: float = 1.0) -> float:
        """In units."""
        count = int(self.seconds / step)
        return sum(self.rate((i + 0.5) * step) for i in range(count)) / count


def steady(seconds: float, level: float) -> Trace:
    return Trace("steady", seconds, lambda _: level, level)


def diurnal(seconds: float, low: float, high: float) -> Trace:
    """A day: from the night's low over the day's high and back, with the noon's dent and the evening's rise."""

    def rate(t: float) -> float:
        x = t / seconds
        day = (1 - math.cos(2 * math.pi * x)) / 2
        return low + (high - low) * max(day - 0.25 * math.exp(-(((x - 0.5) / 0.06) ** 2)), 0)

    return Trace("diurnal", seconds, rate, high)


def flash(seconds: float, low: float, high: float, at: float, rise: float, stays: float, fades: float) -> Trace:
    """A crowd comes within `rise` seconds, stays, and fades away, a third being left after `fades` seconds."""

    def rate(t: float) -> float:
        if t < at:
            return low
        if t < at + rise:
            return low + (high - low) * (t - at) / rise
        return low + (high - low) * math.exp(-max(t - at - rise - stays, 0) / fades)

    return Trace("flash crowd", seconds, rate, high)


def bursty(seconds: float, low: float, high: float, calm: float, burst: float, seed: int) -> Trace:
    """Two levels, each for an exponentially distributed time of the mean given: a Markov-modulated Poisson process."""
    rng = random.Random(seed)
    ends, now, is_burst = [], 0.0, False
    while now < seconds:
        now += rng.expovariate(1 / (burst if is_burst else calm))
        is_burst = not is_burst
        ends.append(now)

    def rate(t: float) -> float:
        return high if bisect_right(ends, t) % 2 else low

    return Trace("bursty", seconds, rate, high)


def joined(name: str, *parts: Trace) -> Trace:
    """One after the other."""
    starts = [sum(p.seconds for p in parts[:n]) for n in range(len(parts))]

    def rate(t: float) -> float:
        n = max(bisect_right(starts, t) - 1, 0)
        return parts[n].rate(t - starts[n])

    return Trace(name, sum(p.seconds for p in parts), rate, max(p.peak for p in parts))


def faster(trace: Trace, times: float) -> Trace:
    """The same shape in so much less time."""
    return Trace(trace.name, trace.seconds / times, lambda t: trace.rate(t * times), trace.peak)
