#!/usr/bin/env python3
"""Holds a server's connections open on purpose, and asks whether others are still served.

    target/release/ocelli serve &
    loadtest/slowloris.py --pid $! --connections 10000 --seconds 30

A third of the connections says nothing, a third dribbles a header byte by byte, a third speaks an
HTTP/2 preface and settings and then stops. One that is closed is opened again. Meanwhile a normal
client, a process of its own, asks in turn on a connection it keeps and on a new one, twenty times a
second. It needs as many file descriptors as connections: `ulimit -n`.
"""

import argparse
import asyncio
import multiprocessing
import resource
import time
from pathlib import Path

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
# How many connections are opened at a time: faster, and the kernel's own queue is what is measured.
OPENING = 200


class Attack:
    """Connections that are slow on purpose."""

    def __init__(self, host: str, port: int, end: float) -> None:
        self.host, self.port, self.end = host, port, end
        self.open = self.most = self.opened = self.closed = 0
        self.gate = asyncio.Semaphore(OPENING)

    async def hold(self, number: int) -> None:
        while time.monotonic() < self.end:
            try:
                async with self.gate:
                    reader, writer = await asyncio.open_connection(self.host, self.port, limit=1024)
            except OSError:
                await asyncio.sleep(0.5)
                continue
            self.opened += 1
            self.open += 1
            self.most = max(self.most, self.open)
            try:
                await self.linger(number, reader, writer)
            except OSError:
                pass
            finally:
                self.open -= 1
                writer.close()

    async def linger(self, number: int, reader, writer) -> None:
        ended = asyncio.create_task(self.drain(reader))
        if number % 3 == 1:
            writer.write(b"GET /readyz HTTP/1.1\r\nhost: x\r\nx-slow: ")
        elif number % 3 == 2:
            writer.write(PREFACE)
        try:
            while not ended.done() and time.monotonic() < self.end:
                await asyncio.wait([ended], timeout=min(1, max(0.01, self.end - time.monotonic())))
                if number % 3 == 1 and not ended.done():
                    writer.write(b"x")
            self.closed += ended.done()
        finally:
            ended.cancel()

    @staticmethod
    async def drain(reader) -> None:
        try:
            while await reader.read(1024):
                pass
        except OSError:
            pass


class Normal:
    """A client that behaves."""

    def __init__(self, host: str, port: int, path: str, end: float) -> None:
        self.host, self.port, self.end = host, port, end
        self.request = f"GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()
        self.took = {"kept": [], "new": []}
        self.failed = {"kept": 0, "new": 0}

    async def run(self) -> None:
        kept = None
        while time.monotonic() < self.end:
            for kind in ("kept", "new"):
                start = time.monotonic()
                try:
                    async with asyncio.timeout(10):
                        streams = kept if kind == "kept" else None
                        streams = streams or await asyncio.open_connection(self.host, self.port)
                        await self.ask(*streams)
                    self.took[kind].append(time.monotonic() - start)
                except (OSError, EOFError, TimeoutError, ValueError) as error:
                    print(f"  {kind}: {error!r} after {time.monotonic() - start:.1f} s")
                    self.failed[kind] += 1
                    streams = None
                if kind == "kept":
                    kept = streams
                elif streams:
                    streams[1].close()
            await asyncio.sleep(0.05)

    async def ask(self, reader, writer) -> None:
        writer.write(self.request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if not head.startswith("http/1.1 200 "):
            raise ValueError(head.splitlines()[0])
        await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))

    def report(self) -> None:
        for kind, took in self.took.items():
            took.sort()
            at = lambda q: 1000 * took[min(len(took) - 1, int(q * len(took)))] if took else float("nan")
            print(
                f"normal client, {kind} connection: {len(took)} answers, {self.failed[kind]} failures, "
                f"p50 {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms, most {at(1):.1f} ms"
            )


def ask(host: str, port: int, path: str, end: float) -> None:
    normal = Normal(host, port, path, end)
    asyncio.run(normal.run())
    normal.report()


def status(pid: int) -> dict[str, int]:
    """Megabytes of resident memory and open connections, as the kernel has them."""
    text = Path(f"/proc/{pid}/status").read_text()
    rss = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS"))
    return {"rss": rss / 1024, "files": len(list(Path(f"/proc/{pid}/fd").iterdir()))}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--path", default="/readyz", help="what the normal client asks for")
    parser.add_argument("--pid", type=int, required=True, help="of the server")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=30)
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    before = status(args.pid)
    most = dict(before)
    end = time.monotonic() + args.seconds
    attack = Attack(args.host, args.port, end)
    # A process of its own: what it waits for is the server, and not the attack's own work.
    normal = multiprocessing.Process(target=ask, args=(args.host, args.port, args.path, end))
    normal.start()
    tasks = [asyncio.create_task(attack.hold(n)) for n in range(args.connections)]
    while time.monotonic() < end:
        now = status(args.pid)
        most = {key: max(most[key], now[key]) for key in most}
        await asyncio.sleep(0.2)
    await asyncio.gather(*tasks)
    normal.join()
    await asyncio.sleep(12)
    after = status(args.pid)
    print(
        f"attack: {attack.opened} connections opened, {attack.most} at a time at most, "
        f"{attack.closed} closed by the server"
    )
    for name, key, unit in (("memory", "rss", "MB"), ("open files", "files", "")):
        print(f"server, {name}: {before[key]:.0f} before, {most[key]:.0f} at most, {after[key]:.0f} after {unit}")


asyncio.run(main())
