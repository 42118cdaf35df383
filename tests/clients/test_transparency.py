"""Transparency: whatever a client says that is not for the proxy itself reaches the model server as it was said.

Requests are random within what RFC 9110 and RFC 9112 allow, from a seed that a failure shows and `SNAPBACK_SEED` repeats.
"""

import hashlib
import http.client
import json
import os
import random
import secrets
import socket
import string

import pytest
from raw_http2 import DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, WINDOW_UPDATE, Raw, block, field, frame, window
from workbench import PATIENCE_SECONDS, Script, Snapback

REQUESTS = 500
TOKEN = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"
PATH = string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@/"
# Visible ASCII, and the bytes above it that a value may have too.
VALUE = [*map(chr, range(0x21, 0x7F)), *map(chr, range(0x80, 0x100))]
# Headers that mean something to a client, a model server or a tracer, and nothing to the proxy.
KNOWN = [
    ("Authorization", "Bearer a.b-c_d=="),
    ("Accept-Encoding", "gzip, deflate, br;q=0.5"),
    ("Content-Encoding", "gzip"),
    ("Content-Type", "application/octet-stream"),
    ("Cookie", "a=1; b=\"2\""),
    ("Inference-Header-Content-Length", "7"),
    ("X-Stainless-Retry-Count", "1"),
    ("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("X-Request-Id", "given by the client"),
    ("X-Amzn-SageMaker-Custom-Attributes", "c=1"),
]
# A parser that read this and wrote it again would leave its mark.
JSON = b'{"model":"m", "model" : "m","unknown":{"deep":[[],{}]},"n":1.0e+00,"big":12345678901234567890,"t":"\\u00e9\\/\xc3\xa9","":null}\r\n '
# Never sent twice: one value to the proxy, and one that a proxy must join on the way from HTTP/2 to HTTP/1 (RFC 9113 section 8.2.3).
SINGLES = ["X-Request-Id", "Cookie"]
# What the proxy adds: who the client is, and the request's id unless the client gave one.
ADDED = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id"}


class Wanted:
    """A random request."""

    def __init__(self, rng):
        self.rng = rng
        self.method = rng.choice(["GET", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "M-SEARCH"])
        self.target = "/echo" + rng.choice(["", "/" + self.path()]) + rng.choice(["", "?" + self.path() + "?&&="])
        self.headers = [self.header("own-") for _ in range(rng.randrange(12))] + rng.sample(KNOWN, rng.randrange(5))
        name, value = rng.choice([*self.headers, ("Cookie", "")])
        if name not in SINGLES:
            self.headers += [(name.swapcase(), value), (name, "")]
        rng.shuffle(self.headers)
        sizes = [0, 1, 100, 16_384, 50_000]
        self.body = rng.choice([JSON, rng.randbytes(rng.choice(sizes))]) if self.method != "GET" else b""
        self.is_chunked = self.method != "GET" and rng.random() < 0.5
        self.trailers = [self.header("end-") for _ in range(rng.randrange(4))] if self.is_chunked else []
        self.expects = bool(self.body) and rng.random() < 0.2

    def path(self):
        escaped = [f"%{byte:02x}" for byte in self.rng.choices(range(256), k=3)] + ["%2F", "//", "/../", "/./"]
        return "".join(self.rng.choice([self.rng.choice(PATH), self.rng.choice(escaped)]) for _ in range(self.rng.randrange(40)))

    def header(self, prefix):
        """Its name has a beginning that means nothing."""
        name = prefix + "".join(self.rng.choices(TOKEN, k=self.rng.randrange(1, 30)))
        value = "".join(self.rng.choices([*VALUE, " ", "\t"], k=self.rng.choice([0, 1, 8, 200])))
        return name, value.strip(" \t")

    def parts(self):
        """The body in pieces."""
        rest = self.body
        while rest:
            size = self.rng.choice([1, 7, 1000, 16_000])
            yield rest[:size]
            rest = rest[size:]

    def framing(self):
        if self.is_chunked:
            return [("Transfer-Encoding", "chunked")]
        return [("Content-Length", str(len(self.body)))] if self.body or self.method != "GET" else []

    def check(self, got, authority):
        """What the model server received is this request, and nothing more than what the proxy adds."""
        names = {name.lower() for name, _ in self.headers}
        received = [(name, value) for name, value in by_name(got["headers"]) if name not in ADDED - names]
        assert received == by_name([("Host", authority), *self.headers, *self.framing()])
        assert ADDED <= {name for name, _ in by_name(got["headers"])}
        assert (got["method"], got["target"]) == (self.method, self.target)
        assert (got["length"], got["sha256"]) == (len(self.body), hashlib.sha256(self.body).hexdigest())
        assert by_name(got["trailers"]) == by_name(self.trailers)


def by_name(headers):
    """Names in lower case, in order; the values of one name keep theirs."""
    return sorted(((name.lower(), value) for name, value in headers), key=lambda header: header[0])


class Http1:
    """One connection, for all of the requests."""

    def __init__(self, address):
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answers = self.socket.makefile("rb")

    def call(self, wanted, authority):
        extra = [("Expect", "100-continue")] if wanted.expects else []
        lines = [("Host", authority), *wanted.headers, *wanted.framing(), *extra]
        head = f"{wanted.method} {wanted.target} HTTP/1.1\r\n" + as_lines(lines)
        self.send(head.encode("latin1"), wanted.rng)
        if wanted.expects:
            assert self.answers.readline() == b"HTTP/1.1 100 Continue\r\n" and self.answers.readline() == b"\r\n"
        self.send(self.framed(wanted), wanted.rng)
        assert self.answers.readline() == b"HTTP/1.1 200 OK\r\n"
        length = 0
        while line := self.answers.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return json.loads(self.answers.read(length))

    def framed(self, wanted):
        if not wanted.is_chunked:
            return wanted.body
        extension = wanted.rng.choice(["", ";a=b", ' ; c="d;e"'])
        chunks = [f"{len(part):{wanted.rng.choice('xX')}}{extension}\r\n".encode() + part + b"\r\n" for part in wanted.parts()]
        return b"".join([*chunks, b"0\r\n", as_lines(wanted.trailers).encode("latin1")])

    def send(self, data, rng):
        """Torn at a random place."""
        at = rng.randrange(len(data) + 1)
        for part in (data[:at], data[at:]):
            self.socket.sendall(part)

    def close(self):
        self.answers.close()
        self.socket.close()


def as_lines(headers):
    return "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"


class Http2:
    """One connection, frame by frame."""

    def __init__(self, address):
        self.raw = Raw(address)
        self.raw.send(window(1 << 30))
        self.stream = 1

    def call(self, wanted, authority):
        stream, self.stream = self.stream, self.stream + 2
        changes = [(":authority", authority)] + [header for header in wanted.framing() if header[0] == "Content-Length"]
        changes = [(name.lower(), value) for name, value in changes]
        fields = [field(name.lower(), value.encode("latin1")) for name, value in wanted.headers]
        fields += [field("expect", b"100-continue")] if wanted.expects else []
        head = block(*changes, method=wanted.method, path=wanted.target) + b"".join(fields)
        if wanted.body or wanted.is_chunked:
            padded = [frame(DATA, PADDED, stream, b"\x09" + part + bytes(9)) for part in wanted.parts()]
            frames = [frame(HEADERS, END_HEADERS, stream, head), *padded]
            trailers = b"".join(field(name.lower(), value.encode("latin1")) for name, value in wanted.trailers)
            frames.append(frame(HEADERS, END_HEADERS | END_STREAM, stream, trailers) if trailers else frame(DATA, END_STREAM, stream))
        else:
            frames = [frame(HEADERS, END_HEADERS | END_STREAM, stream, head)]
        if wanted.expects:
            self.raw.send(frames.pop(0))
            kind, flags, _, _ = got = self.raw.until(lambda got: got[2] == stream or got[0] == GOAWAY)
            assert kind == HEADERS and not flags & END_STREAM, got
        self.raw.send(b"".join(frames))
        body = b""
        while True:
            kind, flags, _, payload = got = self.raw.until(lambda got: got[2] == stream or got[0] == GOAWAY)
            assert kind in (HEADERS, DATA, WINDOW_UPDATE), got
            body += payload if kind == DATA else b""
            if kind != WINDOW_UPDATE and flags & END_STREAM:
                return json.loads(body)

    def close(self):
        self.raw.socket.close()


@pytest.fixture(scope="module")
def proxy(faults, tmp_path_factory):
    """Half of the requests each for two fleets. Nothing is left out that may pass."""
    endpoint = {"name": "all", "blue": {"version": "v1", "instances": [faults.address]}}
    folder = tmp_path_factory.mktemp("plain")
    with Script("faults.py") as green, Snapback(folder, [endpoint], underscore_headers="pass") as proxy:
        with proxy.split("all", green.address, "50%"):
            yield proxy


@pytest.mark.parametrize("protocol", [Http1, Http2])
def test_a_model_server_receives_what_the_client_said(proxy, protocol):
    seed = int(os.environ.get("SNAPBACK_SEED") or secrets.randbits(32))
    print(f"SNAPBACK_SEED={seed}")
    rng = random.Random(seed)
    connection = protocol(proxy.address)
    try:
        for number in range(REQUESTS):
            wanted, authority = Wanted(rng), f"h{number}.example:80"
            wanted.check(connection.call(wanted, authority), authority)
    finally:
        connection.close()


GIBIBYTE = 1 << 30


def pieces(rng, digest):
    """A gibibyte, no two pieces of which are alike, so that none may be missing, come twice or come late."""
    noise, left, number = rng.randbytes((1 << 20) + 11), GIBIBYTE, 0
    while left:
        piece = (number.to_bytes(8, "big") + noise)[:left]
        digest.update(piece)
        yield piece
        left, number = left - len(piece), number + 1


@pytest.mark.parametrize("framing", ["a length", "chunks"])
def test_a_body_of_a_gibibyte_arrives_byte_for_byte(proxy, framing):
    digest = hashlib.sha256()
    headers = {"content-length": str(GIBIBYTE)} if framing == "a length" else {"transfer-encoding": "chunked"}
    connection = http.client.HTTPConnection(proxy.address, timeout=PATIENCE_SECONDS)
    body = pieces(random.Random(11), digest)
    connection.request("POST", "/echo", body, headers, encode_chunked=framing == "chunks")
    got = json.loads(connection.getresponse().read())
    connection.close()
    assert (got["length"], got["sha256"]) == (GIBIBYTE, digest.hexdigest())
