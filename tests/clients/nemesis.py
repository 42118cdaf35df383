"""What the tests with a nemesis stand on: a load of which each request is accounted for, and the books that must agree afterwards."""

import collections
import contextlib
import http.client
import json
import pathlib
import random
import socket
import struct
import threading

from prometheus_client.parser import text_string_to_metric_families as parse
from raw_http2 import ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, NO_ERROR, PING, PREFACE, SETTINGS, frame, settings
from workbench import PATIENCE_SECONDS, ask, wait_for

WORKERS = 2
# The card deck of a quarter: five of twenty (src/route/deck.rs).
QUARTER, GREEN_CARDS, CARDS = "25%", 5, 20
HEALTH = {"path": "/health", "interval": "100ms", "timeout": "5s"}
GUARD = [{"metric": "error_rate", "below": "5%"}]


def at(share, bake="1h"):
    """One step at this share, and then the whole for a moment."""
    return {"type": "steps", "steps": [{"share": share, "bake": bake}], "final_bake": "100ms"}


class Load:
    """Clients that send as fast as they are answered, each request once; half of them keep their connections.

    `came_to` counts what the requests came to: the status and the fleet of an answer that is whole and is that request's own, or the
    error's name.
    """

    def __init__(self, proxy, clients=4, case="echo", seed=20_261, connect=None):
        self.proxy, self.case = proxy, case
        self.connect = connect or (lambda: http.client.HTTPConnection(proxy.address, timeout=PATIENCE_SECONDS))
        self.came_to = collections.Counter()
        self.lock = threading.Lock()
        self.running = True
        self.threads = [
            threading.Thread(target=self._client, args=[number, random.Random(seed + number)], daemon=True)
            for number in range(clients)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        """Sends nothing more and waits for what is under way."""
        self.running = False
        for thread in self.threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "a request has no outcome"

    def total(self):
        with self.lock:
            return self.came_to.total()

    def go_on(self, requests):
        """Waits for so many more outcomes."""
        goal = self.total() + requests
        wait_for(f"{requests} more requests have their outcome", lambda: self.total() >= goal)

    def failed(self):
        """What was not a whole answer of a fleet."""
        with self.lock:
            return {what: count for what, count in self.came_to.items() if what[0] != 200}

    def _client(self, number, rng):
        keeps, connection = number % 2 == 0, None
        while self.running:
            connection = connection or self.connect()
            came_to, is_open = self._exchange(connection, f"/{self.case}/{number}/{rng.getrandbits(64):x}")
            if not (keeps and is_open):
                connection.close()
                connection = None
            with self.lock:
                self.came_to[came_to] += 1

    def _exchange(self, connection, target):
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return (type(error).__name__, None), False
        fleet = answer.getheader("x-snapback-fleet")
        if answer.status == 200 and answer.getheader("content-type") == "application/json":
            if json.loads(body)["target"] != target:
                return ("the answer to another request", fleet), False
        return (answer.status, fleet), not answer.will_close


class Http2Server:
    """A model server that speaks HTTP/2 without TLS, frame by frame.

    It answers what ends with its head, and never what has a body. After so many requests it says goodbye (RFC 9113 section 6.8) as
    a server that restarts does: what is under way it answers, what comes later it has not seen.
    """

    ANSWER = bytes([0x88])  # `:status: 200`, from the static table.

    def __init__(self, requests_per_connection=None):
        self.most = requests_per_connection
        self.connections = self.answered = self.opened = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self.listener.getsockname())

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as reader:
            if reader.read(len(PREFACE)) != PREFACE:
                return  # A connection is all that a health check wants.
            with self.lock:
                self.connections += 1
            connection.sendall(settings())
            taken = 0
            while len(start := reader.read(9)) == 9:
                kind, flags, stream = start[3], start[4], int.from_bytes(start[5:]) & 0x7FFFFFFF
                payload = reader.read(int.from_bytes(start[:3]))
                if kind == SETTINGS and not flags & ACK:
                    connection.sendall(settings(flags=ACK))
                elif kind == PING and not flags & ACK:
                    connection.sendall(frame(PING, ACK, 0, payload))
                elif kind == HEADERS and (self.most is None or taken < self.most):
                    taken += 1
                    self._take(connection, flags, stream)
                    if taken == self.most:
                        connection.sendall(frame(GOAWAY, 0, 0, struct.pack(">II", stream, NO_ERROR)))

    def _take(self, connection, flags, stream):
        if not flags & END_STREAM:
            with self.lock:
                self.opened += 1
            return
        # Counted first: whoever has the answer finds it counted.
        with self.lock:
            self.answered += 1
        connection.sendall(frame(HEADERS, END_HEADERS, stream, self.ANSWER) + frame(DATA, END_STREAM, stream, b"{}"))


def descriptors(proxy):
    """How many files and sockets the process has open."""
    return len(list(pathlib.Path(f"/proc/{proxy.child.pid}/fd").iterdir()))


def meters(proxy):
    """The counters of the endpoint `chat`, by fleet: requests dealt, sent again within it, and sent to the other one."""
    counts = collections.Counter()
    for family in parse(ask("GET", f"{proxy.admin}/metrics")[2].decode()):
        for sample in family.samples:
            labels = sample.labels
            if labels.get("endpoint") != "chat":
                continue
            if sample.name == "snapback_requests_total":
                counts[labels["fleet"]] += int(sample.value)
                counts[labels["fleet"], labels["outcome"]] += int(sample.value)
            elif sample.name == "snapback_retries_total":
                counts[labels["fleet"], "retried"] += int(sample.value)
            elif sample.name == "snapback_hedges_total" and labels["result"] == "tried":
                counts[labels["fleet"], "retried"] += int(sample.value)
            elif sample.name == "snapback_rescues_total" and labels["result"] == "tried":
                counts[labels["fleet"], "rescued"] += int(sample.value)
            elif sample.name == "snapback_in_flight":
                counts["in flight"] += int(sample.value)
    return counts


def settled(proxy, requests):
    """The meters, once they have counted each of these requests, and each once."""
    counts = wait_for(
        f"{requests} requests are counted: {dict(meters(proxy))}",
        lambda: (now := meters(proxy))["in flight"] == 0 and now["blue"] + now["green"] >= requests and now,
    )
    assert counts["blue"] + counts["green"] == requests, counts
    return counts


def assert_books_agree(counts, blue_served, green_served):
    """What the model servers executed is what the meters say was sent to them: nothing was lost, and nothing ran twice but what was
    sent again, of which the first try may not have arrived."""
    for served, dealt, retried in [
        (green_served, counts["green"], counts["green", "retried"]),
        (blue_served, counts["blue"] + counts["green", "rescued"], counts["blue", "retried"]),
    ]:
        assert dealt <= served <= dealt + retried, (served, counts)


def assert_a_quarter(green, total):
    """Green was dealt its share, but for one unfinished block of each worker."""
    assert abs(green - total * GREEN_CARDS / CARDS) <= WORKERS * GREEN_CARDS, f"{green} of {total}"


def assert_nothing_reaches(green, proxy):
    """With traffic going on, the model server gets not a single request."""
    before = green.count("served")
    with Load(proxy) as load:
        load.go_on(100)
    assert not load.failed(), load.came_to
    assert green.count("served") == before, "green was sent requests after the rollback"
