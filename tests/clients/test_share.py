"""Load by h2load: the model servers' own counters show the split that was asked for, exactly."""

import re
import subprocess

import pytest
from workbench import Script, Snapback

REQUESTS = 4000


@pytest.fixture(scope="module")
def green():
    with Script("faults.py") as server:
        yield server


@pytest.fixture(scope="module")
def proxy(faults, tmp_path_factory):
    blue = {"version": "v1", "instances": [faults.address]}
    with Snapback(tmp_path_factory.mktemp("share"), [{"name": "chat", "blue": blue}]) as proxy:
        yield proxy


def load(url, *options):
    """All of the requests, of which none may fail."""
    command = ["h2load", "-n", str(REQUESTS), "-c", "16", *options, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{REQUESTS} succeeded, 0 failed, 0 errored", done.stdout), done.stdout


# Requests of each connection one after the other, as with HTTP/1; test_http2.py has many at a time.
@pytest.mark.parametrize("protocol", ["http/1.1", "h2c"])
# Cards and green cards of a block: the smallest that holds the share exactly, at least twenty cards.
@pytest.mark.parametrize(("share", "cards", "green_cards"), [("5%", 20, 1), ("25%", 20, 5), ("37.5%", 24, 9), ("50%", 20, 10)])
@pytest.mark.parametrize("case", ["echo", "onechunk"])
def test_green_gets_its_share_within_a_block_for_each_worker(proxy, faults, green, protocol, case, share, cards, green_cards):
    with proxy.split("chat", green.address, share):
        blue_before, green_before = faults.count("served"), green.count("served")
        load(f"{proxy.url}/{case}", f"--no-tls-proto={protocol}")
        blue_got, green_got = faults.count("served") - blue_before, green.count("served") - green_before
        meters = proxy.endpoint("chat")["green"]["traffic"]
    assert blue_got + green_got == REQUESTS
    wanted = REQUESTS * green_cards / cards
    assert abs(green_got - wanted) <= 2 * green_cards, "at most one unfinished block for each of two workers"
    assert (meters["requests"], meters["failed"]) == (green_got, 0)
