"""HTTP/2, with TLS and without: curl and h2load get what HTTP/1.1 gets, from the same port, and from instances that speak HTTP/2."""

import hashlib
import json
import re
import subprocess

import pytest
import trustme
from workbench import Script, Snapback, ask

LARGE = bytes(range(256)) * (8 << 12)  # 8 MiB
REQUESTS = 4000


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    return folder


@pytest.fixture(scope="module")
def clear(faults, tmp_path_factory):
    blue = {"version": "v1", "instances": [faults.address]}
    with Snapback(tmp_path_factory.mktemp("clear"), [{"name": "chat", "blue": blue}]) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def secure(faults, authority, tmp_path_factory):
    blue = {"version": "v1", "instances": [faults.address]}
    tls = {"certificates": [{"cert": str(authority / "cert.pem"), "key": str(authority / "key.pem")}]}
    with Snapback(tmp_path_factory.mktemp("secure"), [{"name": "chat", "blue": blue}], tls=tls) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def before_h2c(clear, tmp_path_factory):
    """A proxy whose instance is another proxy, which speaks HTTP/2 with prior knowledge."""
    blue = {"version": "v1", "instances": [clear.address], "protocol": "h2c"}
    with Snapback(tmp_path_factory.mktemp("before-h2c"), [{"name": "chat", "blue": blue}]) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def before_h2(secure, authority, tmp_path_factory):
    """The same over TLS."""
    tls = {"ca": str(authority / "ca.pem"), "server_name": "localhost"}
    blue = {"version": "v1", "instances": [secure.address], "protocol": "h2", "tls": tls}
    with Snapback(tmp_path_factory.mktemp("before-h2"), [{"name": "chat", "blue": blue}]) as proxy:
        yield proxy


CLEAR = {
    "h2c": ("clear", "--http2-prior-knowledge", "2"),
    "h2c to h2c": ("before_h2c", "--http2-prior-knowledge", "2"),
    "http/1.1 to h2c": ("before_h2c", "--http1.1", "1.1"),
    "h2c to h2": ("before_h2", "--http2-prior-knowledge", "2"),
}


@pytest.fixture(params=[*CLEAR, "h2", "http/1.1 over tls"])
def spoken(request, authority):
    """A way to speak: the proxy's base URL, curl's options for it, and the version that curl reports."""
    if request.param in CLEAR:
        name, option, version = CLEAR[request.param]
        return request.getfixturevalue(name).url, [option], version
    proxy = request.getfixturevalue("secure")
    version = "--http2" if request.param == "h2" else "--http1.1"
    url = f"https://localhost:{proxy.address.rsplit(':', 1)[1]}"
    return url, [version, "--cacert", authority / "ca.pem"], "2" if request.param == "h2" else "1.1"


def curl(spoken, target, *arguments):
    """The body, and what curl says about the exchange after it."""
    url, options, version = spoken
    command = ["curl", "-sS", "--max-time", "30", "-w", "%{stderr}%{http_version} %{http_code}", *options, *arguments, f"{url}{target}"]
    done = subprocess.run([str(word) for word in command], capture_output=True, timeout=40)
    assert done.returncode == 0, done.stderr
    got, status = done.stderr.decode().split()
    assert got == version
    return int(status), done.stdout


def test_a_request_arrives_with_its_target_headers_and_body(spoken):
    status, body = curl(spoken, "/echo/a?x=1", "-d", '{"a": 1}', "-H", "x-odd-name: a, b")
    request = json.loads(body)
    headers = {key.lower(): value for key, value in request["headers"]}
    assert (status, request["method"], request["target"], request["length"]) == (200, "POST", "/echo/a?x=1", 8)
    assert headers["x-odd-name"] == "a, b" and headers["content-length"] == "8" and headers["host"]
    assert not any(name.startswith(":") for name in headers)


def test_a_large_upload_arrives_whole(spoken, tmp_path):
    (tmp_path / "body").write_bytes(LARGE)
    request = json.loads(curl(spoken, "/echo", "--data-binary", f"@{tmp_path / 'body'}")[1])
    assert (request["length"], request["sha256"]) == (len(LARGE), hashlib.sha256(LARGE).hexdigest())


def test_an_upload_of_unknown_length_arrives_whole(spoken, tmp_path):
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        url, options, _ = spoken
        command = ["curl", "-sS", "--max-time", "30", *map(str, options), "-T", "-", "-X", "POST", f"{url}/echo"]
        with subprocess.Popen(command, stdin=cat.stdout, stdout=subprocess.PIPE) as upload:
            cat.stdin.write(LARGE)
            cat.stdin.close()
            request = json.load(upload.stdout)
    assert (request["length"], request["sha256"]) == (len(LARGE), hashlib.sha256(LARGE).hexdigest())


def test_head_and_errors_are_what_they_are(spoken):
    status, head = curl(spoken, "/health", "-I")
    assert status == 200 and b"content-length: 16" in head.lower()
    assert curl(spoken, "/tgi-424", "-d", "{}")[0] == 424
    status, problem = curl(spoken, "/drop", "-d", "{}")
    assert status == 502 and json.loads(problem)["type"] == "urn:snapback:upstream-reset"


@pytest.mark.parametrize("case", ["ok", "vllm-error", "crlf", "bytewise", "pings", "ollama-error", "openai-completed"])
def test_a_stream_is_the_same_byte_for_byte(spoken, faults, case):
    assert curl(spoken, f"/{case}", "-N", "-d", "{}") == (200, ask("POST", f"{faults.url}/{case}", b"{}")[2])


def test_a_stream_that_is_cut_short_never_looks_complete(spoken, faults):
    """Over HTTP/2 the reset may overtake what was not yet written; what arrives is the beginning all the same."""
    url, options, _ = spoken
    command = ["curl", "-sSN", "--max-time", "30", *map(str, options), "-d", "{}", f"{url}/truncated"]
    done = subprocess.run(command, capture_output=True, timeout=40)
    assert done.returncode in (18, 56, 92), "partial file, receive error, or a stream that was reset"
    # The same two tokens, with a clean end.
    whole = ask("POST", f"{faults.url}/clean-no-done", b"{}")[2]
    assert whole.startswith(done.stdout) and (spoken[2] == "2" or done.stdout == whole)


def test_each_event_of_a_stream_arrives_before_the_next_is_sent(spoken, faults):
    url, options, _ = spoken
    command = ["curl", "-sSN", "--max-time", "30", *map(str, options), "-d", "{}", f"{url}/gated"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as stream:
        try:
            events = [stream.stdout.readline() + stream.stdout.readline()]
            for _ in range(9):
                ask("POST", f"{faults.url}/open")
                events.append(stream.stdout.readline() + stream.stdout.readline())
        finally:
            stream.terminate()
    assert events[0] == b": keep-alive\n\n" and events[-1] == b"data: [DONE]\n\n"


@pytest.mark.parametrize("case", ["echo", "onechunk"])
def test_streams_of_one_connection_are_split_as_exactly_as_connections(clear, faults, case):
    """Eight connections with eight streams at a time each, at 25 %: five green cards in a block of twenty for each worker."""
    with Script("faults.py") as green, clear.split("chat", green.address, "25%"):
        before = faults.count("served")
        command = ["h2load", "-n", str(REQUESTS), "-c", "8", "-m", "8", f"{clear.url}/{case}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert re.search(rf"{REQUESTS} succeeded, 0 failed, 0 errored", done.stdout), done.stdout + done.stderr
        got = green.count("served")
        assert got + faults.count("served") - before == REQUESTS
    assert abs(got - REQUESTS / 4) <= 2 * 5
