"""A stream stays with the fleet that began it, and that fleet is retired only after the stream has ended."""

import http.client

import pytest
from test_faults import call
from workbench import Script, Snapback, ask


@pytest.fixture(scope="module")
def other():
    with Script("faults.py") as server:
        yield server


class Stream:
    """An answer whose next event the server sends only when it is told to."""

    EVENTS = 10

    def __init__(self, proxy, server, fleet):
        self.server = server
        self.connection = http.client.HTTPConnection(proxy.address, timeout=30)
        self.connection.request("POST", "/gated", b"{}")
        self.answer = self.connection.getresponse()
        assert self.answer.getheader("x-snapback-fleet") == fleet
        self.events = []
        self.take()

    def take(self):
        self.events.append(self.answer.readline() + self.answer.readline())

    def go_on(self):
        ask("POST", f"{self.server.url}/open")
        self.take()

    def to_its_end(self):
        """All of its events."""
        while len(self.events) < self.EVENTS:
            self.go_on()
        assert self.answer.read() == b""
        self.connection.close()
        return b"".join(self.events)


@pytest.fixture
def proxy(faults, tmp_path):
    blue = {"version": "v1", "instances": [faults.address]}
    with Snapback(tmp_path, [{"name": "chat", "blue": blue}]) as proxy:
        yield proxy


def served_by(proxy):
    return ask("POST", f"{proxy.url}/ok", b"{}")[1]["x-snapback-fleet"]


def is_whole(answer, faults):
    """A keep-alive comment, then what the server always says."""
    return answer == b": keep-alive\n\n" + call(faults.address, "ok")[2]


def test_a_stream_of_blue_survives_the_promotion_and_blue_is_retired_after_it(proxy, faults, other):
    old = Stream(proxy, faults, "blue")
    shift = proxy.start_shift("chat", other.address, {"type": "all_at_once", "final_bake": "1h"})
    proxy.wait_for_shift(shift, state="baking", share="100%")
    assert served_by(proxy) == "green"
    proxy.api("POST", f"/v1/shifts/{shift}/promote", {"reason": "good"})
    proxy.wait_for_shift(shift, state="retiring")
    served = other.count("served")
    old.go_on()
    # Green is the fleet in service now.
    assert (served_by(proxy), other.count("served"), proxy.shift(shift)["state"]) == ("blue", served + 1, "retiring")
    assert is_whole(old.to_its_end(), faults)
    assert proxy.wait_for_shift(shift, state="promoted")["drained_at"] is not None


def test_a_stream_of_green_survives_the_snapback_and_green_is_retired_after_it(proxy, faults, other):
    shift = proxy.start_shift("chat", other.address, {"type": "all_at_once", "final_bake": "1h"})
    proxy.wait_for_shift(shift, state="baking", share="100%")
    new = Stream(proxy, other, "green")
    proxy.api("POST", f"/v1/shifts/{shift}/abort", {"reason": "to see"})
    proxy.wait_for_shift(shift, state="rolling_back")
    new.go_on()
    assert (served_by(proxy), proxy.shift(shift)["state"]) == ("blue", "rolling_back")
    assert is_whole(new.to_its_end(), faults)
    assert proxy.wait_for_shift(shift, state="rolled_back")["drained_at"] is not None
