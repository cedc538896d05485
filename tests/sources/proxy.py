"""A proxy before a store, which does to some answers what networks and stores do."""

import http.client
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import unquote

HALF = ("cut", "stall", "trickle")


class Proxy:
    """Passes all on to `upstream`, HOST:PORT, but for what `fault` is set for."""

    def __init__(self, upstream: str):
        self.upstream = upstream
        self.asked = []
        """(method, path with query) of all requests."""
        self.faults = {}
        self.bearer = None
        """The token that requests must have, if any must."""
        self.released = Event()
        handler = type("Handler", (Handler,), {"proxy": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def fault(self, what: str | int, of: str):
        """Within, answers to GETs of paths that end with `of` (before a query) are spoilt: `cut`, `stall`,
        `trickle`, `garble`, or a status."""
        self.faults[of] = what
        try:
            yield
        finally:
            del self.faults[of]
            self.released.set()
            self.released = Event()

    def objects(self) -> list[str]:
        """The objects that were asked for, without listings and manifests."""
        paths = [path for method, path in self.asked if method == "GET" and "list-type" not in path]
        return [path for path in paths if ".json" not in path]

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        proxy = self.proxy
        proxy.asked.append((self.command, self.path))
        path = unquote(self.path.split("?")[0])
        fault = next((what for end, what in proxy.faults.items() if path.endswith(end)), None)
        if proxy.bearer and self.headers["authorization"] != f"Bearer {proxy.bearer}":
            fault = 401
        if isinstance(fault, int):
            return self.answer(fault, {}, b"<Error><Code>Spoilt</Code></Error>")
        connection = http.client.HTTPConnection(proxy.upstream, timeout=10)
        connection.request(self.command, self.path, headers=dict(self.headers.items()))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        keep = ("etag", "last-modified", "content-type", "content-range")
        headers = {name: value for name, value in answer.getheaders() if name.lower() in keep}
        if fault == "garble":
            body = bytes(byte ^ 1 for byte in body)
        if fault not in HALF:
            return self.answer(answer.status, headers, body)
        half = body[: len(body) // 2]
        released = proxy.released
        self.answer(answer.status, headers, half, len(body))
        if fault == "stall":
            released.wait(60)
        if fault == "trickle":
            for byte in body[len(half) :]:
                if released.wait(0.1):
                    break
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
        self.close_connection = True

    do_HEAD = do_GET

    def answer(self, status: int, headers: dict, body: bytes, length: int | None = None):
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def handle(self):
        # Who is killed while it fetches leaves a broken pipe.
        try:
            super().handle()
        except (ConnectionError, ValueError):
            pass

    def log_message(self, *_):
        pass
