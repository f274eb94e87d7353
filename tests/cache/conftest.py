"""Servers of the tests of this folder."""

from __future__ import annotations

import pytest

from tests.cache.disk_folder import Wall
from tests.cache.recording import Recorder
from tests.fakes.redis_server import redis_server


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory):
    """Run a server for tests that leave it as it was."""
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def own_server(tmp_path):
    """Run a server that a test may mistreat."""
    with redis_server(tmp_path) as running:
        yield running


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "deep" / "cache"
