"""The part of the Kubernetes API that a ConfigMap is kept by, for servers that are processes of their own. Its faults are
tried by the Rust tests, in process; here it works, or is away."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Thread
from time import monotonic
from urllib.parse import parse_qs, urlsplit


class Kubernetes:
    """ConfigMaps by namespace and name, with what happened to them in order."""

    def __init__(self, root: Path):
        self.version, self.maps, self.log = 100, {}, []
        self.news, self.away = Condition(), False
        self.watches = 0
        api = type("Api", (Api,), {"kept": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), api)
        self.server.daemon_threads = True
        Thread(target=self.server.serve_forever, daemon=True).start()
        file = root / "kubeconfig"
        file.write_text(json.dumps(kubeconfig(self.server.server_address[1])))
        self.env = {"KUBECONFIG": str(file)}

    def write(self, key: tuple, object: dict, replaces: bool, dry: bool) -> tuple[int, dict]:
        """The status and what is there now, or why it is not."""
        with self.news:
            there = self.maps.get(key)
            if replaces and there is None:
                return refusal(404, "NotFound", f'configmaps "{key[1]}" not found')
            if not replaces and there is not None:
                return refusal(409, "AlreadyExists", f'configmaps "{key[1]}" already exists')
            expected = object["metadata"].get("resourceVersion")
            if replaces and expected not in (None, there["metadata"]["resourceVersion"]):
                return refusal(409, "Conflict", "the object has been modified")
            if not dry:
                self.version += 1
                object["metadata"] |= {"namespace": key[0], "name": key[1], "resourceVersion": str(self.version)}
                object |= {"apiVersion": "v1", "kind": "ConfigMap"}
                self.maps[key] = object
                self.log.append((self.version, key, "MODIFIED" if replaces else "ADDED", object))
                self.news.notify_all()
            return (200 if replaces else 201), object

    def after(self, version: int, key: tuple, end: float) -> list:
        """What happened since, as soon as there is any; nothing at the end."""
        found = lambda: [entry for entry in self.log if entry[0] > version and entry[1] == key]
        with self.news:
            self.news.wait_for(lambda: found() or self.away, max(0, end - monotonic()))
            return found()

    def set_away(self, away: bool):
        """Answers nothing but 503, and ends watches."""
        with self.news:
            self.away = away
            self.news.notify_all()

    def close(self):
        self.set_away(True)
        self.server.shutdown()
        self.server.server_close()


class Api(BaseHTTPRequestHandler):
    """One connection to it."""

    kept: Kubernetes
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            # Whoever it was has been killed.
            pass

    def enter(self) -> tuple[tuple, dict]:
        """(namespace, name) and parameters; a collection's name is that of its selector."""
        url = urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        assert parts[:3] == ["api", "v1", "namespaces"] and parts[4] == "configmaps", self.path
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        selected = query.get("fieldSelector", "").removeprefix("metadata.name=")
        return (parts[3], parts[5] if len(parts) > 5 else selected), query

    def do_GET(self):
        key, query = self.enter()
        if self.kept.away:
            return self.answer(*refusal(503, "ServiceUnavailable", "told to be away"))
        if query.get("watch") == "true":
            return self.watch(key, query)
        with self.kept.news:
            there, version = self.kept.maps.get(key), str(self.kept.version)
        if "fieldSelector" in query:
            listed = {"metadata": {"resourceVersion": version}, "items": [there] if there else []}
            return self.answer(200, {"apiVersion": "v1", "kind": "ConfigMapList", **listed})
        if there is None:
            return self.answer(*refusal(404, "NotFound", f'configmaps "{key[1]}" not found'))
        self.answer(200, there)

    def do_POST(self):
        self.write(replaces=False)

    def do_PUT(self):
        self.write(replaces=True)

    def write(self, replaces: bool):
        object = json.loads(self.rfile.read(int(self.headers["content-length"])))
        (namespace, _), query = self.enter()
        if self.kept.away:
            return self.answer(*refusal(503, "ServiceUnavailable", "told to be away"))
        key = (namespace, object["metadata"]["name"])
        self.answer(*self.kept.write(key, object, replaces, "dryRun" in query))

    def watch(self, key: tuple, query: dict):
        end = monotonic() + int(query.get("timeoutSeconds", 1800))
        seen = int(query["resourceVersion"])
        self.kept.watches += 1
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while not self.kept.away and (news := self.kept.after(seen, key, end)):
            for seen, _, kind, object in news:
                line = json.dumps({"type": kind, "object": object}).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")

    def answer(self, status: int, body: dict):
        sent = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)


def refusal(code: int, reason: str, message: str) -> tuple[int, dict]:
    about = {"message": message, "reason": reason, "code": code, "details": {"kind": "configmaps"}}
    return code, {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", **about}


def kubeconfig(port: int) -> dict:
    named = lambda kind, value: [{"name": "test", kind: value}]
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": named("cluster", {"server": f"http://127.0.0.1:{port}"}),
        "contexts": named("context", {"cluster": "test", "user": "test", "namespace": "cv"}),
        "users": named("user", {}),
    }
