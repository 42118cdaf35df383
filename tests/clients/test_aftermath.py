"""What a rollback tells of itself: its moments, and what became of the streams that green still had, on the API, in the metrics and in words."""

import http.client
import signal
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse
from test_retirement import Stream
from workbench import Script, Snapback, ask, wait_for

MOMENTS = ("breach_at", "decided_at", "published_at", "last_green_dispatch_at", "drained_at", "ended_at")
ALL = {"type": "all_at_once", "final_bake": "1h"}


@pytest.fixture
def green():
    with Script("faults.py") as server:
        yield server


@pytest.fixture
def proxy(v1, tmp_path):
    with Snapback(tmp_path, [{"name": "chat", "blue": {"version": "v1", "instances": [v1.address]}}]) as proxy:
        yield proxy


def opened(proxy, path):
    """A request whose answer nobody has read yet."""
    connection = http.client.HTTPConnection(proxy.address, timeout=60)
    connection.request("POST", path, b"{}")
    return connection


def in_flight(proxy, count):
    wait_for(f"{count} in flight", lambda: proxy.endpoint("chat")["green"]["traffic"]["in_flight"] == count)


def sample(proxy, name, **labels):
    families = {family.name: family for family in parse(ask("GET", f"{proxy.admin}/metrics")[2].decode())}
    found = [one.value for one in families[name].samples if labels.items() <= one.labels.items()] if name in families else []
    return found[0] if found else None


def test_streams_finish_are_given_up_or_outlast_the_drain_and_each_is_told(proxy, green):
    shift = proxy.start_shift("chat", green.address, ALL, drain_timeout="3s")
    proxy.wait_for_shift(shift, state="baking", share="100%")
    finishing, leaving, stalled = Stream(proxy, green, "green"), opened(proxy, "/mute"), opened(proxy, "/stall")
    in_flight(proxy, 3)
    status, aborted = proxy.api("POST", f"/v1/shifts/{shift}/abort", {"reason": "to see"})
    assert status == 200 and aborted["open_requests"]["open"] == 3, aborted["open_requests"]
    finishing.to_its_end()
    leaving.close()
    over = proxy.wait_for_shift(shift, state="rolled_back")
    none = {"open": 0, "late": 0, "finished": 0, "rescued": 0, "failed": 0, "client_gone": 0, "running": 0, "cut": 0}
    assert over["open_requests"] == none | {"open": 3, "finished": 1, "client_gone": 1, "running": 1}
    assert (
        "Of the 3 requests that green still had, 1 finished, 1 was given up by its client and 1 had not ended at the drain deadline."
        in over["explanation"]
    ), over["explanation"]
    counted = lambda result: sample(proxy, "snapback_rollback_open_requests", result=result)
    wait_for("the metrics", lambda: counted("running") == 1)
    assert (counted("finished"), counted("client_gone"), counted("cut")) == (1, 1, 0)
    stalled.close()


def test_a_green_that_dies_after_the_decision_has_its_requests_rescued(proxy, green):
    shift = proxy.start_shift("chat", green.address, ALL)
    proxy.wait_for_shift(shift, state="baking", share="100%")
    waiting = opened(proxy, "/mute")
    in_flight(proxy, 1)
    proxy.api("POST", f"/v1/shifts/{shift}/abort", {"reason": "to see"})
    green.stop(signal.SIGKILL)
    assert waiting.getresponse().status == 404, "blue's answer"
    over = proxy.wait_for_shift(shift, state="rolled_back")
    assert over["open_requests"]["rescued"] == 1, over["open_requests"]
    assert "went to blue before its client saw anything" in over["explanation"]


def test_a_rollback_by_an_alarm_has_its_moments_in_order_and_its_streams_go_on(proxy, green):
    guard = {"name": "errors", "metric": "error_rate", "below": "1%"}
    shift = proxy.start_shift("chat", green.address, ALL, guard=[guard], max_failures=1000)
    proxy.wait_for_shift(shift, state="baking", share="100%")
    stream = Stream(proxy, green, "green")
    failing = threading.Event()

    def fail():
        while not failing.is_set():
            ask("POST", f"{proxy.url}/tgi-424", {})

    clients = [threading.Thread(target=fail) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        proxy.wait_for_shift(shift, state="rolling_back")
    finally:
        failing.set()
        for client in clients:
            client.join()
    assert proxy.shift(shift)["open_requests"]["running"] == 1
    stream.to_its_end()
    over = proxy.wait_for_shift(shift, state="rolled_back")
    moments = [over[name] for name in MOMENTS]
    assert all(moments) and moments[:3] == sorted(moments[:3]) and moments[4:] == sorted(moments[4:]), over
    assert over["last_green_dispatch_at"] <= over["drained_at"] and over["published_at"] <= over["drained_at"]
    fate = over["open_requests"]
    assert fate["open"] + fate["late"] == sum(fate[end] for end in ("finished", "rescued", "failed", "client_gone", "running", "cut"))
    assert fate["finished"] >= 1 and fate["running"] == 0, fate
    assert over["failure_budget"]["max_failures"] == 1000
    wait_for("the metrics", lambda: sample(proxy, "snapback_rollback_decision_seconds") is not None)
    assert sample(proxy, "snapback_rollback_drain_seconds") > 0
    assert sample(proxy, "snapback_rollback_green_responses") == over["green_responses_to_decision"]


def test_alarms_of_every_kind_are_in_the_metrics_while_the_shift_runs_and_no_longer(proxy, green):
    plan = {
        "guard": [{"name": "errors", "metric": "error_rate", "below": "50%"}],
        "regression": [{"name": "worse", "metric": "error_rate", "tolerance": "50%"}],
        "threshold": [{"name": "many", "metric": "requests", "above": 1000000, "period": "1s"}],
        "external": [{"name": "quality"}],
        "max_failures": 50,
    }
    steps = {"type": "steps", "steps": [{"share": "50%", "bake": "1h"}]}
    shift = proxy.start_shift("chat", green.address, steps, **plan)
    proxy.wait_for_shift(shift, state="baking")
    for _ in range(20):
        ask("POST", f"{proxy.url}/ok", {})
    kinds = ("errors", "worse", "many", "quality", "max_failures")
    for alarm in kinds:
        assert sample(proxy, "snapback_alarm_nearness", alarm=alarm) is not None, alarm
        states = [sample(proxy, "snapback_alarm_state", alarm=alarm, state=state) for state in ("ok", "alarm", "insufficient_data")]
        assert sum(states) == 1 and states[1] == 0, (alarm, states)
    for alarm in ("errors", "worse", "max_failures"):
        assert sample(proxy, "snapback_alarm_bound", alarm=alarm) is not None, alarm
    wait_for("a period", lambda: sample(proxy, "snapback_alarm_value", alarm="many") is not None)
    assert sample(proxy, "snapback_alarm_bound", alarm="many") == 1000000
    assert sample(proxy, "snapback_alarm_evidence", alarm="errors") is not None
    proxy.api("POST", f"/v1/shifts/{shift}/abort", {"reason": "enough"})
    proxy.wait_for_shift(shift, state="rolled_back")
    assert sample(proxy, "snapback_alarm_state") is None and sample(proxy, "snapback_alarm_nearness") is None
