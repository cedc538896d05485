"""Draws a dashboard's queries, as Prometheus answers them, for the docs. Not Grafana: its figures, in its places."""

import math
import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FuncFormatter

from queries import Query, dashboards, fill

INK, PAPER = "#d8d9da", "#181b1f"
COLOURS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#c0d8ff", "#fade2a", "#96d98d"]
NAMED = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2"}


def say(value: float, unit: str) -> str:
    if not math.isfinite(value):
        return "–"
    if unit == "percentunit":
        return f"{value * 100:.3g} %" if abs(value) < 10 else f"{value * 100:.0f} %"
    if unit == "s":
        steps = [(1e-6, "µs", 1e6), (1e-3, "ms", 1e3), (1, "s", 1), (60, "min", 1 / 60)]
        _, name, times = next((s for s in reversed(steps) if abs(value) >= s[0]), steps[1])
        return f"{value * times:.3g} {name}" if value else "0 s"
    if unit == "bytes":
        name, size = ("MiB", 2**20) if abs(value) >= 2**20 else ("KiB", 2**10)
        return f"{value / size:.3g} {name}"
    suffix = {"reqps": " req/s", "cps": " /s"}.get(unit, "")
    return f"{value:.3g}{suffix}" if abs(value) < 1000 else f"{value:.0f}{suffix}"


def legend(pattern: str, labels: dict) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda m: labels.get(m[1], ""), pattern)


def draw(name: str, prometheus, path: Path):
    dashboard = dashboards()[name]
    panels = dashboard["panels"]
    rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels)
    figure = plt.figure(figsize=(19, rows * 0.47 + 0.6), dpi=72, facecolor="#111217")
    grid = GridSpec(rows, 24, figure, left=0.035, right=0.99, top=1 - 0.75 / (rows * 0.47 + 0.6), bottom=0.02, wspace=2.6, hspace=4.4)
    figure.suptitle(dashboard["title"], color="white", x=0.02, ha="left", fontsize=15)
    for panel in panels:
        place = panel["gridPos"]
        axes = figure.add_subplot(grid[place["y"] : place["y"] + place["h"], place["x"] : place["x"] + place["w"]])
        axes.set_facecolor(PAPER)
        axes.set_title(panel["title"], color=INK, fontsize=10, loc="left", pad=4)
        for spine in axes.spines.values():
            spine.set_color("#2c3235")
        pending = any(Query("", "", fill(t["expr"])).is_pending for t in panel["targets"])
        (stat if panel["type"] == "stat" else series)(axes, panel, prometheus, pending)
    figure.savefig(path, facecolor=figure.get_facecolor())
    plt.close(figure)


def colour(panel: dict, value: float) -> str:
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    reached = [s for s in steps if s["value"] is None or value >= s["value"]]
    return NAMED[reached[-1]["color"]]


def stat(axes, panel, prometheus, pending):
    axes.set_xticks([]), axes.set_yticks([])
    defaults = panel["fieldConfig"]["defaults"]
    (target,) = panel["targets"]
    found = [(legend(target["legendFormat"], l), v) for l, v in prometheus.now(fill(target["expr"]))]
    if not found:
        axes.text(0.5, 0.5, "not measured yet" if pending else "No data", color="#6e7077", ha="center", va="center", fontsize=13)
    for i, (name, value) in enumerate(found[:3]):
        text, ink = say(value, defaults["unit"]), colour(panel, value)
        for mapping in defaults.get("mappings", []):
            low, high = mapping["options"]["from"], mapping["options"]["to"]
            if (low is None or value >= low) and (high is None or value <= high):
                text, ink = mapping["options"]["result"]["text"], NAMED[mapping["options"]["result"]["color"]]
        y = (i + 0.5) / min(len(found), 3)
        axes.text(0.5, y, text, color=ink, ha="center", va="center", fontsize=20 if len(found) == 1 else 14)
        if len(found) > 1:
            axes.text(0.03, y, name, color=INK, va="center", fontsize=9)


def series(axes, panel, prometheus, pending):
    defaults = panel["fieldConfig"]["defaults"]
    lines = [
        (legend(target["legendFormat"], labels), points)
        for target in panel["targets"]
        for labels, points in prometheus.over(fill(target["expr"]))
        if any(math.isfinite(v) for _, v in points)
    ]
    # Those that are nothing all the time last.
    lines = sorted(lines, key=lambda line: (not any(v for _, v in line[1]), line[0]))[:10]
    start = prometheus.started
    if not lines:
        axes.text(0.5, 0.5, "not measured yet" if pending else "No data", color="#6e7077", ha="center", va="center", transform=axes.transAxes)
    if "stacking" in defaults["custom"] and lines:
        times = sorted({t for _, points in lines for t, _ in points})
        levels = [[dict(points).get(t, 0.0) for t in times] for _, points in lines]
        levels = [[v if math.isfinite(v) else 0.0 for v in level] for level in levels]
        axes.stackplot([t - start for t in times], levels, colors=COLOURS, alpha=0.55, labels=[n for n, _ in lines])
    else:
        for (name, points), ink in zip(lines, COLOURS):
            axes.plot([t - start for t, _ in points], [v for _, v in points], color=ink, lw=1.2, label=name, clip_on=False)
    axes.grid(color="#2c3235", lw=0.5)
    axes.tick_params(colors="#8e8e8e", labelsize=7)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: say(v, defaults["unit"])))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.0f} s"))
    axes.set_xlim(left=0)
    # Room for the legend.
    low, high = axes.get_ylim()
    low = 0 if defaults.get("min") == 0 else low
    axes.set_ylim(low, high + (high - low) * (0.08 + 0.07 * math.ceil(len(lines) / 2)) if lines else high)
    if lines:
        axes.legend(fontsize=6.5, facecolor=PAPER, edgecolor="none", labelcolor=INK, loc="upper left", framealpha=0.6, ncols=2)
