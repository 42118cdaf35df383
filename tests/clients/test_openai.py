"""The official openai client through the proxy: every call comes to what it comes to without the proxy, whatever the split is."""

import signal
import socket

import openai
import pytest
from conversation import MESSAGES, client, converse
from workbench import Snapback, ask, wait_for

MODEL = "tiny"


@pytest.fixture(scope="module")
def direct(v1):
    """What the calls come to without the proxy."""
    with client(v1.url) as api:
        return converse(api, MODEL)


def test_the_calls_are_worth_comparing(direct):
    assert direct["chat"]["system_fingerprint"] == "v1"
    assert direct["chat"]["usage"]["completion_tokens"] == 8
    assert direct["chat to its own end"]["choices"][0]["finish_reason"] == "stop"
    assert len(direct["chat, streamed"]) >= 4
    assert direct["chat, streamed with usage"][-1]["usage"]["completion_tokens"] == 8
    assert direct["no messages"][:2] == ("BadRequestError", 400)
    assert direct["an unknown path"][1] == 404


@pytest.mark.parametrize("share", ["0%", "50%", "100%"])
def test_every_call_comes_to_the_same_at_a_split(chat, twin, direct, share):
    with client(chat.url) as api, chat.split("chat", twin.address, share):
        # Twice, so that some worker gets more than half a block of draws and both fleets have served.
        assert converse(api, MODEL) == direct == converse(api, MODEL)
        asked = 2 * len(direct)
        if share == "50%":
            assert 0 < chat.endpoint("chat")["green"]["traffic"]["requests"] < asked
        if share == "100%":
            assert chat.endpoint("chat")["green"]["traffic"]["requests"] == asked


def test_every_call_comes_to_the_same_while_a_shift_goes_up_and_snaps_back(chat, twin, direct):
    with client(chat.url) as api:

        def check():
            assert converse(api, MODEL) == direct

        green = chat.up_and_back("chat", twin.address, check)["fleets"]["green"]["traffic"]
    assert green["failed"] == 0 < green["succeeded"]


@pytest.mark.parametrize("rescue", ["never", "before_first_byte"])
def test_a_failing_green_is_snapped_back_and_the_client_sees_what_was_not_rescued(v1, v3, direct, tmp_path, rescue):
    guard = {"metric": "error_rate", "below": "1%"}
    strategy = {"type": "steps", "steps": [{"share": "50%", "bake": "1h"}]}
    blue = {"version": "v1", "instances": [v1.address]}
    failures = 0
    with Snapback(tmp_path, [{"name": "chat", "blue": blue, "rescue": {"on": rescue}}]) as proxy, client(proxy.url) as api:
        shift = proxy.start_shift("chat", v3.address, strategy, guard=[guard])

        def rolled_back():
            nonlocal failures
            try:
                api.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=4)
            except openai.InternalServerError as error:
                failures += 1
                assert "vocabulary" in str(error)
            return proxy.shift(shift)["over"]

        wait_for("the shift is over", rolled_back)
        assert converse(api, MODEL) == direct
        over = proxy.shift(shift)
    assert (over["state"], over["cause"]["kind"]) == ("rolled_back", "alarm")
    green = over["fleets"]["green"]["traffic"]
    seen, rescued = (green["failed"], 0) if rescue == "never" else (0, green["failed"])
    assert green["failed"] > 0 and (failures, green["rescued"]) == (seen, rescued)


def test_a_client_that_leaves_a_stream_counts_for_nobody(faults, tmp_path):
    blue = {"version": "v1", "instances": [faults.address]}
    with Snapback(tmp_path, [{"name": "chat", "blue": blue}]) as proxy, proxy.counted("chat") as counts:
        with openai.OpenAI(base_url=f"{proxy.url}/stall", api_key="none", max_retries=0, timeout=30) as api:
            stream = api.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
            assert next(event.choices[0].delta.content for event in stream if event.choices[0].delta.content) == " a"
            stream.close()
    assert counts == {"requests": 1, "client_gone": 1}


def refused(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
        return False
    except (ConnectionRefusedError, ConnectionResetError):
        # A handshake in flight at the moment a socket stops listening ends in a reset.
        return True


def test_sigterm_lets_an_open_stream_finish_and_takes_no_new_connection(faults, tmp_path):
    blue = {"version": "v1", "instances": [faults.address]}
    with (
        Snapback(tmp_path, [{"name": "chat", "blue": blue}]) as proxy,
        openai.OpenAI(base_url=f"{proxy.url}/gated", api_key="none", max_retries=0, timeout=30) as api,
    ):
        ask("POST", f"{faults.url}/open")
        stream = api.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        assert next(stream).choices[0].delta.role == "assistant"
        proxy.child.send_signal(signal.SIGTERM)
        wait_for("no connection is taken", lambda: refused(proxy.address))
        for _ in range(8):
            ask("POST", f"{faults.url}/open")
        rest = list(stream)
        assert "".join(event.choices[0].delta.content or "" for event in rest if event.choices) == " t0 t1 t2 t3 t4"
        assert rest[-1].usage.completion_tokens == 5
        assert proxy.child.wait(timeout=20) == 0
