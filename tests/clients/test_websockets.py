"""A WebSocket client and server with the proxy in between, in clear, over TLS, and to an instance that speaks HTTP/2."""

import ast
import asyncio
import contextlib
import signal
import ssl

import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from workbench import PATIENCE_SECONDS, Script, Snapback, ask, wait_for

LARGE = bytes(range(256)) * (8 << 12)  # 8 MiB
MESSAGES = 10_000


@pytest.fixture(scope="module")
def sockets():
    with Script("sockets.py") as server:
        yield server


@pytest.fixture(scope="module", params=["ws", "wss", "ws to h2c"])
def proxy(request, sockets, tmp_path_factory):
    """A proxy, its URL for WebSockets and what a client needs to trust it."""
    scheme = request.param.split()[0]
    folder, trust, data = tmp_path_factory.mktemp(scheme), None, {}
    if scheme == "wss":
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        trust = ssl.create_default_context()
        authority.configure_trust(trust)
        data["tls"] = {"certificates": [{"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}]}
    blue = {"version": "v1", "instances": [sockets.address]}
    with contextlib.ExitStack() as running:
        if request.param == "ws to h2c":
            # Another proxy is an instance that knows extended CONNECT.
            inner = running.enter_context(Snapback(tmp_path_factory.mktemp("inner"), [{"name": "inner", "blue": blue}]))
            blue = {"version": "v1", "instances": [inner.address], "protocol": "h2c"}
        closed = {"name": "closed", "match": {"path_prefix": "/closed"}, "blue": blue, "upgrades": []}
        proxy = running.enter_context(Snapback(folder, [{"name": "chat", "blue": blue}, closed], **data))
        proxy.socket_url, proxy.trust = f"{scheme}://{proxy.address}/v1/stream", trust
        yield proxy


def dial(proxy, **options):
    return connect(proxy.socket_url, ssl=proxy.trust, max_size=None, open_timeout=PATIENCE_SECONDS, proxy=None, **options)


def run(conversation):
    return asyncio.run(asyncio.wait_for(conversation, PATIENCE_SECONDS))


def test_ten_thousand_messages_come_back_in_their_order(proxy):
    async def conversation():
        async with dial(proxy) as socket:
            async def say():
                for number in range(MESSAGES):
                    await socket.send(f"message {number}")

            saying = asyncio.create_task(say())
            for number in range(MESSAGES):
                assert await socket.recv() == f"message {number}"
            await saying

    with proxy.counted("chat") as counts:
        run(conversation())
    assert counts["succeeded"] == counts["requests"] == 1


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_message_of_8_mib_comes_back_whole(proxy, compression):
    async def conversation():
        async with dial(proxy, compression=compression) as socket:
            assert ("permessage-deflate" in socket.response.headers.get("sec-websocket-extensions", "")) == (compression is not None)
            for _ in range(2):
                await socket.send(LARGE)
                assert await socket.recv() == LARGE

    run(conversation())


def test_pings_subprotocols_and_headers_pass(proxy):
    async def conversation():
        async with dial(proxy, subprotocols=["tokens.v2", "tokens.v1"], additional_headers={"x-session": "7"}) as socket:
            assert socket.subprotocol == "tokens.v1"
            await (await socket.ping(b"are you there"))
            await socket.send("headers")
            headers = dict(ast.literal_eval(await socket.recv()))
            assert headers["x-session"] == "7" and headers["x-forwarded-for"] == "127.0.0.1"
            assert headers["upgrade"] == "websocket" and headers["connection"].lower() == "upgrade"

    run(conversation())


def test_close_codes_pass_both_ways(proxy):
    async def conversation():
        async with dial(proxy) as socket:
            await socket.send("close 4001")
            with pytest.raises(ConnectionClosedError) as closed:
                await socket.recv()
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as told")
        async with dial(proxy) as socket:
            await socket.close(1001, "going")
            with pytest.raises(ConnectionClosedOK) as closed:
                await socket.recv()
            assert closed.value.rcvd.code == 1001

    with proxy.counted("chat") as counts:
        run(conversation())
    assert counts["succeeded"] == counts["requests"] == 2


def test_a_hundred_open_sockets_are_counted_until_they_close(proxy):
    def gauge():
        metrics = ask("GET", f"{proxy.admin}/metrics")[2].decode()
        return float(next(line for line in metrics.splitlines() if line.startswith("snapback_upgraded_connections ")).split()[1])

    async def conversation():
        opened = await asyncio.gather(*(dial(proxy) for _ in range(100)))
        assert await asyncio.to_thread(gauge) == 100
        assert (await asyncio.to_thread(proxy.endpoint, "chat"))["blue"]["traffic"]["in_flight"] == 100
        for number, socket in enumerate(opened):
            await socket.send(str(number))
        assert [await socket.recv() for socket in opened] == [str(number) for number in range(100)]
        await asyncio.gather(*(socket.close() for socket in opened))

    run(conversation())
    wait_for("no socket is open", lambda: gauge() == 0)


def test_an_endpoint_without_upgrades_passes_on_a_plain_request(proxy):
    async def conversation():
        url = proxy.socket_url.replace("/v1/stream", "/closed")
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, ssl=proxy.trust, proxy=None)
        assert refused.value.response.status_code == 426

    run(conversation())


def test_sockets_stay_with_their_fleet_through_a_shift_and_its_rollback(sockets, tmp_path):
    blue = {"version": "v1", "instances": [sockets.address]}
    with Script("sockets.py") as green, Snapback(tmp_path, [{"name": "chat", "blue": blue}]) as proxy:
        proxy.socket_url, proxy.trust = f"ws://{proxy.address}/", None

        async def conversation():
            async with dial(proxy) as old:
                strategy = {"type": "steps", "steps": [{"share": "100%", "bake": "1h"}]}
                shift = await asyncio.to_thread(proxy.start_shift, "chat", green.address, strategy)
                await asyncio.to_thread(proxy.wait_for_shift, shift, state="baking")
                async with dial(proxy) as new:
                    assert (old.response.headers["x-snapback-fleet"], new.response.headers["x-snapback-fleet"]) == ("blue", "green")
                    await asyncio.to_thread(proxy.api, "POST", f"/v1/shifts/{shift}/abort", {"reason": "to see"})
                    for socket in (old, new):
                        await socket.send("still here")
                        assert await socket.recv() == "still here"
                    assert (await asyncio.to_thread(proxy.shift, shift))["state"] == "rolling_back"
                await asyncio.to_thread(proxy.wait_for_shift, shift, state="rolled_back")
                await old.send("and on")
                assert await old.recv() == "and on"

        run(conversation())


def test_a_drain_lets_a_socket_end_and_then_the_process(sockets, tmp_path):
    blue = {"version": "v1", "instances": [sockets.address]}
    with Snapback(tmp_path, [{"name": "chat", "blue": blue}], drain_timeout="30s") as proxy:
        proxy.socket_url, proxy.trust = f"ws://{proxy.address}/", None

        async def conversation():
            async with dial(proxy) as socket:
                proxy.child.send_signal(signal.SIGTERM)
                await socket.send("still here")
                assert await socket.recv() == "still here"

        run(conversation())
        assert proxy.child.wait(PATIENCE_SECONDS) == 0
