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


# The clients' messages have the same names and differ: a process loads only those it tests.


@pytest.fixture(params=["http", "grpc"])
def triton(server, request):
    from triton import connect

    triton = connect(server, request.param)
    yield triton
    triton.client.close()


@pytest.fixture
def serving(server):
    from tfserving import TFServing

    serving = TFServing(server.grpc)
    yield serving
    serving.channel.close()
