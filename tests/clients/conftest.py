"""What the tests stand on: processes that one module shares, ended when it is through."""

import pytest
from workbench import ModelServer, Script, Snapback


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
