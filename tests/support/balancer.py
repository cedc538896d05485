"""The balancer that deploy/ ships, in front of real servers: HAProxy with the configuration of deploy/compose, but for
addresses."""

import random
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[2] / "deploy/compose/haproxy.cfg"
NAMED = ("ocelli-1", "ocelli-2", "ocelli-3")
"""The servers in it."""


EPHEMERAL = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
"""From here on connections take ports for themselves: one that was free might be in use before it is listened on."""


def free_port() -> int:
    while True:
        # 1 to 1023 are not everybody's.
        port = random.randrange(max(1024, EPHEMERAL // 2), max(2048, EPHEMERAL))
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Balancer:
    """Before replicas at these (REST, gRPC) addresses, which need not be there yet. From the fourth on they get a line
    like the third's. What it balanced where it tells in its log, by the request's `x-request-id`."""

    def __init__(self, root: Path, replicas: list[tuple[str, str]]):
        self.rest, self.grpc = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.log = root / "haproxy.log"
        (root / "haproxy.cfg").write_text(self.config(CONFIG.read_text(), replicas))
        with self.log.open("w") as log:
            command = [shutil.which("haproxy"), "-db", "-f", root / "haproxy.cfg"]
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def config(self, text: str, replicas: list) -> str:
        text = text.replace("bind :8501", f"bind {self.rest}").replace("bind :8500", f"bind {self.grpc}")
        # A test may have few files.
        text = text.replace(" resolvers names init-addr last,libc,none", "").replace("maxconn 10000", "maxconn 1000")
        text = text.replace("global\n", "global\n    log stdout format raw local0\n")
        text = text.replace("bind ", "http-request capture req.hdr(x-request-id) len 64\n    bind ")
        text = text.replace("defaults\n", 'defaults\n    log global\n    log-format "%[capture.req.hdr(0)] %s %ST %ts"\n')
        for line in re.findall(rf"^ *server {NAMED[-1]} .*\n", text, re.M):
            more = range(len(NAMED) + 1, len(replicas) + 1)
            text = text.replace(line, line + "".join(line.replace(NAMED[-1], f"ocelli-{n}") for n in more))
        for n, (rest, grpc) in enumerate(replicas, 1):
            name, probed = f"ocelli-{n}", rest.rsplit(":", 1)[1]
            text = text.replace(f"{name}:8501", rest).replace(f"{name}:8500", grpc)
            text = re.sub(rf"(server {name} {re.escape(grpc)}.* port) 8501", rf"\g<1> {probed}", text)
        return text

    def balanced(self) -> Iterator[tuple[str, int, int]]:
        """(request's id, number of the replica from 0, HTTP status) of each request that named itself."""
        for line in self.log.read_text().splitlines():
            if found := re.fullmatch(r"(\S+) ocelli-(\d+) (-?\d+) \S+", line):
                yield found[1], int(found[2]) - 1, int(found[3])

    def kill(self):
        self.process.kill()
        self.process.wait()
