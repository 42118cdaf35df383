"""Shadows: copies of requests whose answers nobody gets, and for which nobody waits."""

import contextlib
import http.client
import http.server
import json
import threading

import pytest
from workbench import Snapback, ask, wait_for


class Recorder(http.server.ThreadingHTTPServer):
    """Keeps what it was sent, and answers once it may."""

    daemon_threads = True

    def __init__(self, name):
        self.name, self.seen, self.may_answer = name, [], threading.Event()
        self.may_answer.set()
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self.server_port}"

    def bodies(self):
        return [body for _, _, body in self.seen]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])) if "content-length" in self.headers else self.chunks()
        self.server.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        self.server.may_answer.wait(60)
        answer = self.server.name.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(answer)

    def chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


@pytest.fixture
def servers():
    both = [Recorder("blue"), Recorder("dark")]
    yield both
    for server in both:
        server.may_answer.set()
        server.shutdown()


def ask_in_chunks(proxy, *parts):
    """The answer to a request whose body comes in parts, without a length."""
    connection = http.client.HTTPConnection(proxy.address, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", "/", iter(parts), encode_chunked=True, headers={"transfer-encoding": "chunked"})
        return connection.getresponse().read()


def endpoint(blue, shadow, **more):
    return {"name": "chat", "blue": {"version": "v1", "instances": [blue.address]}, "shadow": {"version": "v3", "name": "dark"} | shadow} | more


def shown(proxy):
    return proxy.endpoint("chat")["shadow"]


def settled(proxy, count):
    """What the shadow's fleet has counted, once so many copies are over."""
    def is_over():
        traffic = shown(proxy)["fleet"]["traffic"]
        return traffic["requests"] == count and traffic["in_flight"] == 0 and traffic
    return wait_for(f"{count} copies are over", is_over)


def test_a_share_of_the_requests_is_copied_whole_and_the_answers_are_the_fleets(tmp_path, servers):
    blue, dark = servers
    with Snapback(tmp_path, [endpoint(blue, {"instances": [dark.address], "share": "25%"})], workers=1) as proxy:
        for number in range(40):
            status, _, answer = ask("POST", f"{proxy.url}/v1/do?n={number}", str(number).encode(), {"x-mark": f"m{number}"})
            assert (status, answer) == (200, b"blue")
        traffic = settled(proxy, 10)
        assert traffic["succeeded"] == 10 and len(dark.seen) == 10
        sent = {path: (head["x-mark"], body) for path, head, body in blue.seen}
        assert all(sent[path] == (head["x-mark"], body) for path, head, body in dark.seen)
        _, _, metrics = ask("GET", f"{proxy.admin}/metrics")
        lines = metrics.decode().splitlines()
        assert 'snapback_shadow_requests_total{endpoint="chat",shadow="dark",outcome="success"} 10' in lines
        assert 'snapback_shadow_request_duration_seconds_count{endpoint="chat",shadow="dark"} 10' in lines
        assert 'snapback_requests_total{endpoint="chat",fleet="blue",outcome="success"} 40' in lines


def test_nobody_waits_for_a_shadow_that_does_not_answer_and_what_finds_no_place_is_counted(tmp_path, servers):
    blue, dark = servers
    dark.may_answer.clear()
    with Snapback(tmp_path, [endpoint(blue, {"instances": [dark.address], "max_in_flight": 3})], workers=1) as proxy:
        for number in range(20):
            assert ask("POST", f"{proxy.url}/", str(number).encode())[2] == b"blue"
        wait_for("three are there", lambda: len(dark.seen) == 3)
        assert sorted(dark.bodies()) == [b"0", b"1", b"2"]
        assert shown(proxy)["missed"] == {"busy": 17, "too_large": 0, "incomplete": 0}
        assert proxy.endpoint("chat")["blue"]["traffic"]["failed"] == 0
        dark.may_answer.set()
        assert settled(proxy, 3)["succeeded"] == 3
        assert ask("POST", f"{proxy.url}/", b"later")[2] == b"blue"
        wait_for("there is room again", lambda: dark.bodies()[-1] == b"later")


def test_large_bodies_are_not_copied_and_those_without_a_length_are(tmp_path, servers):
    blue, dark = servers
    with Snapback(tmp_path, [endpoint(blue, {"instances": [dark.address], "body_limit": "1KiB"})]) as proxy:
        assert ask("POST", f"{proxy.url}/", b"x" * 1025)[2] == b"blue"
        assert ask_in_chunks(proxy, b"y" * 700, b"z" * 700) == b"blue"
        assert ask_in_chunks(proxy, b"one ", b"two") == b"blue"
        assert settled(proxy, 1)["succeeded"] == 1
        assert dark.bodies() == [b"one two"]
        assert shown(proxy)["missed"]["too_large"] == 2
        assert len(blue.seen) == 3


def test_a_shadow_that_is_not_there_fails_nobody_but_itself(tmp_path, servers):
    blue, dark = servers
    dark.shutdown()
    dark.server_close()
    with Snapback(tmp_path, [endpoint(blue, {"instances": [dark.address]})]) as proxy:
        for _ in range(10):
            assert ask("POST", f"{proxy.url}/", b"hello")[2] == b"blue"
        assert settled(proxy, 10)["failed"] == 10
        traffic = proxy.endpoint("chat")["blue"]["traffic"]
        assert (traffic["requests"], traffic["failed"], traffic["succeeded"]) == (10, 0, 10)


def test_a_shadow_comes_changes_and_goes_with_the_declaration_and_a_shift_leaves_it(tmp_path, servers):
    blue, dark = servers
    with Snapback(tmp_path, [endpoint(blue, {"instances": [dark.address]})], workers=1) as proxy:
        declared = proxy.endpoint("chat")["declared"]
        put = lambda shadow: proxy.api("PUT", "/v1/endpoints/chat", {**declared, "shadow": {**declared["shadow"], **shadow}})
        assert put({"share": "0%"})[0] == 200
        ask("POST", f"{proxy.url}/", b"none")
        assert put({"share": "100%"})[0] == 200
        ask("POST", f"{proxy.url}/", b"one")
        with proxy.split("chat", {"version": "v2", "instances": [dark.address]}, "100%"):
            ask("POST", f"{proxy.url}/", b"two")
            assert settled(proxy, 2)["succeeded"] == 2
        assert sorted(dark.bodies()) == [b"one", b"two", b"two"]
        assert proxy.api("PUT", "/v1/endpoints/chat", {key: value for key, value in declared.items() if key != "shadow"})[0] == 200
        assert shown(proxy) is None
        ask("POST", f"{proxy.url}/", b"after")
        assert b"after" not in dark.bodies()
        status, problem = proxy.api("PUT", "/v1/endpoints/chat", {**declared, "shadow": {"version": "v3", "provider": {"type": "process"}}})
        assert status == 422 and "is not for a shadow: name its instances" in json.dumps(problem)
