"""The chart, rendered by the real helm."""

import json
import os
import subprocess
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/ocelli"
BINARY = os.environ.get("OCELLI_BIN", ROOT / "target/release/ocelli")
HELM = os.environ.get("HELM", "helm")
HELM3 = os.environ.get("HELM3")
NEWEST = "1.37.0"


class Refused(Exception):
    """helm said no."""


def helm(*arguments: str, given: dict | None = None, binary=None) -> str:
    """What helm prints; `given` are values."""
    sent = yaml.safe_dump(given or {})
    values = ["--values", "-"] if given is not None else []
    done = subprocess.run(
        [binary or HELM, *arguments, *values], input=sent, capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


def render(values=None, version=NEWEST, binary=None) -> list:
    """Every object, tests' pods too."""
    text = _rendered(json.dumps(values or {}), version, binary)
    return [doc for doc in yaml.load_all(text, yaml.CSafeLoader) if doc]


@cache
def _rendered(values: str, version: str, binary) -> str:
    flags = ["--namespace", "cv", "--kube-version", version]
    return helm("template", "vision", str(CHART), *flags, given=json.loads(values), binary=binary)


def pick(objects: list, kind: str, name="vision-ocelli") -> dict:
    """The one object of that kind and name."""
    found = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    assert len(found) == 1, [(o["kind"], o["metadata"]["name"]) for o in objects]
    return found[0]


def pod(objects: list) -> dict:
    """Of the Deployment."""
    (deployment,) = [o for o in objects if o["kind"] == "Deployment"]
    return deployment["spec"]["template"]["spec"]


def server(objects: list) -> dict:
    """Its container."""
    (container,) = [c for c in pod(objects)["containers"] if c["name"] == "ocelli"]
    return container


def settings(objects: list) -> str:
    """The server's file of settings."""
    (text,) = [o["data"]["ocelli.toml"] for o in objects if "ocelli.toml" in (o.get("data") or {})]
    return text


def notes(values: dict) -> str:
    """What an installation would print. Only a dry run renders it; it asks no cluster."""
    text = helm("install", "vision", str(CHART), "--namespace", "cv", "--dry-run=client", given=values)
    return text.split("NOTES:\n", 1)[1]
