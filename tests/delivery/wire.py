"""HTTP/1.1 with many requests on their way at a time, which Python's clients can't do fast enough."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


def post(path: str, body: bytes, **headers) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: test", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection:
    def __init__(self, address: str):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", 1 << 16)

    def ask(self, requests: list[bytes]) -> list[Answer]:
        """Sends all of them, then reads the answers. Not too many at a time: nobody reads meanwhile."""
        self.socket.sendall(b"".join(requests))
        return [self._read() for _ in requests]

    def _read(self) -> Answer:
        status = self.file.readline()
        if not status:
            raise ConnectionError("the server closed the connection")
        headers = {}
        while line := self.file.readline().strip():
            name, value = line.decode().split(":", 1)
            headers[name.lower()] = value.strip()
        body = self.file.read(int(headers["content-length"]))
        return Answer(int(status.split()[1]), headers, body)

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def ask_all(address: str, requests: list[bytes], connections=4, window=8) -> list[Answer]:
    """The answers in the order of the requests."""

    def some(share: list[bytes]) -> list[Answer]:
        with Connection(address) as connection:
            answers = []
            for at in range(0, len(share), window):
                answers += connection.ask(share[at : at + window])
            return answers

    answers = [None] * len(requests)
    with ThreadPoolExecutor(connections) as pool:
        for i, share in enumerate(
            pool.map(some, [requests[i::connections] for i in range(connections)])
        ):
            answers[i::connections] = share
    return answers
