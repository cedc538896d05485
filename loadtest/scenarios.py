"""What `loadtest simulate` plays: fleets, traffic and trouble. Costs are those that costs.py recorded, where it is not
said otherwise. Traffic is in parts of what one replica can do in full batches.
"""

from dataclasses import dataclass

import traces
from fleet_sim import World
from server_sim import Cost, Server
from traces import Trace

CUSTOMARY = {"load": (0.7,), "load by KEDA": (0.7,), "CPU": (0.5, 0.7, 0.8), "RPS": (0.7,)}
"""Targets that people take; of RPS in parts of the capacity that was measured."""
SWEPT = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Targets that are tried, of the same measures."""


@dataclass(frozen=True)
class Scenario:
    name: str
    why: str
    trace: Trace
    world: World
    unit: float
    """Requests a second that the trace counts in."""

    def target(self, signal: str, part: float) -> float:
        """Of a part of the capacity, in what the signal is measured in. RPS has to know the capacity: that of the first
        version on a node as it should be, found before."""
        return part * self.world.server.capacity() if signal == "RPS" else part


def served(recorded: dict, *names: str, **more) -> Server:
    """A server of recorded models, of which those after the first are newer versions."""
    costs = tuple(Cost(recorded[name]["fixed"], recorded[name]["row"]) for name in names)
    return Server(costs, **{"beside": recorded[names[0]]["beside"], **more})


def scenarios(recorded: dict) -> dict[str, Scenario]:
    """By name."""
    lite0 = served(recorded, "efficientnet_lite0", slo=0.3)
    crowd = traces.flash(1800, 2, 8, at=300, rise=30, stays=300, fades=300)

    def scenario(name: str, why: str, trace: Trace, server: Server, **world) -> Scenario:
        return Scenario(name, why, trace, World(server, **world), server.capacity())

    def rollout(t: float) -> float:
        """5, 25, 50, 100 % in steps of three minutes, from half-time on."""
        steps = (0.05, 0.25, 0.5, 1.0)
        return 0.0 if t < 1500 else steps[min(int((t - 1500) / 180), 3)]

    # All but the engine's work on a large photo is taken for its decoding.
    photos = served(recorded, "thumbnails", slo=0.3, beside=0.0, decode=recorded["thumbnails"]["beside"])
    shorter = traces.flash(1200, 2, 8, at=300, rise=30, stays=300, fades=120)
    two = served(recorded, "efficientnet_lite0", slo=0.3, cpus=2.0)
    made = [
        scenario("diurnal", "a day, pressed into an hour", traces.diurnal(3600, 1, 6), lite0),
        scenario("flash crowd", "four times as many within half a minute", crowd, lite0),
        scenario("bursty", "three times as many for a minute, every three minutes",
                 traces.bursty(1800, 2, 6, calm=120, burst=60, seed=3), lite0),
        scenario("heavier version", "Lite2 takes over from Lite0 by a rollout from 1500 s on",
                 traces.diurnal(3600, 1, 4),
                 served(recorded, "efficientnet_lite0", "lite2", slo=0.3), version=rollout),
        scenario("one thread of two CPUs", "compute can't use the CPU that the pod requests", crowd, two),
        scenario("slow nodes", "every second node takes 1.6 times as long, its CPU time being stolen",
                 traces.diurnal(3600, 1, 6), lite0, slower=(1.0, 1.6)),
        scenario("batches pay", "60 + 10 b ms (assumed, not recorded), up to 16 rows: as accelerators do",
                 traces.diurnal(2400, 0.5, 3.5), Server((Cost(0.060, 0.010),), slo=1.0, max_batch=16)),
        scenario("decoding", "photos of 540 KB for a small model: decoding is the work", shorter, photos),
    ]
    return {s.name: s for s in made}
