"""A model server that fails on the wire: what a client gets of it is whole, a problem, or visibly cut, and the requests after it are
served as if nothing had been, without a retry of the client's.
"""

import http.client
import socket
import struct
import threading

import pytest
from nemesis import meters
from workbench import Snapback, wait_for

AFTERWARDS = 9
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhalf-\r\n"
HALF = HEAD + b"content-length: 10\r\n\r\nhalf-"
FINE = HEAD + b"content-length: 4\r\n\r\nfine"
CLOSE, KEEP, RESET, HANG = "close", "keep", "reset", "hang"


def endless(first, again):
    """Far more than anybody takes, in parts."""
    yield first
    for _ in range(1_000):
        yield again * 1_000


# What is sent, and what becomes of the connection then; below, what a client may get of it.
WHOLE = {
    "with a length": (FINE, KEEP),
    "in chunks with an extension and trailers": (CHUNKED.replace(b"5\r\nhalf-", b"4;a=b\r\nfine") + b"0\r\nx-a: b\r\n\r\n", KEEP),
    "until the end": (HEAD + b"\r\nfine", CLOSE),
    "after hints": (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + FINE, KEEP),
    "and the end without a word": (FINE, CLOSE),
    "and an unasked one": (FINE + HEAD + b"content-length: 6\r\n\r\npoison", KEEP),
    "and a part of an unasked one": (FINE + b"HTTP/1.1 2", KEEP),
}
PROBLEM = {
    "nothing, and the end": (b"", CLOSE),
    "nothing, and a reset": (b"", RESET),
    "nothing": (b"", HANG),
    "half a status line": (b"HTTP/1.1 20", CLOSE),
    "half a head": (HEAD + b"content-le", CLOSE),
    "half a head, and a reset": (HEAD + b"content-le", RESET),
    "half a head, and nothing": (HEAD + b"content-le", HANG),
    "garbage": (b"\1\2\3\r\n\r\n", CLOSE),
    "a bare body": (b"fine", CLOSE),
    "hints without end": (lambda: endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), CLOSE),
    "a head without end": (lambda: endless(HEAD, b"x-a: b\r\n"), CLOSE),
    "a giant header": (HEAD + b"x-a: " + b"y" * 200_000 + b"\r\ncontent-length: 4\r\n\r\nfine", CLOSE),
    "the same length twice": (FINE.replace(b": 4", b": 4\r\ncontent-length: 4"), KEEP),
    "different lengths": (FINE.replace(b": 4", b": 4\r\ncontent-length: 5"), KEEP),
    "a length that is none": (FINE.replace(b": 4", b": +4"), KEEP),
    "a length and chunks": (CHUNKED.replace(b"\r\n\r\n", b"\r\ncontent-length: 4\r\n\r\n", 1) + b"0\r\n\r\n", KEEP),
    "two codings": (CHUNKED.replace(b": chunked", b": gzip, chunked") + b"0\r\n\r\n", KEEP),
    "chunks in HTTP/1.0": (CHUNKED.replace(b"/1.1", b"/1.0") + b"0\r\n\r\n", KEEP),
    "a status beyond all": (FINE.replace(b"200", b"999"), KEEP),
    "an unasked switch": (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", KEEP),
    "a bare CR in a header": (FINE.replace(b"\r\n", b"\r\nx-a: b\rset-cookie: c=d\r\n", 1), KEEP),
    "a NUL in a header": (FINE.replace(b"\r\n", b"\r\nx-a: b\0c\r\n", 1), KEEP),
    "a folded header": (FINE.replace(b"\r\n", b"\r\nx-a: b\r\n c\r\n", 1), KEEP),
}
CUT = {
    "half a body": (HALF, CLOSE),
    "half a body, and a reset": (HALF, RESET),
    "half a body, and nothing": (HALF, HANG),
    "no last chunk": (CHUNKED, CLOSE),
    "no last chunk, and a reset": (CHUNKED, RESET),
    "no last chunk, and nothing": (CHUNKED, HANG),
    "a chunk of no size": (CHUNKED + b"zz\r\n", CLOSE),
    "a chunk longer than it says": (CHUNKED + b"1\r\nxyz\r\n0\r\n\r\n", CLOSE),
    "an extension without end": (lambda: endless(CHUNKED + b"1;", b"name=value;"), CLOSE),
    "trailers without end": (lambda: endless(CHUNKED + b"0\r\n", b"x-a: b\r\n"), CLOSE),
}
FAULTS = [
    *((name, "whole", *fault) for name, fault in WHOLE.items()),
    *((name, "problem", *fault) for name, fault in PROBLEM.items()),
    *((name, "cut", *fault) for name, fault in CUT.items()),
]
assert len(FAULTS) == 40


class Faulty:
    """A model server that answers with the request's target; `/N` is answered by fault N, unless it is told to be well."""

    def __init__(self, is_well=False):
        self.is_well = is_well
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = "{}:{}".format(*self.listener.getsockname())
        self.served = 0
        self.lock = threading.Lock()

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as reader:
            try:
                while line := reader.readline():
                    length = 0
                    while (header := reader.readline().strip()):
                        name, _, value = header.partition(b":")
                        length = int(value) if name.lower() == b"content-length" else length
                    reader.read(length)
                    if not self._answer(connection, line.split()[1].decode()):
                        return
            except OSError:
                pass

    def _answer(self, connection, target):
        """Whether the connection is kept."""
        with self.lock:
            self.served += 1
        number = target.removeprefix("/")
        if number == "mayfly":
            # Answers, and then is gone with the next request unread: the race of every connection that is kept.
            connection.sendall(self._whole(target))
            connection.recv(1, socket.MSG_PEEK)
            return False
        if self.is_well or not number.isdecimal():
            connection.sendall(self._whole(target))
            return True
        _, _, said, then = FAULTS[int(number)]
        for part in said() if callable(said) else [said]:
            connection.sendall(part)
        if then == RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if then == HANG:
            connection.recv(1)
        return then == KEEP

    def _whole(self, target):
        return HEAD + b"content-length: %d\r\n\r\n%s" % (len(target), target.encode())


@pytest.fixture(scope="module")
def servers():
    with Faulty() as one, Faulty() as other:
        yield one, other


@pytest.fixture(scope="module")
def proxy(servers, tmp_path_factory):
    # The failures are meant to reach the instances.
    common = {"blue": {"version": "v1", "instances": [server.address for server in servers]}, "ejection": {"after": 0}}
    chat = {"name": "chat"} | common
    # Only what never comes is waited for with these: on a busy machine an answer that is well may take longer.
    faulty = {"name": "faulty", "match": {"host": "faulty"}, "limits": {"head_timeout": "500ms", "idle_timeout": "500ms"}} | common
    with Snapback(tmp_path_factory.mktemp("upstream-faults"), [chat, faulty]) as proxy:
        yield proxy


class Client:
    """A connection that is made anew only when an answer says that it ends."""

    def __init__(self, proxy):
        self.connection = http.client.HTTPConnection(proxy.address, timeout=60)

    def ask(self, method, target, host="chat"):
        """`whole`, `problem` or `cut`, and the body."""
        self.connection.request(method, target, b"{}" if method == "POST" else None, {"host": host})
        try:
            answer = self.connection.getresponse()
            body = answer.read()
        except (http.client.IncompleteRead, ConnectionError):
            self.connection.close()
            return "cut", b""
        if answer.status == 200:
            return "whole", body
        assert answer.status in (502, 504) and answer.getheader("content-type") == "application/problem+json"
        return "problem", body


@pytest.mark.parametrize("number", range(len(FAULTS)), ids=[f"{shows}: {name}" for name, shows, *_ in FAULTS])
def test_a_fault_shows_as_what_it_is_and_costs_no_request_after_it(proxy, servers, number):
    client = Client(proxy)
    _, wanted, said, _ = FAULTS[number]
    served = sum(server.served for server in servers)
    # On a connection of its own, and on one that had served before.
    for _ in range(2):
        shown, body = client.ask("POST", f"/{number}", host="faulty")
        assert shown == wanted and (shown != "whole" or body == b"fine")
    executions = sum(server.served for server in servers) - served
    # Only a connection that had served before, and of which no byte was heard, is taken for one that was closed while idle.
    assert executions == 2 or (said == b"" and executions <= 4), "sent again though a byte of an answer had come"
    served = sum(server.served for server in servers)
    for method in ("GET", "POST"):
        for place in range(AFTERWARDS):
            assert client.ask(method, f"/{method}/{place}") == ("whole", f"/{method}/{place}".encode())
    assert sum(server.served for server in servers) - served == 2 * AFTERWARDS, "nothing ran twice"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_servers_that_go_with_a_request_unread_cost_no_client_anything(proxy, servers, method):
    client = Client(proxy)
    served, before = sum(server.served for server in servers), meters(proxy)
    for _ in range(40):
        assert client.ask(method, "/mayfly") == ("whole", b"/mayfly")
    assert sum(server.served for server in servers) - served == 40, "what was not read ran once"
    after = wait_for("they are counted", lambda: (now := meters(proxy))["in flight"] == 0 and now)
    assert after["blue", "success"] - before["blue", "success"] == 40
    assert after["blue", "retried"] > before["blue", "retried"], "there was something to repeat"


def test_what_green_fails_on_the_wire_blue_answers(tmp_path):
    """Each of the faults that a client would have been told of, to requests that may be executed twice."""
    faults = [number for number, (_, shows, *_) in enumerate(FAULTS) if shows == "problem"]
    with Faulty(is_well=True) as blue, Faulty() as green:
        endpoint = {
            "name": "chat",
            "blue": {"version": "v1", "instances": [blue.address]},
            "limits": {"head_timeout": "2s"},
        }
        with Snapback(tmp_path, [endpoint]) as proxy, proxy.split("chat", green.address, "99.99%"):
            client = Client(proxy)
            with proxy.counted("chat", "green") as counts:
                for number in faults:
                    assert client.ask("POST", f"/{number}") == ("whole", f"/{number}".encode()), FAULTS[number][0]
            assert counts["requests"] == counts["failed"] == counts["rescued"] >= len(faults) - 1, counts
            assert blue.served == len(faults) and green.served == counts["requests"]


@pytest.mark.parametrize("name", ["nothing, and the end", "nothing, and a reset"])
def test_with_retries_a_connection_that_dies_under_a_post_costs_no_client_anything(tmp_path, name):
    (number,) = [number for number, fault in enumerate(FAULTS) if fault[0] == name]
    with Faulty() as failing, Faulty(is_well=True) as well:
        endpoint = {
            "name": "chat",
            "blue": {"version": "v1", "instances": [failing.address, well.address]},
            "rescue": {"retry": "before_first_byte"},
            "ejection": {"after": 0},
        }
        with Snapback(tmp_path, [endpoint]) as proxy:
            client = Client(proxy)
            for _ in range(40):
                assert client.ask("POST", f"/{number}") == ("whole", f"/{number}".encode())
            counts = wait_for("they are counted", lambda: (now := meters(proxy))["blue"] == 40 and now["in flight"] == 0 and now)
            assert well.served == counts["blue", "success"] == 40
            assert failing.served == counts["blue", "retried"] > 0, "each execution is counted"
