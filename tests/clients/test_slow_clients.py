"""Three hundred connections of each kind that holds a proxy up, all at once: every one is cut, and a good client notices nothing."""

import asyncio
import resource
import socket
import threading
import time

import pytest
from nemesis import Load, descriptors
from workbench import Script, Snapback, ask, wait_for

CONNECTIONS = 300
# How long a client is waited for, and how long a connection may be idle. Beside it stands the least rate, which judges by 30 s.
LIMIT = "5s"
# The same for answers: longer, since a busy machine stops model servers too, and that would be theirs.
ANSWER_LIMIT = "15s"
# Well within the limit, and far below the least rate.
BEAT_SECONDS = 0.5
POST = b"POST /echo HTTP/1.1\r\nhost: a\r\n"

# What is sent at once, and then with each beat.
KINDS = {
    "slowloris": (b"GET /echo HTTP/1.1\r\nhost: a\r\nx-slow: ", b"x"),
    "idle": (b"", b""),
    "endless header lines": (b"GET /echo HTTP/1.1\r\nhost: a\r\n", b"x-more: of the same\r\n"),
    "idle after a request": (b"GET /echo HTTP/1.1\r\nhost: a\r\n\r\n", b""),
    "never reads": (b"GET /67108864 HTTP/1.1\r\nhost: bulk\r\n\r\n", b""),
    "slow body": (POST + b"content-length: 100000\r\n\r\n", b"x"),
    "slow chunks": (POST + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
}
TRICKLING = ["slow body", "slow chunks"]


class Slow(asyncio.Protocol):
    """One connection, which says in `crowd` how long it lived."""

    def __init__(self, kind, crowd):
        self.kind, self.crowd = kind, crowd

    def connection_made(self, transport):
        self.transport, self.since = transport, time.monotonic()
        self.first, self.then = KINDS[self.kind]
        if self.kind == "never reads":
            transport.pause_reading()
        transport.write(self.first)
        self.beat()

    def beat(self):
        if not self.transport.is_closing():
            self.transport.write(self.then)
            asyncio.get_running_loop().call_later(BEAT_SECONDS, self.beat)

    def connection_lost(self, _):
        self.crowd.lived[self.kind].append(time.monotonic() - self.since)


class Crowd:
    """All of them, on a thread of their own."""

    def __init__(self, address):
        self.host, self.port = address.rsplit(":", 1)
        self.lived, self.opened = {kind: [] for kind in KINDS}, 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self.loop)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    async def _open(self):
        for _ in range(CONNECTIONS):
            self.opened += len(await asyncio.gather(*map(self._connect, KINDS)))

    async def _connect(self, kind):
        one = socket.socket()
        one.setblocking(False)
        # A small window, and segments as on a network: with those of the loopback, hundreds of clients that do not read would fill
        # the memory that the kernel has for all connections of this machine.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1_400)
        await self.loop.sock_connect(one, (self.host, int(self.port)))
        await self.loop.create_connection(lambda: Slow(kind, self), sock=one)


@pytest.fixture
def many_files():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def connections(proxy):
    lines = ask("GET", f"{proxy.admin}/metrics")[2].decode().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("snapback_connections{"))


def test_slow_clients_of_every_kind_are_cut_while_a_good_one_is_served(many_files, faults, tmp_path):
    # Hundreds of requests come to a model server at once, which may be slow to take their connections.
    limits = {"idle_timeout": ANSWER_LIMIT, "connect_timeout": "30s"}
    endpoints = [
        {"name": "chat", "blue": {"version": "v1", "instances": [faults.address]}, "limits": limits},
        {"name": "bulk", "match": {"host": "bulk"}, "limits": limits},
    ]
    with Script("bulk.py") as bulk:
        endpoints[1]["blue"] = {"version": "v1", "instances": [bulk.address]}
        with Snapback(tmp_path, endpoints, head_timeout=LIMIT, keep_alive_timeout=LIMIT) as proxy:
            before = descriptors(proxy)
            with Load(proxy, clients=1) as good, Crowd(proxy.address) as crowd:
                wait_for("all are connected", lambda: crowd.opened == CONNECTIONS * len(KINDS))
                # One that does not read is not told either: that it is gone shows at the proxy alone.
                wait_for("all but the good one are cut", lambda: connections(proxy) <= 1)
                good.go_on(100)
            assert not good.failed(), good.came_to
            lived = {kind: times for kind, times in crowd.lived.items() if kind != "never reads"}
            assert {kind: len(times) for kind, times in lived.items()} == dict.fromkeys(lived, CONNECTIONS)
            by_rate = min(min(lived.pop(kind)) for kind in TRICKLING)
            assert all(max(times) < by_rate for times in lived.values()), "the short limit comes long before the least rate"
            for name in ("chat", "bulk"):
                traffic = proxy.endpoint(name)["blue"]["traffic"]
                assert traffic["failed"] == 0, f"whoever is slow is the client: {traffic}"
            wait_for("nothing is left open", lambda: descriptors(proxy) <= before + 16)
