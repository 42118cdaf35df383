"""What the tests stand on: processes that one module shares, ended when it is through."""

import os

import pytest
from workbench import ModelServer, Script, Snapback


def pytest_configure(config):
    config.addinivalue_line("markers", "real_servers: needs servers/requirements.txt, in the environment of SNAPBACK_SERVERS_PYTHON")


@pytest.fixture(scope="session")
def servers_python():
    """The Python that has the real model servers."""
    return os.environ["SNAPBACK_SERVERS_PYTHON"]


@pytest.fixture(scope="module")
def faults():
    with Script("faults.py") as server:
        yield server


@pytest.fixture(scope="module")
def v1():
    with ModelServer("v1") as server:
        yield server


@pytest.fixture(scope="module")
def twin():
    """A second v1: what it answers is what the first one answers."""
    with ModelServer("v1") as server:
        yield server


@pytest.fixture(scope="module")
def v3():
    with ModelServer("v3") as server:
        yield server


@pytest.fixture(scope="module")
def chat(v1, tmp_path_factory):
    """A proxy with the one endpoint `chat`, served by v1."""
    blue = {"version": "v1", "instances": [v1.address]}
    with Snapback(tmp_path_factory.mktemp("chat"), [{"name": "chat", "blue": blue}]) as proxy:
        yield proxy
