"""Every object that the chart can make, against the schemas of who takes it."""

import json
import subprocess

import kubernetes_validate
import pytest

from chart import BINARY, CHART, HELM3, NEWEST, helm, render, settings
from custom import faults, is_custom
from matrix import MATRIX, SINCE

VERSIONS = [f"1.{minor}.0" for minor in range(29, 38)]
ALL = {name: (VERSIONS[0], values) for name, values in MATRIX.items()} | SINCE


def newer(version: str, than: str) -> bool:
    number = lambda v: [int(part) for part in v.split(".")]
    return number(version) >= number(than)


@pytest.mark.parametrize("name", ALL)
def test_every_version_of_kubernetes_takes_it(name):
    since, values = ALL[name]
    for version in VERSIONS:
        if not newer(version, since):
            continue
        for document in render(values, version):
            if not is_custom(document):
                # Strictly: a field that isn't known would be dropped without a word. A kind that is gone fails.
                kubernetes_validate.validate(document, version, strict=True)


def test_a_removed_api_would_be_noticed():
    old = {"apiVersion": "autoscaling/v2beta2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "x"}}
    with pytest.raises(Exception):
        kubernetes_validate.validate(old, NEWEST, strict=True)


def test_custom_resources_are_as_their_projects_say(tmp_path):
    found = [doc for _, values in ALL.values() for doc in render(values) if is_custom(doc)]
    # Each once: the compiler takes long.
    distinct = list({json.dumps(doc, sort_keys=True): doc for doc in found}.values())
    kinds = {doc["kind"] for doc in distinct}
    assert kinds == {
        "ServiceMonitor", "PodMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication", "HTTPRoute", "GRPCRoute",
    }  # fmt: skip
    assert faults(distinct, tmp_path) == ""


def test_a_wrong_custom_resource_would_be_noticed(tmp_path):
    route = next(doc for doc in render(MATRIX["gateway"]) if doc["kind"] == "HTTPRoute")
    route["spec"]["hostname"] = "x"
    assert "hostname" in faults([route], tmp_path)


@pytest.mark.parametrize("name", ALL)
def test_the_server_knows_every_setting(name, tmp_path):
    file = tmp_path / "ocelli.toml"
    file.write_text(settings(render(ALL[name][1])))
    done = subprocess.run([BINARY, "serve", "--config", file, "--print-config"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ALL)
def test_two_objects_never_have_the_same_name(name):
    names = [(doc["kind"], doc["metadata"]["name"]) for doc in render(ALL[name][1])]
    assert len(names) == len(set(names)), names
    assert all(len(name) <= 63 for _, name in names), names


@pytest.mark.skipif(not HELM3, reason="there is no helm 3")
@pytest.mark.parametrize("name", ALL)
def test_helm_3_makes_the_same(name):
    def made(binary):
        return sorted(json.dumps(doc, sort_keys=True) for doc in render(ALL[name][1], binary=binary))

    assert made(HELM3) == made(None)


@pytest.mark.parametrize("name", ALL)
def test_lint_finds_nothing(name):
    told = helm("lint", str(CHART), "--strict", "--kube-version", NEWEST, given=ALL[name][1])
    assert "0 chart(s) failed" in told and "[WARNING]" not in told, told
