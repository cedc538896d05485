"""deploy/kserve against the classes of KServe's own client, read and not run: they would bring half a world along."""

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from chart import NEWEST, ROOT

KINDS = {
    "serving.kserve.io/v1alpha1 ClusterServingRuntime": "V1alpha1ClusterServingRuntime",
    "serving.kserve.io/v1beta1 InferenceService": "V1beta1InferenceService",
}
PLAIN = {"str": str, "int": int, "bool": bool, "float": float}


@cache
def classes() -> dict:
    """What each class has: its fields' types, by their names in JSON."""
    found = {}
    where = importlib.util.find_spec("kserve").submodule_search_locations[0]
    for path in (Path(where) / "models").glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                tables = {
                    statement.targets[0].id: ast.literal_eval(statement.value)
                    for statement in node.body
                    if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict)
                }
                if "attribute_map" in tables:
                    types = tables["openapi_types"]
                    found[node.name] = {name: types[field] for field, name in tables["attribute_map"].items()}
    return found


def check(value, kind: str, path: str):
    """Fields that are not known, and values of another type."""
    if kind in PLAIN:
        assert isinstance(value, PLAIN[kind]), f"{path}: {value!r} is no {kind}"
    elif element := re.fullmatch(r"list\[(.+)\]", kind):
        assert isinstance(value, list), path
        for i, one in enumerate(value):
            check(one, element[1], f"{path}[{i}]")
    elif kind in classes():
        for name, inner in value.items():
            assert name in classes()[kind], f"{path}: {kind} has no {name}"
            check(inner, classes()[kind][name], f"{path}.{name}")


def documents() -> list:
    return list(yaml.safe_load_all((ROOT / "deploy/kserve/servingruntime.yaml").read_text()))


def test_kserve_knows_every_field():
    for document in documents():
        kind = KINDS[f"{document['apiVersion']} {document['kind']}"]
        check(document, kind, document["kind"])


def test_a_field_that_it_does_not_know_would_be_noticed():
    runtime = documents()[0]
    runtime["spec"]["supportedModelFormats"][0]["autoselect"] = True
    with pytest.raises(AssertionError, match="has no autoselect"):
        check(runtime, "V1alpha1ClusterServingRuntime", "runtime")


def test_its_containers_are_as_kubernetes_says():
    (container,) = documents()[0]["spec"]["containers"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    kubernetes_validate.validate(pod, NEWEST, strict=True)
