"""What the measuring scripts share: the server, the load generator, and what /proc says of them.

OCELLI_BIN and LOADTEST_BIN name other binaries than those in target/release.
"""

import collections
import json
import os
import platform
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OCELLI = os.environ.get("OCELLI_BIN", ROOT / "target/release/ocelli")
LOADTEST = os.environ.get("LOADTEST_BIN", ROOT / "target/release/loadtest")
DEMO = ROOT / "models/efficientnet_lite0"
PHOTO = ROOT / "models/photos/chelsea.jpg"
TICKS, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


# Put before the command of what is measured, and of the load generator.
MEASURED: list[str] = []
LOADING: list[str] = []


def apart() -> int:
    """From now on the load generator has the last core for itself, and what is measured the others: so many."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("there is one core only: the load generator can't have one of its own")
    MEASURED[:] = ["taskset", "-c", ",".join(map(str, cores[:-1]))]
    LOADING[:] = ["taskset", "-c", str(cores[-1])]
    return len(cores) - 1


def free_port() -> int:
    """One of the loopback's that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


class Group:
    """A process and all that came of it, however far they have gone: they share a variable."""

    def __init__(self, command: list, env: dict | None = None, **popen):
        self.mark = f"OCELLI_RIG={uuid.uuid4().hex}"
        name, value = self.mark.split("=")
        env = {**os.environ, **(env or {}), name: value}
        self.process = subprocess.Popen([*MEASURED, *(str(c) for c in command)], env=env, **popen)

    def pids(self) -> list[int]:
        marked, parents = set(), {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                    if self.mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                        marked.add(int(entry.name))
                except OSError:
                    continue
        # A process that sets its own title writes over its variables: its parents tell.
        return descendants(marked | {self.process.pid}, parents)

    def cpu(self) -> dict[int, float]:
        """Seconds of CPU time of each process."""
        seconds = {}
        for pid in self.pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            seconds[pid] = (int(fields[11]) + int(fields[12])) / TICKS
        return seconds

    def memory(self) -> float:
        """Megabytes: resident, a page that N processes share counted as a N-th in each (PSS)."""
        total = 0
        for pid in self.pids():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        return total * 1024 / 1e6

    def signal(self, number: int) -> None:
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except OSError:
                pass

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self) -> None:
        self.resume()
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            pass
        self.signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Server(Group):
    """Ocelli on free loopback ports."""

    def __init__(self, models: Path, *flags: str, env: dict | None = None):
        command = [OCELLI, "serve", "--models", models, "--log-format", "json", *flags]
        for door in ("--rest-addr", "--grpc-addr", "--admin-addr"):
            command += [door, "127.0.0.1:0"]
        super().__init__(command, env, stderr=subprocess.PIPE, text=True)
        # How often each message was logged.
        self.told: collections.Counter[str] = collections.Counter()
        said = []
        for line in self.process.stderr:
            said.append(line)
            entry = json.loads(line)
            self.told[entry["message"]] += 1
            if entry["message"] == "serving":
                self.url, self.grpc = f"http://{entry['rest']}", f"http://{entry['grpc']}"
                self.admin = f"http://{entry['admin']}"
            if entry["message"] == "ready":
                break
        else:
            raise RuntimeError("the server did not start:\n" + "".join(said))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        # A full pipe would stop the server.
        for line in self.process.stderr:
            self.told[json.loads(line)["message"]] += 1

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return answer.read().decode()

    def metrics(self) -> dict[str, float]:
        return series(self.get("/metrics"))

    def mean(self, family: str, model: str) -> float:
        """Seconds, of a histogram since the start."""
        metrics = self.metrics()
        of = lambda kind: metrics[f'{family}_{kind}{{model="{model}",version="1"}}']
        return of("sum") / of("count")

    def load(self, model: str, body: Path, *flags: str) -> dict:
        """The report's phase of a `loadtest run`, by V1 or, with `--grpc`, by ModelInfer."""
        url = f"{self.url}/v1/models/{model}:predict"
        if "--grpc" in flags:
            url = self.grpc + INFER
        return load(url, body, "--server-pid", str(self.process.pid), *flags)["phases"][0]


def series(metrics: str) -> dict[str, float]:
    """What /metrics says."""
    return {s: float(v) for s, v in (line.rsplit(" ", 1) for line in metrics.splitlines() if line[0] != "#")}


INFER = "/inference.GRPCInferenceService/ModelInfer"


def load(url: str, body: Path, *flags: str) -> dict:
    """The report of a `loadtest run`."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [*LOADING, LOADTEST, "run", url, "--body", body, "--json", out.name, *flags]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.loads(Path(out.name).read_text())


def descendants(roots: set[int], parents: dict[int, int]) -> list[int]:
    """The roots that are there, and all that descend from one."""
    found = set()
    for pid in parents:
        line = [pid]
        while line[-1] not in roots and line[-1] in parents:
            line.append(parents[line[-1]])
        if line[-1] in roots:
            found.add(pid)
    return sorted(found)


def grown(before: dict[int, float], after: dict[int, float]) -> float:
    """CPU seconds between two looks at a group; processes may have been born between them."""
    return sum(seconds - before.get(pid, 0) for pid, seconds in after.items())


def cpu_model(cpuinfo: str) -> tuple[str, list[str]]:
    """The processor's name, and which of the instructions that engines care for it has."""
    fields = dict(line.split(":", 1) for line in cpuinfo.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    wanted = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8"]
    has = fields.get("flags", "").split()
    return fields.get("model name", platform.machine()), [flag for flag in wanted if flag in has]


def host() -> dict:
    """The machine a run was made on, without its name."""
    name, instructions = cpu_model(Path("/proc/cpuinfo").read_text())
    limit = Path("/sys/fs/cgroup/cpu.max")
    says = lambda *command: subprocess.run(command, capture_output=True, text=True).stdout.strip()
    version = lambda program: says(program, "--version")
    return {
        "cpu": name,
        "instructions": instructions,
        "cores": len(os.sched_getaffinity(0)),
        "cgroup_cpu_max": limit.read_text().strip() if limit.exists() else None,
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * PAGE / 1e9, 1),
        "kernel": platform.release(),
        "load_average": os.getloadavg(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": says("git", "-C", ROOT, "describe", "--always", "--dirty"),
        "versions": {"ocelli": version(OCELLI), "loadtest": version(LOADTEST), "python": platform.python_version()},
    }


def keep(what: str, told: dict, indent: int | None = 1) -> Path:
    """Writes a run's raw data to loadtest/runs; without indent where there are long series in it."""
    runs = ROOT / "loadtest/runs"
    runs.mkdir(exist_ok=True)
    file = runs / f"{time.strftime('%Y-%m-%d', time.gmtime())}-{what}.json"
    file.write_text(json.dumps(told, indent=indent) + "\n")
    return file


def samples(python: Path, out: Path) -> None:
    """Models and requests, made by an interpreter that has what samples.py needs."""
    subprocess.run([python, ROOT / "loadtest/samples.py", out], check=True)
