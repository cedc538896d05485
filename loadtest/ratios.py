"""The arithmetic of comparisons: in which order two sides take turns, and what their runs say of each other."""

from dataclasses import dataclass
from statistics import median, quantiles

# What is compared: a run's key, its title, and whether more of it is better.
MEASURES = [
    ("per_second", "answers/s", True),
    ("p50_ms", "p50 ms", False),
    ("p99_ms", "p99 ms", False),
    ("per_cpu_second", "answers/CPU-s", True),
    ("memory_mb", "memory MB", False),
]


def order(rounds: int) -> list[str]:
    """Sides `a` and `b`, four runs a round: ABBA, then BAAB, so that a drift weighs on both alike."""
    return [side for n in range(rounds) for side in ("abba" if n % 2 == 0 else "baab")]


@dataclass(frozen=True)
class Spread:
    """A median between its quartiles."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, _, high = quantiles(values, n=4, method="inclusive")
        return cls(low, median(values), high)

    def __str__(self) -> str:
        return f"{self.middle:.3f} ({self.low:.3f} to {self.high:.3f})"

    def told(self) -> dict:
        return {"q1": self.low, "median": self.middle, "q3": self.high}


def sides(runs: list[dict], key: str) -> tuple[list[float], list[float]]:
    """A measure of each side's runs, in the order they ran."""
    a, b = ([run[key] for run in runs if run["side"] == side and run.get(key)] for side in "ab")
    return a, b


def against(runs: list[dict], key: str) -> list[float]:
    """Each run of `a` over the run of `b` nearest to it."""
    return [x / y for x, y in zip(*sides(runs, key))]


def chance(runs: list[dict], key: str) -> list[float]:
    """A round's second run of `a` over its first: what the same thing twice differs by."""
    a, _ = sides(runs, key)
    return [second / first for first, second in zip(a[::2], a[1::2])]


def summary(runs: list[dict]) -> dict:
    """Every measure that both sides have: their medians, their ratio, and the A/A ratio."""
    found = {}
    for key, _, _ in MEASURES:
        a, b = sides(runs, key)
        if a and b:
            found[key] = {
                "a": median(a),
                "b": median(b),
                "a_over_b": Spread.of(against(runs, key)),
                "a_over_a": Spread.of(chance(runs, key)) if len(a) > 1 else None,
            }
    return found


def told(found: dict) -> dict:
    """A summary, for JSON."""
    tell = lambda value: value.told() if isinstance(value, Spread) else value
    return {key: {name: tell(value) for name, value in of.items()} for key, of in found.items()}


def table(found: dict, a: str, b: str) -> str:
    """A summary in Markdown: a line for each measure."""
    lines = [f"| | {a} | {b} | {a} / {b} | {a} / {a} |", "|---|---|---|---|---|"]
    for key, title, more in MEASURES:
        if key in found:
            of = found[key]
            better = "more" if more else "less"
            aa = of["a_over_a"] or "-"
            lines.append(f"| {title} ({better} is better) | {of['a']:.4g} | {of['b']:.4g} "
                         f"| {of['a_over_b']} | {aa} |")
    return "\n".join(lines)
