"""One world for all tests that look at figures."""

import shutil

import pytest

from world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    lacking = [program for program in ("prometheus", "promtool", "haproxy") if not shutil.which(program)]
    if lacking:
        pytest.skip(f"there is no {', '.join(lacking)}")
    world = World(tmp_path_factory.mktemp("world"))
    try:
        world.live()
        yield world
    finally:
        world.close()
