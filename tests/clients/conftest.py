"""Fixtures: one server for all tests of a run, and onnxruntime over the same models."""

import pytest
from reference import Reference
from server import Server


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def server(models):
    server = Server(models)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def reference(server, models):
    return Reference(models)
