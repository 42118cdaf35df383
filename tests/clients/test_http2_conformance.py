"""HTTP/2 that breaks the rules, case by case as h2spec has them, frame by frame: each is refused in the way that the RFC names and
no other client is harmed. Sections are those of RFC 9113, and of RFC 7541 for header compression.

A connection error may show as GOAWAY or as the connection's end; a stream error as RST_STREAM, or as an error of the whole connection.
PROTOCOL_ERROR may stand for every more precise one.
"""

import pytest
from raw_http2 import *
from workbench import Snapback, ask

GET = head()
OPEN = head(flags=END_HEADERS, method="POST", path="/echo")
LARGE = b"x" * 16_385
REGULAR = field("x", "y")


def post(*changes):
    return frame(HEADERS, END_HEADERS, 1, block(*changes, method="POST", path="/echo"))


def refused_head(*changes):
    return head(payload=block(*changes))


# What must be answered with 200 on stream 1.
SERVED = {
    "4.1 an unknown frame": frame(22, 0xFF, 0, b"x" * 8) + GET,
    "4.1 unknown flags": frame(PING, 0x16, 0, b"12345678") + GET,
    "4.1 a reserved bit": frame(PING, 0, 1 << 31, b"12345678") + GET,
    "4.2 a frame of the largest size": OPEN + frame(DATA, END_STREAM, 1, LARGE[1:]),
    "5.5 an unknown frame on a stream": OPEN + frame(22, 0, 1, b"x") + frame(DATA, END_STREAM, 1),
    "6.1 padding": OPEN + frame(DATA, END_STREAM | PADDED, 1, b"\x03abc\0\0\0"),
    "6.2 padding and priority": frame(
        HEADERS, END_HEADERS | END_STREAM | PADDED | WITH_PRIORITY, 1, b"\x02" + bytes(4) + b"\x10" + block() + b"\0\0"
    ),
    "6.3 a priority of an idle stream": frame(PRIORITY, 0, 5, bytes(4) + b"\x01") + GET,
    "6.5.2 an unknown setting": settings((0xFF, 1)) + GET,
    "6.5.3 a setting twice": settings((4, 100), (4, 1)) + GET,
    "6.9.2 a window that turns negative": GET + settings((4, 0)) + settings((4, 65_535)),
    "6.10 a head in many frames": frame(HEADERS, END_STREAM, 1, block())
    + frame(CONTINUATION, 0, 1, REGULAR)
    + frame(CONTINUATION, END_HEADERS, 1, REGULAR),
    "7 an unknown error code": OPEN + frame(DATA, END_STREAM, 1) + reset(1, 0xFF) + head(3),
    "8.1 trailers": OPEN + frame(DATA, 0, 1, b"x") + frame(HEADERS, END_HEADERS | END_STREAM, 1, REGULAR),
    # The RFC calls that malformed; here it is dropped and goes nowhere.
    "8.1 a pseudo-header in trailers": OPEN + frame(HEADERS, END_HEADERS | END_STREAM, 1, field(":path", "/x")),
    "8.2.2 te that allows trailers": refused_head(("te", "trailers")),
    "8.1.1 a right length": post(("content-length", "3")) + frame(DATA, END_STREAM, 1, b"abc"),
    "C.4 a table of no size": b"".join([frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x20" + block())]),
}

# What ends the connection, with these errors if it says one.
BROKEN = {
    "4.2 data that is too large": (OPEN + frame(DATA, END_STREAM, 1, LARGE), {FRAME_SIZE}),
    "4.2 a head that is too large": (head(payload=block(("x", "y" * 16_400))), {FRAME_SIZE}),
    "4.3 a header block of no sense": (head(payload=b"\x80"), {COMPRESSION}),
    "4.3 a priority inside a head": (
        frame(HEADERS, END_STREAM, 1, block()) + frame(PRIORITY, 0, 1, bytes(5)),
        set(),
    ),
    "4.3 another head inside a head": (frame(HEADERS, END_STREAM, 1, block()) + head(3), set()),
    "5.1 data on an idle stream": (frame(DATA, END_STREAM, 1, b"x"), set()),
    "5.1 a reset of an idle stream": (reset(1), set()),
    "5.1 a window of an idle stream": (window(1, 1), set()),
    "5.1 a continuation of an idle stream": (frame(CONTINUATION, END_HEADERS, 1, block()), set()),
    "5.1.1 an even stream": (head(2), set()),
    "5.1.1 a stream below the last": (head(5) + head(3), {PROTOCOL, STREAM_CLOSED}),
    "5.5 an unknown frame inside a head": (frame(HEADERS, END_STREAM, 1, block()) + frame(22), set()),
    "6.1 data of stream zero": (frame(DATA, 0, 0, b"x"), set()),
    "6.1 padding longer than the frame": (OPEN + frame(DATA, END_STREAM | PADDED, 1, b"\x09x"), set()),
    "6.2 a head of stream zero": (head(0), set()),
    "6.2 padding longer than the head": (head(flags=END_HEADERS | PADDED, payload=b"\xff" + block()), set()),
    "6.3 a priority of stream zero": (frame(PRIORITY, 0, 0, bytes(5)), set()),
    "6.4 a reset of stream zero": (reset(0), set()),
    "6.4 a reset of another length": (OPEN + frame(RST_STREAM, 0, 1, b"abc"), {FRAME_SIZE}),
    "6.5 an acknowledgement with settings": (settings((1, 1), flags=ACK), {FRAME_SIZE}),
    "6.5 settings of a stream": (frame(SETTINGS, 0, 1), set()),
    "6.5 settings of another length": (frame(SETTINGS, 0, 0, b"abc"), {FRAME_SIZE}),
    "6.5.2 push that is neither on nor off": (settings((2, 2)), set()),
    "6.5.2 a window beyond the largest": (settings((4, 1 << 31)), {FLOW_CONTROL}),
    "6.5.2 frames below the smallest": (settings((5, 16_383)), set()),
    "6.5.2 frames beyond the largest": (settings((5, 1 << 24)), set()),
    "6.6 a promise from a client": (OPEN + frame(PUSH_PROMISE, END_HEADERS, 1, bytes(3) + b"\2" + block()), set()),
    "6.7 a ping of a stream": (frame(PING, 0, 1, bytes(8)), set()),
    "6.7 a ping of another length": (frame(PING, 0, 0, bytes(6)), {FRAME_SIZE}),
    "6.8 a goodbye of a stream": (frame(GOAWAY, 0, 1, bytes(8)), set()),
    "6.9 a window that does not grow": (window(0), set()),
    "6.9 a window of another length": (frame(WINDOW_UPDATE, 0, 0, bytes(3)), {FRAME_SIZE}),
    "6.9.1 a window beyond the largest": (window((1 << 31) - 1) + window((1 << 31) - 1), {FLOW_CONTROL}),
    "6.10 a continuation of stream zero": (
        frame(HEADERS, END_STREAM, 1, block()) + frame(CONTINUATION, END_HEADERS, 0, REGULAR),
        set(),
    ),
    "6.10 a continuation of a whole head": (GET + frame(CONTINUATION, END_HEADERS, 1, REGULAR), {PROTOCOL, STREAM_CLOSED}),
    "6.10 data inside a head": (frame(HEADERS, 0, 1, block(method="POST")) + frame(DATA, END_STREAM, 1), set()),
    "HPACK 2.3.3 an index beyond the table": (head(payload=block() + length(200, 7, 0x80)), {COMPRESSION}),
    "HPACK 4.2 a size at the end of a block": (head(payload=block() + b"\x20"), {COMPRESSION}),
    "HPACK 5.2 padding of a whole byte": (head(payload=block() + b"\0\1x\x82\x1f\xff"), {COMPRESSION}),
    "HPACK 5.2 padding of zeros": (head(payload=block() + b"\0\1x\x81\x18"), {COMPRESSION}),
    "HPACK 5.2 an end inside a text": (head(payload=block() + b"\0\1x\x84\xff\xff\xff\xff"), {COMPRESSION}),
    "HPACK 6.1 the index zero": (head(payload=block() + b"\x80"), {COMPRESSION}),
    "HPACK 6.3 a table larger than allowed": (head(payload=length(8192, 5, 0x20) + block()), {COMPRESSION}),
}

# What ends stream 1 at the latest, with these errors if it says one.
RESET = {
    "5.1 data after the end": (GET + frame(DATA, END_STREAM, 1, b"x"), {STREAM_CLOSED, NO_ERROR}),
    "5.1 a head after the end": (GET + GET, {STREAM_CLOSED, PROTOCOL}),
    "5.1 data after a reset": (OPEN + reset(1) + frame(DATA, END_STREAM, 1, b"x") + head(3), None),
    "5.3.1 a head that depends on itself": (
        frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, b"\0\0\0\1\xff" + block()),
        set(),
    ),
    "5.3.1 a priority that depends on itself": (OPEN + frame(PRIORITY, 0, 1, b"\0\0\0\1\xff"), set()),
    "6.3 a priority of another length": (OPEN + frame(PRIORITY, 0, 1, bytes(4)), {FRAME_SIZE}),
    "6.9 a window of a stream that does not grow": (OPEN + window(0, 1), set()),
    "6.9.1 a stream's window beyond the largest": (OPEN + 2 * window((1 << 31) - 1, 1), {FLOW_CONTROL}),
    "8.1 trailers that are not the end": (OPEN + frame(HEADERS, END_HEADERS, 1, REGULAR), set()),
    "8.1.1 less than the length": (post(("content-length", "2")) + frame(DATA, END_STREAM, 1, b"x"), set()),
    "8.1.1 more than the length": (
        post(("content-length", "2")) + frame(DATA, 0, 1, b"x") + frame(DATA, END_STREAM, 1, b"yz"),
        set(),
    ),
    "8.1.1 a length and no body": (refused_head(("content-length", "1")), set()),
}

# Heads that are refused: the stream reset, the connection ended, or answered with a status that says whose fault it is.
REFUSED = {
    "8.2.1 a name in capitals": refused_head(("X", "y")),
    "8.2.1 a name with a space": refused_head(("x y", "z")),
    "8.2.1 a name with a colon": refused_head(("x:y", "z")),
    "8.2.1 an empty name": refused_head(("", "z")),
    "8.2.1 a line end in a value": refused_head(("x", "a\r\nb: c")),
    "8.2.1 a line feed in a value": refused_head(("x", "a\nb")),
    "8.2.1 a NUL in a value": refused_head(("x", "a\0b")),
    "8.2.2 connection": refused_head(("connection", "keep-alive")),
    "8.2.2 keep-alive": refused_head(("keep-alive", "1")),
    "8.2.2 proxy-connection": refused_head(("proxy-connection", "close")),
    "8.2.2 transfer-encoding": refused_head(("transfer-encoding", "chunked")),
    "8.2.2 upgrade": refused_head(("upgrade", "h2c")),
    "8.2.2 te other than trailers": refused_head(("te", "trailers, deflate")),
    "8.3 an unknown pseudo-header": refused_head((":x", "y")),
    "8.3 a response's pseudo-header": refused_head((":status", "200")),
    "8.3 a pseudo-header after a header": head(payload=REGULAR + block()),
    "8.3.1 an empty path": refused_head((":path", "")),
    "8.3.1 a path without a slash": refused_head((":path", "health")),
    "8.3.1 a path with a space": refused_head((":path", "/a b")),
    "8.3.1 a path with a line end": refused_head((":path", "/ HTTP/1.1\r\nx: y")),
    "8.3.1 a star for a path": refused_head((":path", "*")),
    "8.3.1 an absolute path": refused_head((":path", "http://b/")),
    "8.3.1 no method": refused_head((":method", None)),
    "8.3.1 no scheme": refused_head((":scheme", None)),
    "8.3.1 no path": refused_head((":path", None)),
    "8.3.1 no authority": refused_head((":authority", None)),
    "8.3.1 two methods": head(payload=field(":method", "GET") + block()),
    "8.3.1 two schemes": head(payload=field(":scheme", "http") + block()),
    "8.3.1 two paths": head(payload=field(":path", "/") + block()),
    "8.3.1 two authorities": head(payload=field(":authority", "b") + block()),
    "8.3.1 an authority with a user": refused_head((":authority", "b@a")),
    "8.3.1 an authority with a path": refused_head((":authority", "a/b")),
    "8.3.1 another host than the authority": refused_head(("host", "b")),
    "8.3.1 two hosts": head(payload=block() + field("host", "a") + field("host", "a")),
    "8.3.1 a scheme that is none": refused_head((":scheme", "ht tp")),
    "8.3.1 a method with a space": refused_head((":method", "GET /")),
    "8.5 a tunnel": refused_head((":method", "CONNECT")),
    "8.5 a tunnel as it should be": head(payload=field(":method", "CONNECT") + field(":authority", "a:80")),
    "8.1.1 two different lengths": head(payload=block() + field("content-length", "0") + field("content-length", "1")),
    "8.1.1 a list of lengths": refused_head(("content-length", "0, 0")),
    "8.1.1 a length with a sign": refused_head(("content-length", "+0")),
}


@pytest.fixture(scope="module")
def proxy(faults, tmp_path_factory):
    blue = {"version": "v1", "instances": [faults.address]}
    with Snapback(tmp_path_factory.mktemp("conformance"), [{"name": "chat", "blue": blue}]) as proxy:
        yield proxy
        assert ask("GET", f"{proxy.url}/health")[0] == 200, "it has survived all of that"


def is_goodbye(got, codes):
    """Whether this is the connection's end for one of these reasons."""
    return got is None or got[0] == GOAWAY and int.from_bytes(got[3][4:8]) in codes | {PROTOCOL}


def statuses(got):
    """The first byte of a head says 200 (RFC 7541, appendix A)."""
    return got[0] == HEADERS and got[3][:1] == b"\x88"


@pytest.mark.parametrize("case", SERVED)
def test_what_is_allowed_is_served(proxy, case):
    with Raw(proxy.address) as raw:
        raw.send(SERVED[case])
        got = raw.until(lambda got: got[0] in (HEADERS, RST_STREAM, GOAWAY))
        assert got and statuses(got), got


@pytest.mark.parametrize("case", BROKEN)
def test_what_breaks_a_connection_ends_it(proxy, case):
    sent, codes = BROKEN[case]
    with Raw(proxy.address) as raw:
        raw.send(sent)
        got = raw.until(lambda got: got[0] == GOAWAY)
        assert is_goodbye(got, codes), got
        assert raw.until(lambda got: False) is None, "and closes it"


@pytest.mark.parametrize("case", RESET)
def test_what_breaks_a_stream_ends_it(proxy, case):
    sent, codes = RESET[case]
    with Raw(proxy.address) as raw:
        raw.send(sent)
        got = raw.until(lambda got: got[0] in (RST_STREAM, GOAWAY) or got[0] == HEADERS and got[2] == 3)
        if codes is None:
            # What was reset is of no interest any more: the connection may go on, or end.
            assert got is None or got[2] == 3 or int.from_bytes(got[3][-4:]) == STREAM_CLOSED or got[0] == GOAWAY, got
        elif got is not None and got[0] == RST_STREAM:
            assert got[2] == 1 and int.from_bytes(got[3]) in codes | {PROTOCOL}, got
        else:
            assert is_goodbye(got, codes), got


@pytest.mark.parametrize("case", REFUSED)
def test_a_head_of_no_sense_is_refused_and_never_reaches_an_instance(proxy, faults, case):
    before = faults.count("served")
    with Raw(proxy.address) as raw:
        raw.send(REFUSED[case])
        got = raw.until(lambda got: got[0] in (HEADERS, RST_STREAM, GOAWAY))
        assert got is None or not statuses(got), got
    assert faults.count("served") == before


def test_settings_and_pings_are_acknowledged(proxy):
    with Raw(proxy.address) as raw:
        assert raw.until(lambda got: got[0] == SETTINGS and got[1] & ACK)
        raw.send(frame(PING, ACK, 0, b"not mine") + frame(PING, 0, 0, b"12345678"))
        assert raw.until(lambda got: got[0] == PING and got[1] & ACK)[3] == b"12345678"


def test_data_waits_for_the_window_and_takes_no_more_than_it(proxy):
    with Raw(proxy.address, PREFACE + settings((4, 1))) as raw:
        raw.send(head())
        got = raw.until(lambda got: got[0] == DATA)
        assert len(got[3]) == 1
        raw.send(settings((4, 3)))
        assert len(raw.until(lambda got: got[0] == DATA)[3]) == 2
        raw.send(window(1000, 1))
        rest = b""
        while not (got := raw.until(lambda got: got[0] == DATA))[1] & END_STREAM:
            rest += got[3]
        assert len(rest + got[3]) == 16 - 3


def test_streams_beyond_the_limit_are_refused_and_the_others_are_served(proxy):
    with Raw(proxy.address) as raw:
        for number in range(101):
            raw.send(head(2 * number + 1, flags=END_HEADERS, method="POST", path="/echo"))
        got = raw.until(lambda got: got[0] == RST_STREAM)
        assert got[2] == 201 and int.from_bytes(got[3]) in (REFUSED_STREAM, PROTOCOL)
        raw.send(frame(DATA, END_STREAM, 1, b"x"))
        assert statuses(raw.until(lambda got: got[0] == HEADERS and got[2] == 1))


def test_a_connection_that_almost_begins_with_the_preface_is_ended(proxy):
    with Raw(proxy.address, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n") as raw:
        while raw.socket.recv(1 << 16):
            pass
