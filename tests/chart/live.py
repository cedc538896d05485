"""The real server, for what the chart tells people and pods to do with it."""

import json
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from chart import BINARY, ROOT

PHOTO = ROOT / "models/photos/chelsea.jpg"


@contextmanager
def serving(models: Path, *flags: str):
    """Its REST address."""
    command = [BINARY, "serve", "--models", models, "--log-format", "json", "--lame-duck-ms", "0"]
    for door in ("--rest-addr", "--grpc-addr", "--admin-addr"):
        command += [door, "127.0.0.1:0"]
    command += ["--traffic-store", "memory", "--poll-ms", "100", "--settle-ms", "100", *flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    rest, log = None, []
    for line in process.stderr:
        log.append(line)
        entry = json.loads(line)
        rest = entry.get("rest", rest)
        if entry["message"] == "ready":
            break
    else:
        raise RuntimeError("".join(log))
    Thread(target=process.stderr.read, daemon=True).start()
    try:
        yield rest
    finally:
        process.terminate()
        process.wait(timeout=30)


def repository(at: Path) -> Path:
    """The demo model."""
    shutil.copytree(ROOT / "models/efficientnet_lite0", at / "efficientnet_lite0")
    return at
