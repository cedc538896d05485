"""A control group that gives what runs in it a part of a CPU, as a pod's limit does. Needs root."""

import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD = 5_000
"""Microseconds. Kubernetes has 100 ms, which would show in each answer of so small a part of a CPU: what a pod may use in
a period should be little beside what an answer takes, so that its threads are slow and not now fast and now still."""


class CpuLimit:
    """One such group. It is gone after `close`, which must come after what runs in it has ended."""

    def __init__(self, name: str, cpus: float):
        quota = int(cpus * PERIOD)
        if (ROOT / "cpu/cpu.cfs_quota_us").exists():
            self.path, limits = ROOT / "cpu" / name, {"cpu.cfs_period_us": PERIOD, "cpu.cfs_quota_us": quota}
        else:
            self.path, limits = ROOT / name, {"cpu.max": f"{quota} {PERIOD}"}
            (ROOT / "cgroup.subtree_control").write_text("+cpu")
        self.path.mkdir()
        for file, value in limits.items():
            (self.path / file).write_text(str(value))

    def command(self, command: list) -> list:
        """The same, run within the group from its very start."""
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self.path / "cgroup.procs"), *command]

    def throttled_seconds(self) -> float:
        """How long its threads were kept from running."""
        stat = dict(line.split() for line in (self.path / "cpu.stat").read_text().splitlines())
        return int(stat["throttled_time"]) / 1e9 if "throttled_time" in stat else int(stat["throttled_usec"]) / 1e6

    def close(self) -> None:
        os.rmdir(self.path)
