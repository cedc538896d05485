"""Control groups for what is measured on a machine that others use too. Needs root.

A pod gets a part of a CPU as its limit, and as much as it may use before others get theirs, which is what a request
means to a node.
"""

import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD = 5_000
"""Microseconds. Kubernetes has 100 ms, which would show in each answer of so small a part of a CPU: what a pod may use in
a period should be little beside what an answer takes, so that its threads are slow and not now fast and now still."""
TIMES = 4
"""So many times the weight of a process that is in no such group."""


class Group:
    """A control group, with a limit if CPUs are given. It is gone after `close`, which must come after what runs in it
    has ended."""

    def __init__(self, name: str, cpus: float | None = None):
        quota = None if cpus is None else int(cpus * PERIOD)
        if (ROOT / "cpu/cpu.cfs_quota_us").exists():
            self.root, set_to = ROOT / "cpu", {"cpu.shares": 1024 * TIMES}
            if quota is not None:
                set_to |= {"cpu.cfs_period_us": PERIOD, "cpu.cfs_quota_us": quota}
        else:
            self.root, set_to = ROOT, {"cpu.weight": 100 * TIMES}
            if quota is not None:
                set_to["cpu.max"] = f"{quota} {PERIOD}"
            (ROOT / "cgroup.subtree_control").write_text("+cpu")
        self.path = self.root / name
        self.path.mkdir()
        for file, value in set_to.items():
            (self.path / file).write_text(str(value))

    def command(self, command: list) -> list:
        """The same, run within the group from its very start."""
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self.path / "cgroup.procs"), *command]

    def __enter__(self) -> "Group":
        """This process, and what it will start, runs in it."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))
        return self

    def __exit__(self, *_) -> None:
        (self.root / "cgroup.procs").write_text(str(os.getpid()))
        self.close()

    def close(self) -> None:
        os.rmdir(self.path)
