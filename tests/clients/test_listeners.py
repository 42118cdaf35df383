"""Where clients come in and where instances are, other than at an IPv4 address: IPv6, Unix-domain sockets, behind a balancer."""

import contextlib
import http.server
import json
import socket
import socketserver
import struct
import subprocess
import threading

import pytest
from workbench import PATIENCE_SECONDS, Snapback, ask, wait_for


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the name and the headers that it got."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps({"served by": self.server.name, "headers": dict(self.headers.items())}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "somebody"

    def log_message(self, *_):
        pass


class Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


class Six(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


@contextlib.contextmanager
def serving(server, name):
    server.name = name
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def curl(*arguments):
    done = subprocess.run(["curl", "-sS", "--max-time", "30", *map(str, arguments)], capture_output=True, text=True, timeout=40)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_clients_and_instances_may_be_at_ipv6_addresses(tmp_path):
    with serving(Six(("::1", 0), Handler), "six") as server:
        blue = {"version": "v1", "instances": [f"[::1]:{server.server_port}"]}
        with Snapback(tmp_path, [{"name": "all", "blue": blue}], listen=["[::1]:0"]) as proxy:
            assert proxy.address.startswith("[::1]:")
            answer = curl(f"http://{proxy.address}/")
    assert answer["served by"] == "six"
    assert answer["headers"]["host"] == proxy.address
    assert answer["headers"]["x-forwarded-for"] == "::1"


def test_clients_and_instances_may_be_at_unix_domain_sockets(tmp_path):
    data = tmp_path / "data.sock"
    with serving(Unix(str(tmp_path / "model.sock"), Handler), "unix") as server:
        blue = {"version": "v1", "instances": [f"unix:{server.server_address}"]}
        # The second process finds what the first one has left at the path.
        for version in ([], ["--http2-prior-knowledge"]):
            with Snapback(tmp_path, [{"name": "all", "blue": blue}], listen=[f"unix:{data}"]) as proxy:
                answer = curl("--unix-socket", data, "http://model/", *version)
                assert proxy.stop() == 0
            assert answer["served by"] == "unix"
            assert (answer["headers"]["host"], answer["headers"]["x-forwarded-for"]) == ("model", "unknown")


# Of a client at 192.0.2.7, or 2001:db8::7, that a balancer speaks for.
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FOUR = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 56_324, 443)
SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + struct.pack("!HH", 56_324, 443)
EXTENSION = b"\x04\x00\x03abc"
BELIEVED = {
    "version 1": (b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n", "192.0.2.7"),
    "version 1, IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n", "2001:db8::7"),
    "version 1, unknown": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "version 2": (SIGNATURE + b"\x21\x11" + struct.pack("!H", len(FOUR)) + FOUR, "192.0.2.7"),
    "version 2, IPv6": (SIGNATURE + b"\x21\x21" + struct.pack("!H", len(SIX)) + SIX, "2001:db8::7"),
    "version 2 with an extension": (SIGNATURE + b"\x21\x11" + struct.pack("!H", len(FOUR + EXTENSION)) + FOUR + EXTENSION, "192.0.2.7"),
    "version 2, the balancer itself": (SIGNATURE + b"\x20\x00\x00\x00", "127.0.0.1"),
}
REFUSED = {
    "none": b"",
    "half a signature": SIGNATURE[:7],
    "addresses cut short": SIGNATURE + b"\x21\x11\x00\x04" + FOUR[:4],
    "no end of the line": b"PROXY TCP4 " + b"1" * 200,
    "a bare line feed": b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\n",
}
REQUEST = b"GET /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def behind_balancer(faults, tmp_path_factory):
    blue = {"version": "v1", "instances": [faults.address]}
    with Snapback(tmp_path_factory.mktemp("balanced"), [{"name": "all", "blue": blue}], proxy_protocol="required") as proxy:
        yield proxy


def say(proxy, *parts):
    """Everything that comes back."""
    host, port = proxy.address.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
            return b"".join(iter(lambda: connection.recv(1 << 16), b""))
    return b""


def count(proxy, name):
    text = ask("GET", f"{proxy.admin}/metrics")[2].decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


@pytest.mark.parametrize("case", BELIEVED)
@pytest.mark.parametrize("is_torn", [False, True], ids=["at once", "byte by byte"])
def test_a_balancers_header_says_whom_it_speaks_for(behind_balancer, case, is_torn):
    header, client = BELIEVED[case]
    parts = [bytes([byte]) for byte in header] if is_torn else [header]
    head, _, body = say(behind_balancer, *parts, REQUEST).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    headers = {name.lower(): value for name, value in json.loads(body)["headers"]}
    assert headers["x-forwarded-for"] == client


def test_curl_speaks_it_too(behind_balancer):
    answer = curl("--haproxy-protocol", f"{behind_balancer.url}/echo")
    assert dict(map(tuple, answer["headers"]))["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_header_ends_its_connection_and_is_counted(behind_balancer, case):
    before = count(behind_balancer, "snapback_proxy_headers_refused_total")
    assert say(behind_balancer, REFUSED[case], REQUEST) == b""
    wait_for("it is counted", lambda: count(behind_balancer, "snapback_proxy_headers_refused_total") == before + 1)
