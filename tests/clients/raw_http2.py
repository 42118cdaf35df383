"""HTTP/2 written frame by frame (RFC 9113 section 4.1), for what a well-behaved library cannot be made to say."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32
(NO_ERROR, PROTOCOL, INTERNAL, FLOW_CONTROL, _, STREAM_CLOSED, FRAME_SIZE, REFUSED_STREAM, _, COMPRESSION, _, CALM) = range(12)
PATIENCE_SECONDS = 30.0


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*pairs, flags=0):
    return frame(SETTINGS, flags, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window(increment, stream=0):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def reset(stream, code=8):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def length(size, bits, first):
    """An integer with a prefix of so many bits (RFC 7541 section 5.1)."""
    most = (1 << bits) - 1
    if size < most:
        return bytes([first | size])
    out, size = bytes([first | most]), size - most
    while size >= 128:
        out, size = out + bytes([size % 128 | 128]), size // 128
    return out + bytes([size])


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return length(len(value), 7, 0) + value


def field(name, value):
    """A header that no table knows (RFC 7541 section 6.2.2)."""
    return b"\0" + text(name) + text(value)


def block(*changes, method="GET", path="/health"):
    """The header block of a request; a change replaces a header, adds one, or with None leaves one out."""
    headers = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a")]
    for name, value in changes:
        at = next((place for place, known in enumerate(headers) if known[0] == name), None)
        if at is None:
            headers.append((name, value))
        else:
            headers[at] = (name, value)
    return b"".join(field(name, value) for name, value in headers if value is not None)


def head(stream=1, flags=END_HEADERS | END_STREAM, payload=None, **how):
    return frame(HEADERS, flags, stream, block(**how) if payload is None else payload)


class Raw:
    """A client that says its preface and then what it is told."""

    def __init__(self, address, preface=PREFACE + settings()):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.send(preface)

    def send(self, data):
        """Whether it was still taken."""
        try:
            self.socket.sendall(data)
            return True
        except ConnectionError:
            return False

    def read(self):
        """Kind, flags, stream and payload of the next frame; None at the end of the connection."""
        start = self._take(9)
        if start is None:
            return None
        payload = self._take(int.from_bytes(start[:3]))
        if payload is None:
            return None
        return start[3], start[4], int.from_bytes(start[5:]) & 0x7FFFFFFF, payload

    def _take(self, size):
        while len(self.buffer) < size:
            try:
                more = self.socket.recv(1 << 16)
            except ConnectionError:
                return None
            if not more:
                return None
            self.buffer += more
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def until(self, wanted):
        """The first frame that fits; None if the connection ends before."""
        while (got := self.read()) is not None:
            if got[0] == SETTINGS and not got[1] & ACK:
                self.send(settings(flags=ACK))
            if wanted(got):
                return got
        return None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
