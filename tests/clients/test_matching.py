"""Which endpoint a request comes to, and which instance: by host, path, header and model, over both protocols."""

import collections
import json
import subprocess

import pytest
from workbench import Script, Snapback, ask

RULES = {
    "exact": {"host": "chat.example.org"},
    "wildcard": {"host": "*.example.org"},
    "wildcard and prefix": {"host": "*.example.org", "path_prefix": "/echo/deep"},
    "prefix": {"path_prefix": "/echo/v1"},
    "longer prefix": {"path_prefix": "/echo/v1/chat"},
    "header": {"header": {"name": "X-Tenant", "value": "red"}},
    "prefix and header": {"path_prefix": "/echo/v1", "header": {"name": "x-tenant", "value": "red"}},
    "model": {"models": ["llama-3", "llama-3-b"]},
    "the rest": {},
}


def name(rule):
    return rule.replace(" ", "-")


@pytest.fixture(scope="module")
def proxy(faults, tmp_path_factory):
    blue = {"version": "v1", "instances": [faults.address]}
    endpoints = [{"name": name(rule), "blue": blue} | ({"match": match} if match else {}) for rule, match in RULES.items()]
    # What is below /echo/moved is /echo/to to its model servers.
    moved = {"name": "moved", "blue": blue, "match": {"path_prefix": "/echo/moved"}, "rewrite": {"prefix": "/echo/to"}}
    with Snapback(tmp_path_factory.mktemp("matching"), [*endpoints, moved]) as proxy:
        yield proxy


def document(model, before=b""):
    return b'{"messages":["' + before + b'"],"model":"' + model + b'"}'


# What is asked for, beside a plain GET of /echo, and whose request that is.
ASKED = [
    ("the rest", "/echo", {}, None),
    ("exact", "/echo", {"host": "chat.example.org"}, None),
    ("exact", "/echo/v1/chat", {"host": "CHAT.example.org:8080"}, None),
    ("wildcard", "/echo", {"host": "other.example.org"}, None),
    ("wildcard", "/echo", {"host": "a.b.example.org"}, None),
    ("the rest", "/echo", {"host": "example.org"}, None),
    ("the rest", "/echo", {"host": "notexample.org"}, None),
    ("wildcard and prefix", "/echo/deep/down", {"host": "other.example.org"}, None),
    ("prefix", "/echo/v1", {}, None),
    ("prefix", "/echo/v1/other?x=1", {}, None),
    ("the rest", "/echo/v10", {}, None),
    ("longer prefix", "/echo/v1/chat/completions", {}, None),
    # However the path is written, it is the same one.
    ("longer prefix", "/echo/x/..//v1/./%63hat", {}, None),
    ("header", "/echo", {"x-tenant": "red"}, None),
    ("the rest", "/echo", {"x-tenant": "Red"}, None),
    ("prefix and header", "/echo/v1/other", {"x-tenant": "red"}, None),
    ("longer prefix", "/echo/v1/chat", {"x-tenant": "red"}, None),
    ("model", "/echo", {}, document(b"llama-3")),
    ("model", "/echo", {}, document(b"llama-3-b", b"x" * 20_000)),
    ("model", "/echo", {}, document(b"llama\\u002d3")),
    ("the rest", "/echo", {}, document(b"llama-30")),
    ("the rest", "/echo", {}, b'{"messages":[{"model":"llama-3"}]}'),
    ("the rest", "/echo", {}, b"llama-3"),
    ("header", "/echo", {"x-tenant": "red"}, document(b"llama-3")),
]


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2-prior-knowledge"])
@pytest.mark.parametrize(("rule", "target", "headers", "body"), ASKED)
def test_a_request_comes_to_the_endpoint_whose_rule_is_narrowest_and_arrives_as_sent(proxy, protocol, rule, target, headers, body):
    options = [word for header in headers.items() for word in ("-H", ": ".join(header))]
    options += ["-H", "content-type: application/json", "--data-binary", "@-"] if body else []
    command = ["curl", "-sS", "--max-time", "30", "--path-as-is", protocol, *options, f"{proxy.url}{target}"]
    with proxy.counted(name(rule)) as counts:
        done = subprocess.run(command, input=body, capture_output=True, timeout=40)
        assert done.returncode == 0, done.stderr
        got = json.loads(done.stdout)
    assert counts["requests"] == 1
    assert (got["target"], got["length"]) == (target, len(body or b""))


def test_a_path_may_be_another_one_to_the_model_servers(proxy):
    for target, wanted in [("/echo/moved", "/echo/to"), ("/echo/moved/a%2Fb?c=d", "/echo/to/a%2Fb?c=d")]:
        assert json.loads(ask("GET", f"{proxy.url}{target}")[2])["target"] == wanted
    assert json.loads(ask("GET", f"{proxy.url}/echo/moved2")[2])["target"] == "/echo/moved2"


def test_a_rule_that_another_endpoint_has_is_refused(proxy, faults):
    blue = {"version": "v1", "instances": [faults.address]}
    status, problem = proxy.api("PUT", "/v1/endpoints/again", {"blue": blue, "match": {"host": "CHAT.example.org"}})
    assert status >= 400 and "exact" in problem["detail"] and "neither rule is narrower" in problem["detail"], problem


@pytest.fixture(scope="module")
def instances():
    with Script("faults.py") as one, Script("faults.py") as other:
        yield one, other


def test_instances_take_turns_or_keep_what_they_know_as_the_endpoint_says(instances, tmp_path):
    blue = {"version": "v1", "instances": [instance.address for instance in instances]}
    turns = {"name": "turns", "blue": blue, "balance": "round_robin"}
    sessions = {"name": "sessions", "blue": blue, "match": {"host": "sessions"}, "balance": {"header": "x-session-id"}}
    # Each worker has turns of its own.
    with Snapback(tmp_path, [turns, sessions], workers=1) as proxy:

        def served(**headers):
            before = [instance.count("served") for instance in instances]
            assert ask("GET", f"{proxy.url}/ok", headers=headers)[0] == 200
            (place,) = [place for place, instance in enumerate(instances) if instance.count("served") > before[place]]
            return place

        assert collections.Counter(served() for _ in range(10)) == {0: 5, 1: 5}
        places = [{served(**{"host": "sessions", "x-session-id": f"s{session}"}) for _ in range(3)} for session in range(16)]
        assert all(len(place) == 1 for place in places), "a session stays where it is"
        assert set.union(*places) == {0, 1}
