#!/usr/bin/env python3
"""What to scale by: ocelli_load, CPU or requests a second. Plays the autoscaler's algorithm (hpa.py) over simulated
fleets (fleet_sim.py) whose batches cost what a real server's did (costs.py).

    loadtest simulate                       # all scenarios, all targets; keeps loadtest/runs/DATE-simulated.json
    loadtest simulate "flash crowd"         # one of them
    loadtest simulate --plots docs          # and draws autoscaling-*.png there
    loadtest simulate --settings            # ocelli_load at 0.7, by ways to ask for it and to set the autoscaler

Each signal is tried with the targets that people take and with others, so that each shows its best: a curve of SLO
violations over replica-hours.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import rig
import venvs
from fleet_sim import Fleet, Signal, World
from scenarios import CUSTOMARY, SWEPT, scenarios

SIGNALS = ("load", "load by KEDA", "CPU", "RPS")
"""That are compared with each other."""
SETTINGS = {
    "mean of 30 s": ("load", {}),
    "mean of 30 s, up-window 15 s": ("load", {"up_window": 15.5}),
    # Just longer than the scrape interval, so that one is always within it.
    "last scrape": ("load", {"window": 15.5}),
    "last scrape, up-window 15 s": ("load", {"window": 15.5, "up_window": 15.5}),
    "KEDA": ("load by KEDA", {}),
    "KEDA, up-window 15 s": ("load by KEDA", {"up_window": 15.5}),
    "mean of 30 s, and CPU 0.8": ("load and CPU", {}),
}
"""Ways to scale by ocelli_load: what is asked, and what is changed of the world."""
DRAWN = 0.7
"""The target whose runs are kept from moment to moment."""
DRAWING = Path(__file__).with_name("autoscaling_plots.py")


def newest_costs() -> Path:
    found = sorted((rig.ROOT / "loadtest/runs").glob("*-costs.json"))
    if not found:
        raise SystemExit("loadtest/runs has no recorded costs: run loadtest/costs.py")
    return found[-1]


def changed(world: World, up_window: float | None = None, window: float | None = None) -> World:
    """The same, set otherwise."""
    if up_window is not None:
        up = replace(world.behaviour.up, window=up_window)
        world = replace(world, behaviour=replace(world.behaviour, up=up))
    return world if window is None else replace(world, window=window)


def play(job: tuple[dict, str, str, float, int, dict]) -> dict:
    """One run of a scenario by a signal."""
    recorded, name, signal, part, seed, changes = job
    scenario = scenarios(recorded)[name]
    arrivals = scenario.trace.arrivals(scenario.unit, seed)
    fleet = Fleet(changed(scenario.world, **changes), Signal(signal, scenario.target(signal, part)), seed)
    out = fleet.run(arrivals, scenario.trace.seconds)
    told = {
        "scenario": name, "signal": signal, "target": part, "seed": seed, "requests": out.requests,
        "refused": out.refused, "late": out.late, "violated": out.violated, "replica_hours": out.replica_hours,
    }
    if seed == 1 and part == DRAWN:
        told["history"] = [(round(t, 1), wanted, serving) for t, wanted, serving in out.history]
        told["violations_by_10s"] = out.violations
    return told


def mean(runs: list[dict]) -> list[dict]:
    """One for all seeds of the same."""
    groups: dict[tuple, list[dict]] = {}
    for run in runs:
        groups.setdefault((run["scenario"], run["signal"], run["target"]), []).append(run)
    of = lambda group, key: sum(run[key] for run in group) / len(group)
    return [
        {"scenario": s, "signal": signal, "target": target, "violated": of(group, "violated"),
         "replica_hours": of(group, "replica_hours")}
        for (s, signal, target), group in groups.items()
    ]


def cheapest(found: list[dict], scenario: str, signal: str, allowed: float) -> dict | None:
    """Of a signal's targets that violate no more than is allowed, the one with the fewest replica-hours."""
    fits = [f for f in found if (f["scenario"], f["signal"]) == (scenario, signal) and f["violated"] <= allowed]
    return min(fits, key=lambda f: f["replica_hours"], default=None)


def one(found: list[dict], scenario: str, signal: str, target: float) -> dict:
    return next(f for f in found if (f["scenario"], f["signal"], f["target"]) == (scenario, signal, target))


def customary_table(found: list[dict], names: list[str]) -> str:
    """Targets that people take."""
    columns = [(signal, target) for signal in SIGNALS for target in CUSTOMARY[signal]]
    lines = ["| | " + " | ".join(f"{signal} {target:g}" for signal, target in columns) + " |",
             "|---" * (len(columns) + 1) + "|"]
    for name in names:
        cells = [one(found, name, *column) for column in columns]
        lines.append(f"| {name} | " + " | ".join(
            f"{c['violated'] * 100:.2f} %, {c['replica_hours']:.2f}" for c in cells) + " |")
    return "\n".join(lines)


def best_table(found: list[dict], names: list[str]) -> str:
    """What each signal costs at its best target that violates no more than ocelli_load does at 0.7; 1 %, which p99 allows,
    is always allowed, and more than 10 %, which is no service, never."""
    lines = ["| | violated at most | " + " | ".join(SIGNALS) + " |", "|---" * (len(SIGNALS) + 2) + "|"]
    for name in names:
        allowed = min(max(one(found, name, "load", 0.7)["violated"], 0.01), 0.1)
        cells = []
        for signal in SIGNALS:
            best = cheapest(found, name, signal, allowed)
            cells.append(f"{best['replica_hours']:.2f} ({best['target']:g})" if best else "none")
        lines.append(f"| {name} | {allowed * 100:.2f} % | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help="all of them if none is named")
    parser.add_argument("--costs", type=Path, help="what costs.py kept; the newest of loadtest/runs")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each, with other arrivals")
    parser.add_argument("--settings", action="store_true", help="ways to scale by ocelli_load, in place of the signals")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="that simulate")
    parser.add_argument("--json", metavar="FILE", help="where to keep the figures, in place of loadtest/runs; - is stdout")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw autoscaling-*.png there")
    return parser.parse_args(given)


def played(jobs: list[tuple], processes: int) -> list[dict]:
    """In the order of the jobs."""
    runs = []
    with multiprocessing.Pool(processes) as pool:
        for run in pool.imap(play, jobs):
            runs.append(run)
            print(f"\r{len(runs)} of {len(jobs)} runs", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return runs


def settings_table(recorded: dict, names: list[str], args: argparse.Namespace) -> str:
    """Ways to scale by ocelli_load, each scenario's violations and replica-hours."""
    seeds = range(1, args.seeds + 1)
    jobs = [(recorded, name, signal, 0.7, seed, changes)
            for signal, changes in SETTINGS.values() for name in names for seed in seeds]
    runs = iter(played(jobs, args.processes))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for setting in SETTINGS:
        cells = []
        for _ in names:
            (of,) = mean([next(runs) for _ in seeds])
            cells.append(f"{of['violated'] * 100:.2f} %, {of['replica_hours']:.2f}")
        lines.append(f"| {setting} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    args = arguments()
    costs = args.costs or newest_costs()
    recorded = json.loads(costs.read_text())["models"]
    known = scenarios(recorded)
    names = args.scenarios or list(known)
    if unknown := set(names) - set(known):
        raise SystemExit(f"no scenario is called {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if args.settings:
        print(settings_table(recorded, names, args))
        return
    targets = {signal: sorted({*SWEPT, *CUSTOMARY[signal]}) for signal in SIGNALS}
    runs = played([(recorded, name, signal, target, seed, {}) for name in names for signal in SIGNALS
                   for target in targets[signal] for seed in range(1, args.seeds + 1)], args.processes)
    found = mean(runs)
    told = {"costs": costs.name, "seeds": args.seeds, "mean": found, "runs": runs}
    out = sys.stderr if args.json == "-" else sys.stdout
    print("Share of the requests refused or late, and replica-hours:\n", file=out)
    print(customary_table(found, names), file=out)
    print("\nReplica-hours (and the target) of each signal's best target:\n", file=out)
    print(best_table(found, names), file=out)
    if args.json == "-":
        print(json.dumps(told))
    elif args.json:
        Path(args.json).write_text(json.dumps(told) + "\n")
    else:
        args.json = rig.keep("simulated", told, indent=None)
    if args.plots:
        subprocess.run([venvs.python("autoscaling"), DRAWING, "simulated", args.json, args.plots], check=True)


if __name__ == "__main__":
    main()
