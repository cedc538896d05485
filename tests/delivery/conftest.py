"""Fixtures: one server for most tests, to which each adds a model of its own; figures that are measured."""

import pytest

import fashion
from server import Server

MEASURED = pytest.StashKey[list]()


def pytest_configure(config):
    config.stash[MEASURED] = []


def pytest_terminal_summary(terminalreporter, config):
    terminalreporter.section("measured")
    for line in config.stash[MEASURED]:
        terminalreporter.line(line)


def pytest_collection_modifyitems(items):
    if not fashion.DATASET.is_dir():
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"{fashion.DATASET} has no Fashion-MNIST"))


@pytest.fixture
def measured(request):
    """Tells a figure at the end of the run."""
    name = request.node.name
    return lambda line: request.config.stash[MEASURED].append(f"{name}: {line}")


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("models"))
    yield server
    server.stop()


@pytest.fixture
def own_server(tmp_path):
    """Makes servers with flags of their own, or to be restarted."""
    servers = []

    def make(*flags: str) -> Server:
        models = tmp_path / f"models{len(servers)}"
        models.mkdir()
        servers.append(Server(models, *flags))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()
