"""A client of Snapback's admin port: the standard library alone, typed, one file to copy.

    from snapback_client import Client

    client = Client("http://127.0.0.1:9090", token=os.environ.get("SNAPBACK_TOKEN"))
    shift = client.start("chat", {"green": {...}, "strategy": {...}}, reason="release 12")
    shift = client.wait(shift["id"], timeout=3600, on_change=print)
    if shift["state"] != "promoted":
        raise SystemExit(shift["explanation"])

Documents are dictionaries in the shape of the API (`/v1/openapi.json` has every member); those that programs read most are typed here.
"""

from __future__ import annotations

import json
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException, HTTPResponse
from typing import Any, Literal, TypedDict, cast

Json = Mapping[str, Any]
IfRunning = Literal["refuse", "queue", "supersede"]

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 120.0  # longer than a restart with a full drain takes


class Shift(TypedDict):
    """The members of a shift that programs read most."""

    id: str
    endpoint: str
    state: str
    over: bool
    blue_version: str
    green_version: str
    step: int | None
    share: str
    share_got: float | None
    cause: dict[str, Any] | None
    held: str | None
    held_until: str | None
    next: dict[str, Any]
    alarms: list[dict[str, Any]]
    fleets: dict[str, Any]
    findings: list[dict[str, Any]]
    explanation: str


class Queued(TypedDict):
    """A shift that waits for its turn."""

    id: str
    endpoint: str
    place: int
    waits_for: str
    green_version: str


class Endpoint(TypedDict):
    """The members of an endpoint that programs read most."""

    name: str
    origin: str
    declared: dict[str, Any]
    share: str
    blue: dict[str, Any]
    green: dict[str, Any] | None
    running_shift: str | None
    queue: list[Queued]


class Event(TypedDict):
    """Something that happened."""

    id: int
    at: str
    kind: str
    endpoint: str | None
    shift: str | None
    before: str | None
    after: str | None
    actor: str
    cause: str


class Refused(Exception):
    """The admin port understood and said no (RFC 9457)."""

    def __init__(self, status: int, problem: Json) -> None:
        self.status = status
        self.kind: str = problem.get("type", "about:blank")
        self.problem = problem
        keys = [f"{item.get('key')}: {item.get('message')}" for item in problem.get("problems", [])]
        super().__init__("; ".join([problem.get("detail") or problem.get("title") or f"status {status}", *keys]))


class Unreachable(Exception):
    """Nobody answered; the same request may well succeed later."""


class TimedOut(Exception):
    """A shift still ran at the deadline. It goes on."""

    def __init__(self, shift: Shift) -> None:
        self.shift = shift
        super().__init__(f"{shift['id']} is {shift['state']} at {shift['share']}; next: {shift['next']['what']}")


class Client:
    """Talks to one admin port. Safe to share between threads: every request has a connection of its own."""

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        actor: str | None = None,
        ca_file: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        self.url = (url or os.environ.get("SNAPBACK_ADMIN") or "http://127.0.0.1:9090").rstrip("/")
        if "://" not in self.url:
            self.url = f"http://{self.url}"
        self.timeout = timeout
        self._headers = {"accept": "application/json"}
        if token := token or os.environ.get("SNAPBACK_TOKEN"):
            self._headers["authorization"] = f"Bearer {token}"
        if actor := actor or os.environ.get("USER"):
            self._headers["x-snapback-actor"] = actor
        tls = ssl.create_default_context(cafile=ca_file) if self.url.startswith("https:") else None
        handlers: list[Any] = [urllib.request.ProxyHandler({})]
        if tls is not None:
            handlers.append(urllib.request.HTTPSHandler(context=tls))
        self._opener = urllib.request.build_opener(*handlers)

    def endpoints(self) -> list[Endpoint]:
        """All endpoints, by name."""
        return cast(list[Endpoint], self._json("GET", "/v1/endpoints")["endpoints"])

    def endpoint(self, name: str) -> Endpoint:
        """One endpoint, with its fleets and traffic."""
        return cast(Endpoint, self._json("GET", f"/v1/endpoints/{_part(name)}"))

    def declare(self, name: str, endpoint: Json, *, dry_run: bool = False) -> Endpoint:
        """Makes an endpoint what the document says; the same document again changes nothing."""
        return cast(Endpoint, self._json("PUT", f"/v1/endpoints/{_part(name)}", endpoint, dry_run="true" if dry_run else None))

    def shifts(self, endpoint: str) -> list[Shift]:
        """An endpoint's shifts, newest first."""
        return cast(list[Shift], self._json("GET", f"/v1/endpoints/{_part(endpoint)}/shifts")["shifts"])

    def shift(self, id: str) -> Shift:
        """One shift, as it is now."""
        return cast(Shift, self._json("GET", f"/v1/shifts/{_part(id)}"))

    def start(
        self,
        endpoint: str,
        plan: Json,
        *,
        reason: str = "",
        if_running: IfRunning | None = None,
        dry_run: bool = False,
    ) -> Shift | Queued:
        """Starts a shift, or puts it into the queue; a dry run says what would be started, and has no id."""
        path = f"/v1/endpoints/{_part(endpoint)}/shifts"
        answer = self._json("POST", path, plan, reason=reason, dry_run="true" if dry_run else None, if_running=if_running)
        return cast(Queued, answer) if "waits_for" in answer else cast(Shift, answer)

    def pause(self, id: str, reason: str = "") -> Shift:
        """Holds at the present step; alarms go on."""
        return self._command(id, "pause", reason)

    def resume(self, id: str, reason: str = "") -> Shift:
        """Goes on, or approves the next step."""
        return self._command(id, "resume", reason)

    def promote(self, id: str, reason: str = "") -> Shift:
        """Skips the bakes that are left and gives green everything."""
        return self._command(id, "promote", reason)

    def abort(self, id: str, reason: str = "") -> Shift:
        """Rolls back: all traffic to blue at once."""
        return self._command(id, "abort", reason)

    def report_alarm(self, name: str, state: Literal["ok", "alarm", "insufficient_data"], reason: str = "") -> list[str]:
        """Says what an external alarm says from now on; the shifts that heard it."""
        answer = self._json("POST", f"/v1/alarms/{_part(name)}/state", {"state": state, "reason": reason})
        return cast(list[str], answer["shifts"])

    def wait(
        self,
        id: str,
        *,
        timeout: float | None = None,
        on_change: Callable[[Shift], object] | None = None,
    ) -> Shift:
        """The shift once it is over, promoted or not; also of one that still waits for its turn, and through restarts of the proxy.

        Calls `on_change` whenever state, step, share or what holds it has changed. Raises `TimedOut` at the deadline, `Refused` of a shift that
        was dropped from its queue, and `Unreachable` when nobody has answered for two minutes.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        heard = time.monotonic()
        place: tuple[object, ...] = ()
        shift: Shift | None = None
        while True:
            try:
                shift = self.shift(id)
                heard = time.monotonic()
            except Unreachable:
                if time.monotonic() - heard > PATIENCE_SECONDS:
                    raise
            except Refused as refused:
                heard = time.monotonic()
                if refused.status == 404 and not self._is_queued(id):
                    shift = self.shift(id)  # it may have begun since; if not, it never will
                elif refused.status not in (404, 503):
                    raise
            if shift is not None:
                now = (shift["state"], shift["step"], shift["share"], shift["held"])
                if on_change is not None and now != place:
                    on_change(shift)
                place = now
                if shift["over"]:
                    return shift
            if deadline is not None and time.monotonic() >= deadline:
                if shift is None:
                    raise Unreachable(f"nothing was heard of {id} until the deadline")
                raise TimedOut(shift)
            time.sleep(POLL_SECONDS)

    def events(self, *, after: int = 0, endpoint: str | None = None) -> Iterator[Event]:
        """Events with an id above this, then new ones as they happen: resumes after a lost connection, and never ends by itself."""
        lost = time.monotonic()
        while True:
            try:
                query = {"endpoint": endpoint} if endpoint else {}
                headers = {"accept": "text/event-stream", "last-event-id": str(after)}
                with self._open("GET", "/v1/events", None, query, headers) as stream:
                    for line in stream:
                        lost = time.monotonic()
                        if line.startswith(b"data:"):
                            event = cast(Event, json.loads(line[5:]))
                            after = event["id"]
                            yield event
            except (Unreachable, OSError, HTTPException) as error:
                if time.monotonic() - lost > PATIENCE_SECONDS:
                    raise Unreachable(f"{self.url} stayed away: {error}") from error
            time.sleep(POLL_SECONDS)

    def _is_queued(self, id: str) -> bool:
        return any(queued["id"] == id for endpoint in self.endpoints() for queued in endpoint["queue"])

    def _command(self, id: str, verb: str, reason: str) -> Shift:
        return cast(Shift, self._json("POST", f"/v1/shifts/{_part(id)}/{verb}", {"reason": reason}))

    def _json(self, method: str, path: str, body: Json | None = None, *, reason: str = "", **query: str | None) -> dict[str, Any]:
        headers = {"x-snapback-reason": " ".join(reason.split())} if reason else {}
        given = {key: value for key, value in query.items() if value is not None}
        with self._open(method, path, body, given, headers) as response:
            text = response.read()
        return cast(dict[str, Any], json.loads(text)) if text else {}

    def _open(
        self, method: str, path: str, body: Json | None, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> HTTPResponse:
        url = self.url + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method, headers={**self._headers, **headers})
        if data is not None:
            request.add_header("content-type", "application/json")
        try:
            return cast(HTTPResponse, self._opener.open(request, timeout=self.timeout))
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, _problem(error.read())) from None
        except (OSError, HTTPException) as error:
            raise Unreachable(f"cannot reach {self.url}: {error}") from error


def _problem(text: bytes) -> Json:
    """The problem document; what is none comes from something else than an admin port."""
    try:
        document = json.loads(text)
    except ValueError:
        return {"title": "the answer is no problem document: is this Snapback's admin port?"}
    return cast(Json, document) if isinstance(document, dict) else {}


def _part(name: str) -> str:
    return urllib.parse.quote(name, safe="")
