"""HTTP/2 floods against the running binary: each costs it little memory and no other client its answer, and it is over when the
flood is.

What a flood meets, a goodbye or endless patience, is the library's choice and not looked at, unless it has a bound to show.
"""

import contextlib
import pathlib
import threading

import pytest
from raw_http2 import *
from workbench import Snapback, ask, wait_for

FRAMES = 50_000
# The most that one hostile connection may cost, beside what the allocator keeps.
MOST_BYTES = 48 << 20

GET = head()
OPEN = head(flags=END_HEADERS, method="POST", path="/echo")
# A header that fills most of the compression table; one byte more repeats it.
BOMB = b"\x40" + text("x") + text("y" * 3_900)
REPEATED = length(62, 7, 0x80)


def streams(count):
    return range(1, 2 * count, 2)


# What is sent, piece by piece, after the preface.
FLOODS = {
    "resets": lambda: (head(stream) + reset(stream) for stream in streams(FRAMES)),
    "resets made by the server": lambda: (head(stream) + window(0, stream) for stream in streams(FRAMES)),
    "resets made by data after the end": lambda: (
        head(stream) + frame(DATA, END_STREAM, stream, b"x") for stream in streams(FRAMES)
    ),
    "continuations": lambda: iter(
        [frame(HEADERS, 0, 1, block())] + [frame(CONTINUATION, 0, 1, field("x", "y" * 100))] * FRAMES
    ),
    "empty continuations": lambda: iter([frame(HEADERS, 0, 1, block())] + [frame(CONTINUATION, 0, 1)] * FRAMES),
    "pings": lambda: iter([frame(PING, 0, 0, bytes(8))] * FRAMES),
    "settings": lambda: iter([settings((4, 65_535))] * FRAMES),
    "windows up and down": lambda: iter([settings((4, 0)), settings((4, (1 << 31) - 1))] * (FRAMES // 2)),
    "priorities": lambda: (frame(PRIORITY, 0, stream, bytes(4) + b"\x01") for stream in streams(FRAMES)),
    "windows of one byte": lambda: iter([OPEN] + [window(1) + window(1, 1)] * FRAMES),
    "empty data": lambda: iter([OPEN] + [frame(DATA, 0, 1)] * FRAMES),
    "data of one byte": lambda: iter([OPEN] + [frame(DATA, 0, 1, b"x")] * FRAMES),
    "data of padding": lambda: iter([OPEN] + [frame(DATA, PADDED, 1, b"\xff" + bytes(255))] * FRAMES),
    "unknown frames": lambda: iter([frame(99, 0, 0, bytes(100))] * FRAMES),
    "goodbyes": lambda: iter([frame(GOAWAY, 0, 0, bytes(8) + b"x" * 100)] * FRAMES),
    "compressed bombs": lambda: (
        head(stream, payload=(BOMB if stream == 1 else b"") + block() + REPEATED * 4_000) for stream in streams(2_000)
    ),
    "heads of many lines": lambda: (head(stream, payload=block() + field("x", "") * 3_000) for stream in streams(200)),
    "streams that never end": lambda: (head(stream, flags=END_HEADERS) for stream in streams(FRAMES)),
}


@pytest.fixture(scope="module")
def proxy(faults, tmp_path_factory):
    blue = {"version": "v1", "instances": [faults.address]}
    with Snapback(tmp_path_factory.mktemp("floods"), [{"name": "chat", "blue": blue}], workers=1) as proxy:
        ask("GET", f"{proxy.url}/health")
        yield proxy


def memory(proxy):
    """Bytes that the process has in memory."""
    status = pathlib.Path(f"/proc/{proxy.child.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def descriptors(proxy):
    return len(list(pathlib.Path(f"/proc/{proxy.child.pid}/fd").iterdir()))


def read_on(raw):
    """A client that does not read would be stopped by its own full socket."""
    with contextlib.suppress(OSError):
        while raw.read() is not None:
            pass


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_costs_little_and_nobody_else(proxy, flood):
    before, open_before, most = memory(proxy), descriptors(proxy), 0
    with Raw(proxy.address) as raw:
        threading.Thread(target=read_on, args=[raw], daemon=True).start()
        pieces = FLOODS[flood]()
        while part := b"".join(piece for piece, _ in zip(pieces, range(FRAMES // 10))):
            taken = raw.send(part)
            assert ask("GET", f"{proxy.url}/health")[0] == 200, "another client is served meanwhile"
            most = max(most, memory(proxy) - before)
            if not taken:
                break
    assert most < MOST_BYTES, f"{most >> 20} MiB"
    wait_for("its connection is closed", lambda: descriptors(proxy) <= open_before + 2)
    assert ask("GET", f"{proxy.url}/health")[0] == 200


def test_streams_whose_answers_nobody_takes_hold_no_more_than_their_windows(proxy):
    """A hundred answers at a time, on connections that give them no window at all."""
    before = memory(proxy)
    held = [Raw(proxy.address, PREFACE + settings((4, 0))) for _ in range(5)]
    try:
        for raw in held:
            raw.send(b"".join(head(stream, path="/ok") for stream in streams(100)))
        for raw in held:
            raw.until(lambda got: got[0] == HEADERS and got[2] == 199)
        assert ask("GET", f"{proxy.url}/health")[0] == 200
        assert memory(proxy) - before < MOST_BYTES
    finally:
        for raw in held:
            raw.socket.close()
