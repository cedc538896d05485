#!/usr/bin/env python3
"""Draws what simulate.py and scale.py kept. Needs what peers/autoscaling.txt pins.

    autoscaling_plots.py simulated FILE.json DIR        autoscaling-simulated.png, autoscaling-timelines.png
    autoscaling_plots.py scaled FILE.json ... DIR       autoscaling-real.png, of all rounds
"""

import json
import sys
from itertools import accumulate
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {"load": "#1764ab", "load by KEDA": "#57a6d9", "CPU": "#d9641e", "RPS": "#3f8f3f"}
USUAL = {"load": 0.7, "load by KEDA": 0.7, "CPU": 0.7, "RPS": 0.7}
LEAST = 0.005
"""Percent that are drawn at the bottom of a logarithmic axis, in place of none."""
plt.rcParams.update({"font.size": 8, "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False,
                     "axes.spines.right": False, "legend.frameon": False})


def save(figure, path: Path) -> None:
    figure.savefig(path, dpi=110)
    print(path)


def frontiers(told: dict, path: Path) -> None:
    """Of each scenario, each signal's violations over its replica-hours, with the targets that were tried."""
    names = list(dict.fromkeys(f["scenario"] for f in told["mean"]))
    rows = -(-len(names) // 4)
    figure, axes = plt.subplots(rows, min(len(names), 4), figsize=(12, 2.9 * rows), squeeze=False, layout="constrained")
    for ax, name in zip(axes.flat, names):
        for signal, colour in COLOURS.items():
            points = sorted((f for f in told["mean"] if (f["scenario"], f["signal"]) == (name, signal)),
                            key=lambda f: f["target"])
            xs, ys = [f["replica_hours"] for f in points], [max(f["violated"] * 100, LEAST) for f in points]
            ax.plot(xs, ys, ".-", color=colour, linewidth=1, markersize=4, label=signal)
            usual = next(f for f in points if f["target"] == USUAL[signal])
            ax.plot(usual["replica_hours"], max(usual["violated"] * 100, LEAST), "o", color=colour, markersize=8)
        ax.set_title(name, fontsize=9, loc="left")
        ax.set_yscale("log")
        ax.set_ylim(LEAST * 0.8, 100)
        ax.set_xlabel("replica-hours")
        ax.set_ylabel("violated, %")
    axes.flat[0].legend(fontsize=7)
    figure.suptitle("Violations over replica-hours: targets from 0.3 (right) to 1.0 (left); the large dot is 0.7. "
                    "Lower and further left is better.", fontsize=9, x=0.01, ha="left")
    save(figure, path)


def timelines(told: dict, path: Path) -> None:
    """Replicas over time, with the targets that people take, and what was violated meanwhile."""
    names = [n for n in ("flash crowd", "heavier version") if any(r["scenario"] == n for r in told["runs"])]
    figure, axes = plt.subplots(2, len(names), figsize=(5.5 * len(names), 4.6), squeeze=False, sharex="col",
                                layout="constrained", height_ratios=[2, 1])
    for column, name in enumerate(names):
        above, below = axes[0][column], axes[1][column]
        for run in told["runs"]:
            signal = run["signal"]
            if run["scenario"] != name or "history" not in run or run["target"] != USUAL[signal]:
                continue
            times = [h[0] for h in run["history"]]
            above.step(times, [h[2] for h in run["history"]], where="post", color=COLOURS[signal], label=signal)
            total = [100 * v / run["requests"] for v in accumulate(run["violations_by_10s"])]
            below.plot([10 * (i + 1) for i in range(len(total))], total, color=COLOURS[signal])
        above.set_title(name, fontsize=9, loc="left")
        above.set_ylabel("replicas that serve")
        below.set_ylabel("violated so far, %\nof all requests")
        below.set_xlabel("s")
    axes[0][0].legend()
    save(figure, path)


def real(told: dict, path: Path) -> None:
    """Real servers: what came, how many served, what was violated; and the same simulated, dashed."""
    runs, width = told["runs"], 5
    figure, (came, above, below) = plt.subplots(3, 1, figsize=(9, 7), sharex=True, layout="constrained",
                                                height_ratios=[1, 2, 1.5])
    sent = runs[0]["sent_by_second"]
    groups = [sent[i:i + width] for i in range(0, int(told["seconds"]), width)]
    came.plot([i * width + width / 2 for i in range(len(groups))], [sum(g) / len(g) for g in groups], color="#555555")
    came.set_ylabel("requests a second")
    seen = set()
    for run in runs:
        signal, colour = run["signal"], COLOURS[run["signal"]]
        label = None if signal in seen else signal
        seen.add(signal)
        above.step([h[0] for h in run["history"]], [h[2] for h in run["history"]], where="post", color=colour, label=label)
        total = [100 * v / run["requests"] for v in accumulate(run["by_second"])]
        below.plot(range(1, len(total) + 1), total, color=colour)
        if label:
            sim = run["simulated"]["history"]
            above.step([h[0] for h in sim], [h[2] for h in sim], where="post", color=colour, linestyle=":", linewidth=1)
    for at, percent in told["rollout"]:
        for ax in (came, above, below):
            ax.axvline(at * told["seconds"], color="#999999", linewidth=0.7, linestyle="--")
        came.text(at * told["seconds"], came.get_ylim()[1], f" {percent} %", fontsize=7, va="top")
    above.set_yticks(range(told["least"], told["most"] + 1))
    above.set_ylabel("replicas that serve\n(dotted: simulated)")
    above.legend()
    below.set_ylabel("violated so far,\n% of all requests")
    below.set_xlabel(f"s (a cluster's times are {told['faster']:g} times as long)")
    came.set_title("Real servers; dashed lines: the heavier version's share", fontsize=9, loc="left")
    save(figure, path)


def main() -> None:
    kind, *files, directory = sys.argv[1:]
    told, *others = [json.loads(Path(file).read_text()) for file in files]
    told["runs"] += [run for other in others for run in other["runs"]]
    out = Path(directory)
    if kind == "simulated":
        frontiers(told, out / "autoscaling-simulated.png")
        timelines(told, out / "autoscaling-timelines.png")
    else:
        real(told, out / "autoscaling-real.png")


if __name__ == "__main__":
    main()
