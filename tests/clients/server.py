"""The server that the clients talk to: the real binary, on free loopback ports."""

import json
import os
import subprocess
from pathlib import Path
from threading import Thread

import repository

BINARY = os.environ.get("OCELLI_BIN", repository.ROOT / "target/release/ocelli")


class Server:
    """Serves what `repository.make` makes, and tells the addresses its doors got."""

    def __init__(self, models: Path, *flags: str):
        self.flags = flags
        repository.make(models)
        # Set both to hold the tests themselves against another server over the same models.
        self.rest = os.environ.get("CLIENTS_REST")
        self.grpc = os.environ.get("CLIENTS_GRPC")
        self.process = None
        if not (self.rest and self.grpc):
            self.start(models)

    def start(self, models: Path):
        command = [BINARY, "serve", "--models", models, "--log-format", "json"]
        for door in ("--rest-addr", "--grpc-addr", "--admin-addr"):
            command += [door, "127.0.0.1:0"]
        command += ["--poll-ms", "100", "--settle-ms", "100", "--lame-duck-ms", "0"]
        command += ["--allow-control", "true", *self.flags]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        told = []
        for line in self.process.stderr:
            told.append(line)
            entry = json.loads(line)
            if entry["message"] == "serving":
                self.rest, self.grpc = entry["rest"], entry["grpc"]
            if entry["message"] == "ready":
                break
        else:
            raise RuntimeError("the server did not start:\n" + "".join(told))
        # A full pipe would stop the server.
        Thread(target=self.process.stderr.read, daemon=True).start()

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=30)
