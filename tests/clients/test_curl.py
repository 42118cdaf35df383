"""curl through the proxy: round trips, HEAD, uploads of both framings, Expect, streams event by event, limits."""

import hashlib
import json
import subprocess

import pytest
from workbench import Snapback, ask

LARGE = bytes(range(256)) * (8 << 12)  # 8 MiB
SHA256 = hashlib.sha256(LARGE).hexdigest()


@pytest.fixture(scope="module")
def proxy(faults, tmp_path_factory):
    blue = {"version": "v1", "instances": [faults.address]}
    small = {"name": "small", "match": {"path_prefix": "/echo/small/"}, "blue": blue, "limits": {"body_limit": "1MiB"}}
    with Snapback(tmp_path_factory.mktemp("curl"), [small, {"name": "all", "blue": blue}]) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "body"
    path.write_bytes(LARGE)
    return path


def curl(*arguments):
    done = subprocess.run(["curl", "-sS", "--max-time", "30", *map(str, arguments)], capture_output=True, timeout=40)
    assert done.returncode == 0, done.stderr
    return done.stdout


def received(*arguments):
    """What the model server received."""
    request = json.loads(curl(*arguments))
    request["headers"] = [(key.lower(), value) for key, value in request["headers"]]
    return request, dict(request["headers"])


def test_a_request_arrives_with_its_target_headers_and_body(proxy):
    body = '{"a": 1, "a": 2, "unknown": [{}], "text": "\\u00e9"}'
    target = "/echo/a%2Fb//c/../d?x=1&x=2&empty="
    request, headers = received("--path-as-is", f"{proxy.url}{target}", "-d", body, "-H", "x-Odd-Name: a, b", "-H", "X-Empty;")
    assert (request["method"], request["target"]) == ("POST", target)
    assert request["sha256"] == hashlib.sha256(body.encode()).hexdigest()
    assert headers["x-odd-name"] == "a, b" and headers["x-empty"] == ""
    assert headers["content-length"] == str(len(body))
    assert len(headers) == len(request["headers"]), "no header comes twice"


def test_a_header_that_comes_twice_stays_two_in_their_order(proxy):
    request, _ = received(f"{proxy.url}/echo", "-H", "x-part: one", "-H", "x-part: two")
    assert [value for key, value in request["headers"] if key == "x-part"] == ["one", "two"]


def test_headers_of_the_connection_stay_on_their_side(proxy):
    hop = ["-H", "connection: keep-alive, x-private", "-H", "x-private: 1", "-H", "keep-alive: timeout=9", "-H", "te: trailers"]
    _, headers = received(f"{proxy.url}/echo", *hop)
    assert not {"x-private", "keep-alive", "proxy-connection"} & set(headers)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_passes(proxy, method):
    assert received("-X", method, f"{proxy.url}/echo")[0]["method"] == method


def test_head_has_the_answers_headers_and_no_body(proxy):
    answer = curl("-I", f"{proxy.url}/health").decode().lower()
    assert answer.startswith("http/1.1 200") and 'content-length: 16\r\n' in answer


@pytest.mark.parametrize(("option", "shown"), [("--http1.1", b"< HTTP/1.1 100"), ("--http2-prior-knowledge", b"< HTTP/2 100")])
def test_a_large_body_waits_for_100_continue_and_arrives_whole(proxy, large, option, shown):
    patient = ["--expect100-timeout", "25", "-H", "expect: 100-continue"]
    command = ["curl", "-sSv", option, "--max-time", "30", *patient, f"{proxy.url}/echo", "--data-binary", f"@{large}"]
    done = subprocess.run(command, capture_output=True, timeout=40)
    assert done.returncode == 0
    assert shown in done.stderr, done.stderr
    request = json.loads(done.stdout)
    assert (request["length"], request["sha256"]) == (len(LARGE), SHA256)
    assert "expect" not in {key.lower() for key, _ in request["headers"]}, "the proxy has answered it"


def test_a_chunked_upload_arrives_whole(proxy, large):
    request, headers = received("-X", "POST", "-T", large, "-H", "transfer-encoding: chunked", f"{proxy.url}/echo")
    assert (request["length"], request["sha256"]) == (len(LARGE), SHA256)
    assert headers["transfer-encoding"] == "chunked" and "content-length" not in headers


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_a_body_above_the_limit_is_a_413_problem(proxy, large, framing):
    upload = ["--data-binary", f"@{large}", "-H", "expect:"]
    if framing == "chunked":
        upload += ["-H", "transfer-encoding: chunked"]
    *head, body = curl("-i", f"{proxy.url}/echo/small/x", *upload).decode().split("\r\n")
    assert head[0] == "HTTP/1.1 413 Payload Too Large"
    problem = json.loads(body)
    assert (problem["type"], problem["side"]) == ("urn:snapback:body-too-large", "downstream")


def test_a_body_at_the_limit_passes(proxy, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(LARGE[: 1 << 20])
    assert received(f"{proxy.url}/echo/small/x", "--data-binary", f"@{body}")[0]["length"] == 1 << 20


def test_each_event_of_a_stream_arrives_before_the_next_is_sent(proxy, faults):
    stream = subprocess.Popen(
        ["curl", "-sSN", "--max-time", "30", f"{proxy.url}/gated", "-d", "{}"], stdout=subprocess.PIPE
    )
    try:
        # The comment comes before any token; the server sends each next part only when told to.
        events = [stream.stdout.readline() + stream.stdout.readline()]
        for _ in range(9):
            ask("POST", f"{faults.url}/open")
            events.append(stream.stdout.readline() + stream.stdout.readline())
        assert events[0] == b": keep-alive\n\n" and events[-1] == b"data: [DONE]\n\n"
        assert stream.wait(timeout=20) == 0 and stream.stdout.read() == b""
    finally:
        stream.kill()
        stream.stdout.close()
        stream.wait()


def test_a_thousand_requests_pass_on_one_connection(proxy, tmp_path):
    config = tmp_path / "urls"
    request = f'url = "{proxy.url}/ok"\noutput = "/dev/null"\nwrite-out = "%{{http_code}} %{{num_connects}}\\n"\n'
    config.write_text("next\n".join([request] * 1000))
    lines = curl("-K", config).decode().split("\n")
    assert lines[0] == "200 1" and lines[1:1000] == ["200 0"] * 999
