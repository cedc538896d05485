"""What scale.py scales: real servers, each with a part of a CPU, behind HAProxy, scraped by Prometheus.

Of a cluster there is what matters to an autoscaler: a pod takes a while to serve, the youngest goes first, one that goes
is no longer asked and finishes what it has.
"""

import http.server
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

import cpu_limit
import rig

HAPROXY = """\
global
    maxconn 2000
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    option redispatch
    retry-on conn-failure
    retries 3
    balance leastconn
    default-server check inter 200 fall 1 rise 1
frontend all
    bind {address}
    default_backend servers
backend servers
    option httpchk GET /readyz
    http-check expect status 200
{servers}
"""


def until(condition, seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


class Pod(rig.Group):
    """A server with a part of a CPU and one compute thread. Its constructor returns when it is ready."""

    def __init__(self, name: str, root: Path, port: int, cpus: float):
        self.name, self.port = name, port
        self.limit = cpu_limit.Group(f"ocelli-scale-{os.getpid()}-{name}", cpus)
        command = [rig.OCELLI, "serve", "--models", root / "models", "--traffic-store", f"file:{root}/store"]
        command += ["--rest-addr", f"127.0.0.1:{port}", "--grpc-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"]
        command += ["--log-format", "json", "--compute-threads", "1", "--lame-duck-ms", "600"]
        super().__init__(self.limit.command(command), stderr=subprocess.PIPE, text=True)
        said = []
        for line in self.process.stderr:
            said.append(line)
            entry = json.loads(line)
            if entry["message"] == "serving":
                self.admin = entry["admin"]
            if entry["message"] == "ready":
                break
        else:
            self.limit.close()
            raise RuntimeError("the server did not start:\n" + "".join(said))
        # A full pipe would stop the server.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def pids(self) -> list[int]:
        # The shell became the server, which starts nothing.
        return [self.process.pid]

    def ask(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return answer.read().decode()

    def set_traffic(self, model: str, weights: dict) -> None:
        """For all replicas: they share the store."""
        request = urllib.request.Request(f"http://{self.admin}/admin/v1/models/{model}/traffic", method="PUT")
        request.add_header("content-type", "application/json")
        urllib.request.urlopen(request, json.dumps({"weights": weights}).encode(), timeout=30).close()

    def leave(self) -> None:
        """As the kubelet ends a pod."""
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        finally:
            self.stop()
            self.limit.close()


class Usage(http.server.ThreadingHTTPServer):
    """Tells Prometheus what CPU time each pod has had, as cAdvisor does: by the kernel's word, to a hundredth of a second.
    (The server's own process_cpu_seconds_total goes by whole seconds.)"""

    daemon_threads = True

    def __init__(self, pods):
        usage = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                lines = [f'container_cpu_usage_seconds_total{{pod="{p.name}"}} {sum(p.cpu().values()):.2f}\n'
                         for p in usage.pods()]
                self.send_response(200)
                self.send_header("content-type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write("".join(lines).encode())

            def log_message(self, *_):
                pass

        self.pods = pods
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Balancer:
    """HAProxy: whoever has the fewest requests under way gets the next, as in deploy/compose."""

    def __init__(self, root: Path, ports: list[int]):
        self.address = f"127.0.0.1:{rig.free_port()}"
        servers = "\n".join(f"    server s{n} 127.0.0.1:{port}" for n, port in enumerate(ports))
        (root / "haproxy.cfg").write_text(HAPROXY.format(address=self.address, servers=servers))
        self.process = subprocess.Popen([shutil.which("haproxy"), "-q", "-db", "-f", root / "haproxy.cfg"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        # Debian's may be started by a script, which passes no signal on.
        terminate(self.process)


class Prometheus:
    """It finds pods by a file, as a cluster's finds them by the API, and their CPU time where it is told."""

    def __init__(self, root: Path, scrape: float, usage_port: int):
        self.targets = root / "targets.json"
        self.tell({})
        port = rig.free_port()
        self.url = f"http://127.0.0.1:{port}"
        (root / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": f"{round(scrape * 1000)}ms", "scrape_timeout": f"{round(scrape * 1000)}ms"},
            "scrape_configs": [
                {"job_name": "ocelli", "file_sd_configs": [{"files": [str(self.targets)]}]},
                {"job_name": "usage", "static_configs": [{"targets": [f"127.0.0.1:{usage_port}"]}]},
            ],
        }))
        command = [shutil.which("prometheus"), f"--config.file={root}/prometheus.yml"]
        command += [f"--storage.tsdb.path={root}/tsdb", f"--web.listen-address=127.0.0.1:{port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self.is_ready, 60, "Prometheus")

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def tell(self, pods: dict[str, int]) -> None:
        """Whom to scrape: ports by name."""
        found = [{"targets": [f"127.0.0.1:{port}"], "labels": {"pod": name}} for name, port in pods.items()]
        aside = self.targets.with_suffix(".new")
        aside.write_text(json.dumps(found))
        aside.rename(self.targets)

    def by_pod(self, query: str) -> dict[str, float]:
        sent = urllib.parse.urlencode({"query": query}).encode()
        with urllib.request.urlopen(f"{self.url}/api/v1/query", sent, timeout=10) as answer:
            found = json.loads(answer.read())["data"]["result"]
        return {series["metric"]["pod"]: float(series["value"][1]) for series in found}

    def stop(self) -> None:
        terminate(self.process)


def terminate(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Place:
    """A pod as the autoscaler's deployment knows it, from the moment it was asked for."""

    def __init__(self, name: str, slot: int):
        self.name, self.slot = name, slot
        self.born = time.monotonic()
        self.ready_at: float | None = None
        self.pod: Pod | None = None
        self.unwanted = False


class Fleet:
    """The deployment: so many pods as it is told, of at most as many as there are ports."""

    def __init__(self, root: Path, most: int, cpus: float, start: float, scrape: float):
        self.root, self.cpus, self.start_seconds = root, cpus, start
        self.ports = [rig.free_port() for _ in range(most)]
        self.lock = threading.Lock()
        self.places: list[Place] = []
        self.busy_slots: set[int] = set()
        self.count = 0
        self.spent = 0.0
        """Replica-seconds of those that are gone."""
        self.starts: list[float] = []
        """Seconds from asked for to ready."""
        self.failed: list[str] = []
        self.threads: list[threading.Thread] = []
        self.balancer = Balancer(root, self.ports)
        self.usage = Usage(lambda: [place.pod for place in self.serving()])
        self.prometheus = Prometheus(root, scrape, self.usage.server_port)

    def scale(self, wanted: int, at_once: bool = False) -> None:
        """Asks for pods, or lets the youngest go, those that do not serve yet first."""
        with self.lock:
            here = len(self.places)
            for place in sorted(self.places, key=lambda p: (p.ready_at is not None, -p.born))[: max(here - wanted, 0)]:
                self._let_go(place)
            for _ in range(here, wanted):
                self._ask_for(0.0 if at_once else self.start_seconds)

    def _ask_for(self, wait: float) -> None:
        slots = [s for s in range(len(self.ports)) if s not in self.busy_slots]
        if not slots:
            # A pod that goes still has its port; the next look asks again.
            return
        self.busy_slots.add(slots[0])
        self.count += 1
        place = Place(f"p{self.count}", slots[0])
        self.places.append(place)
        self._run(self._begin, place, wait)

    def _let_go(self, place: Place) -> None:
        self.places.remove(place)
        self.spent += time.monotonic() - place.born
        place.unwanted = True
        if place.pod is not None:
            self._tell_prometheus()
            self._run(self._end, place)

    def _begin(self, place: Place, wait: float) -> None:
        time.sleep(wait)
        if not place.unwanted:
            try:
                pod = Pod(place.name, self.root, self.ports[place.slot], self.cpus)
            except (OSError, RuntimeError) as error:
                self.failed.append(str(error))
                return
            with self.lock:
                place.pod = pod
                if not place.unwanted:
                    place.ready_at = time.monotonic()
                    self.starts.append(place.ready_at - place.born)
                    self._tell_prometheus()
                    return
            pod.leave()
        with self.lock:
            self.busy_slots.discard(place.slot)

    def _end(self, place: Place) -> None:
        place.pod.leave()
        with self.lock:
            self.busy_slots.discard(place.slot)

    def _tell_prometheus(self) -> None:
        ready = [p for p in self.places if p.ready_at is not None]
        self.prometheus.tell({p.name: self.ports[p.slot] for p in ready})

    def _run(self, what, *args) -> None:
        thread = threading.Thread(target=what, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def serving(self) -> list[Place]:
        with self.lock:
            return [p for p in self.places if p.ready_at is not None]

    def replica_seconds(self) -> float:
        with self.lock:
            return self.spent + sum(time.monotonic() - p.born for p in self.places)

    def close(self) -> None:
        self.scale(0)
        for thread in self.threads:
            thread.join(timeout=60)
        self.balancer.stop()
        self.prometheus.stop()
        self.usage.shutdown()
