"""A real llama.cpp behind the proxy, and the official openai client in front of it."""

import asyncio
import http.client
import json
import random
import re
import subprocess
import time

import pytest
from conversation import client, converse
from workbench import HERE, Script, Snapback, ask, wait_for

pytestmark = pytest.mark.real_servers
MODEL = "tiny"
CLIENTS = 100
# The server must compute each answer anew: what it kept from the last prompt changes an answer's last digits.
ANEW = {"extra_body": {"cache_prompt": False}}


@pytest.fixture(scope="module")
def models(tmp_path_factory, servers_python):
    folder = tmp_path_factory.mktemp("models")
    for name, width, layers in [("tiny", 64, 2), ("slow", 768, 8)]:
        size = ["--width", str(width), "--layers", str(layers)]
        subprocess.run([servers_python, HERE / "servers/tiny_gguf.py", folder / f"{name}.gguf", *size], check=True, timeout=60)
    return folder


def llama(models, python, name="tiny", *options):
    return Script("llama.py", models / f"{name}.gguf", *options, python=python)


@pytest.fixture(scope="module")
def blue(models, servers_python):
    with llama(models, servers_python) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(blue, tmp_path_factory):
    fleet = {"version": "v1", "instances": [blue.address]}
    with Snapback(tmp_path_factory.mktemp("llama"), [{"name": "chat", "blue": fleet}]) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def direct(blue):
    with client(blue.url) as api:
        return converse(api, MODEL, **ANEW)


def gauge(server, name):
    text = ask("GET", f"{server.url}/metrics")[2].decode()
    return float(re.search(rf"^llamacpp:{name} (\S+)$", text, re.MULTILINE)[1])


@pytest.mark.parametrize("share", ["0%", "50%", "100%"])
def test_every_call_comes_to_the_same_at_a_split(models, servers_python, proxy, direct, share):
    assert direct["chat"]["usage"]["completion_tokens"] == 8 and len(direct["chat, streamed"]) > 8
    with llama(models, servers_python) as green, client(proxy.url) as api, proxy.split("chat", green.address, share):
        assert converse(api, MODEL, **ANEW) == direct == converse(api, MODEL, **ANEW)


def test_every_call_comes_to_the_same_while_a_shift_goes_up_and_snaps_back(models, servers_python, proxy, direct):
    with llama(models, servers_python) as green, client(proxy.url) as api:

        def check():
            assert converse(api, MODEL, **ANEW) == direct

        assert proxy.up_and_back("chat", green.address, check)["fleets"]["green"]["traffic"]["failed"] == 0


def test_embeddings_are_the_same(models, servers_python, tmp_path):
    with llama(models, servers_python, "tiny", "--embedding") as server:
        fleet = {"version": "v1", "instances": [server.address]}
        with Snapback(tmp_path, [{"name": "embed", "blue": fleet}]) as proxy, client(proxy.url) as api, client(server.url) as direct:
            ask_for = {"model": MODEL, "input": ["rice", "four people"]}
            got, wanted = api.embeddings.create(**ask_for), direct.embeddings.create(**ask_for)
    assert len(wanted.data) == 2 and len(wanted.data[0].embedding) == 64
    assert got.model_dump() == wanted.model_dump()


def test_a_thousand_requests_pass_on_one_connection_though_the_server_closes_after_a_hundred(proxy):
    connection = http.client.HTTPConnection(proxy.address, timeout=30)
    connection.connect()
    ours = connection.sock
    body = json.dumps({"content": "rice"})
    with proxy.counted("chat") as counts:
        for _ in range(1000):
            connection.request("POST", "/tokenize", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 200 and json.loads(answer.read())["tokens"]
            assert connection.sock is ours, "what the server does to its connections is not the client's business"
    connection.close()
    assert (counts["requests"], counts["succeeded"]) == (1000, 1000)


def test_requests_that_come_when_the_server_closes_idle_connections_are_all_answered(models, servers_python, proxy):
    """This server closes a connection that was idle for 5 s, and each of these clients asks again just then."""
    rng = random.Random(5)

    async def client():
        host, port = proxy.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        statuses = []
        for pause in (0, rng.uniform(4.9, 5.1), rng.uniform(4.9, 5.1)):
            await asyncio.sleep(pause)
            writer.write(b'POST /tokenize HTTP/1.1\r\nhost: a\r\ncontent-length: 18\r\n\r\n{"content":"rice"}')
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", head.lower())[1]))
            statuses.append(head.split()[1])
        writer.close()
        return statuses

    async def clients():
        return await asyncio.gather(*(client() for _ in range(CLIENTS)))

    with llama(models, servers_python) as server, proxy.split("chat", server.address, "50%"):
        with proxy.counted("chat") as blue, proxy.counted("chat", "green") as green:
            assert asyncio.run(clients()) == [[b"200"] * 3] * CLIENTS
    assert blue["requests"] == blue["succeeded"] and green["requests"] == green["succeeded"]
    assert blue["requests"] + green["requests"] == 3 * CLIENTS


@pytest.fixture(scope="module")
def slow(models, servers_python):
    with llama(models, servers_python, "slow") as server:
        yield server


@pytest.fixture(scope="module")
def slow_proxy(slow, tmp_path_factory):
    fleet = {"version": "v1", "instances": [slow.address]}
    with Snapback(tmp_path_factory.mktemp("slow"), [{"name": "chat", "blue": fleet}]) as proxy:
        yield proxy


def test_generation_stops_when_the_client_leaves_after_the_first_token(slow, slow_proxy):
    """A client that leaves an answer that does not stream is another matter: this server computes such an answer to its end anyway."""
    with slow_proxy.counted("chat") as counts, client(slow_proxy.url) as api:
        # Far more tokens than come in a second.
        ask_for = {"model": MODEL, "prompt": "Once there was a fox who", "max_tokens": 1900, "extra_body": {"ignore_eos": True}}
        stream = api.completions.create(stream=True, **ask_for)
        assert next(stream).choices[0].text
        assert gauge(slow, "requests_processing") == 1
        stream.close()
        left = time.monotonic()
        wait_for("the server generates nothing", lambda: gauge(slow, "requests_processing") == 0)
        assert time.monotonic() - left < 1.0
    assert counts == {"requests": 1, "client_gone": 1}


def test_a_green_that_is_killed_is_snapped_back_and_no_client_sees_it(models, servers_python, proxy):
    guard = {"metric": "error_rate", "below": "1%"}
    strategy = {"type": "steps", "steps": [{"share": "50%", "bake": "1h"}]}
    with llama(models, servers_python) as green, client(proxy.url) as api:
        shift = proxy.start_shift("chat", green.address, strategy, guard=[guard])

        def now():
            api.completions.create(model=MODEL, prompt="rice", max_tokens=2)
            return proxy.shift(shift)

        wait_for("green serves", lambda: now()["fleets"]["green"]["traffic"]["succeeded"] > 5)
        green.child.kill()
        wait_for("the shift is over", lambda: now()["over"])
        over = now()
    assert over["state"] == "rolled_back" and over["cause"]["kind"] in ("alarm", "green_gone")
    assert 0 < over["fleets"]["green"]["traffic"]["failed"] == over["fleets"]["green"]["traffic"]["rescued"]
