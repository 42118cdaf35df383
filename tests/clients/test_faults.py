"""What model servers send when something goes wrong: the client gets the same bytes as without the proxy, and the meters know.
"""

import http.client
import json
import socket
import time

import pytest
from workbench import Script, Snapback, wait_for

SUCCESSES = ["ok", "onechunk", "bytewise", "crlf", "pings", "nosse", "openai-completed"]
ERRORS_IN_A_200 = """vllm-error vllm-early vllm-empty vllm-abort sglang-error tgi-error tgi-native llama-old ollama-error anthropic-error
    openai-failed litellm-error""".split()
CUT = ["truncated", "truncated-half", "reset"]
# All that end by themselves and that the proxy passes on.
CASES = [*SUCCESSES, *ERRORS_IN_A_200, "clean-no-done", *CUT, "tgi-424", "sglang-400", "late-close"]


@pytest.fixture(scope="module")
def proxy(faults, tmp_path_factory):
    blue = {"version": "v1", "instances": [faults.address]}
    endpoint = {"name": "faults", "blue": blue, "limits": {"idle_timeout": "500ms"}}
    with Snapback(tmp_path_factory.mktemp("faults"), [endpoint]) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def green():
    """The same faults, as a green."""
    with Script("faults.py") as server:
        yield server


@pytest.fixture(scope="module")
def direct(faults):
    """What the cases come to without the proxy."""
    return {case: call(faults.address, case) for case in CASES}


@pytest.fixture(scope="module")
def unrescued(faults, tmp_path_factory):
    """A proxy whose clients see green's failures."""
    blue = {"version": "v1", "instances": [faults.address]}
    endpoint = {"name": "faults", "blue": blue, "rescue": {"on": "never"}}
    with Snapback(tmp_path_factory.mktemp("unrescued"), [endpoint]) as proxy:
        yield proxy


def call(address, case):
    """Status, media type, body as far as it came, and whether it was complete."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request("POST", f"/{case}/v1/chat/completions", json.dumps({"stream": True}))
        answer = connection.getresponse()
        body, complete = b"", True
        try:
            while part := answer.read1(65536):
                body += part
        except (http.client.IncompleteRead, ConnectionError) as error:
            body, complete = body + getattr(error, "partial", b""), False
        return answer.status, answer.getheader("content-type"), body, complete
    finally:
        connection.close()


def differences(proxy, direct):
    """The cases that do not come to what they come to without the proxy."""
    return [case for case in CASES if call(proxy.address, case) != direct[case]]


@pytest.mark.parametrize("case", SUCCESSES)
def test_a_good_answer_arrives_as_it_was_sent_and_is_a_success(proxy, faults, case):
    with proxy.counted("faults") as counts:
        through = call(proxy.address, case)
    assert through == call(faults.address, case) and through[3]
    assert counts == {"requests": 1, "succeeded": 1}


@pytest.mark.parametrize("share", ["50%", "100%"])
def test_every_case_comes_to_the_same_at_a_split(unrescued, green, direct, share):
    with unrescued.split("faults", green.address, share):
        assert differences(unrescued, direct) + differences(unrescued, direct) == []


def test_every_case_comes_to_the_same_while_a_shift_goes_up_and_snaps_back(unrescued, green, direct):
    def check():
        assert differences(unrescued, direct) == []

    unrescued.up_and_back("faults", green.address, check)


@pytest.mark.parametrize("case", ERRORS_IN_A_200)
def test_an_error_inside_a_200_arrives_as_it_was_sent_and_is_a_failure(proxy, faults, case):
    with proxy.counted("faults") as counts:
        through = call(proxy.address, case)
    assert through == call(faults.address, case) and through[3]
    assert counts == {"requests": 1, "failed": 1, "in_band": 1}


def test_a_stream_that_ends_cleanly_in_the_middle_of_an_answer_was_cut_short(proxy, faults):
    with proxy.counted("faults") as counts:
        through = call(proxy.address, "clean-no-done")
    assert through == call(faults.address, "clean-no-done") and through[3]
    assert counts == {"requests": 1, "failed": 1, "truncated": 1}


@pytest.mark.parametrize("case", CUT)
def test_an_answer_that_is_cut_short_never_looks_complete_and_is_a_failure(proxy, faults, case):
    with proxy.counted("faults") as counts:
        through = call(proxy.address, case)
    assert through == call(faults.address, case) and not through[3]
    assert counts == {"requests": 1, "failed": 1, "truncated": 1}


def test_a_stream_that_stalls_is_ended_by_the_idle_limit_and_is_a_failure(proxy):
    with proxy.counted("faults") as counts:
        status, _, body, complete = call(proxy.address, "stall")
    assert (status, complete) == (200, False)
    assert body.count(b"data: ") == 3
    assert counts == {"requests": 1, "failed": 1, "idle_timeout": 1}


def test_a_model_that_failed_with_424_is_a_failure_and_a_request_it_refused_with_400_is_the_clients(proxy, faults):
    for case, status, wanted in [
        ("tgi-424", 424, {"requests": 1, "failed": 1, "server_error": 1}),
        ("sglang-400", 400, {"requests": 1, "client_errors": 1}),
    ]:
        with proxy.counted("faults") as counts:
            through = call(proxy.address, case)
        assert through == call(faults.address, case) and through[0] == status
        assert counts == wanted


def test_a_server_that_closes_without_a_byte_is_a_502_that_says_so(proxy):
    with proxy.counted("faults") as counts:
        status, media, body, _ = call(proxy.address, "drop")
    assert (status, media) == (502, "application/problem+json")
    problem = json.loads(body)
    assert (problem["type"], problem["side"]) == ("urn:snapback:upstream-reset", "upstream")
    assert (counts["requests"], counts["failed"], counts["reset"]) == (1, 1, 1)


def test_a_server_that_closes_after_its_answer_costs_no_later_request(proxy, faults):
    """The keep-alive race, 200 times over one client connection: each request may find its pooled connection just closed."""
    connection = http.client.HTTPConnection(proxy.address, timeout=20)
    before = faults.count("served")
    with proxy.counted("faults") as counts:
        for _ in range(200):
            connection.request("POST", "/late-close", b"{}")
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())) == (200, {"ok": True})
    connection.close()
    assert (counts["requests"], counts["succeeded"]) == (200, 200)
    assert faults.count("served") - before == 200, "no request is executed twice"


def test_a_client_that_leaves_before_the_answer_takes_the_request_along(proxy, faults):
    """Closing its connection is the only way to tell a model server that nobody waits any more."""
    host, port = proxy.address.split(":")
    served, left = faults.count("served"), faults.count("left")
    with proxy.counted("faults") as counts:
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(b"POST /mute HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}")
            wait_for("the request arrives", lambda: faults.count("served") > served)
        gone = time.monotonic()
        wait_for("the server is told", lambda: faults.count("left") > left)
        assert time.monotonic() - gone < 1.0
    assert counts == {"requests": 1, "client_gone": 1}
