"""Stateful sessions with the real boto3: one stays on the instance that made it, over workers, ports, restarts and shifts."""

import http.server
import itertools
import threading

import pytest
from aws import Sage, client
from botocore.exceptions import ClientError
from workbench import Snapback, wait_for

PREFIX = "x-amzn-sagemaker-"


class Stateful(http.server.BaseHTTPRequestHandler):
    """A container that keeps sessions: it makes them, knows only its own, and closes them when it is asked to."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(200, b"")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        session, said = self.headers.get(PREFIX + "session-id"), {}
        if session == "NEW_SESSION":
            session = f"{self.server.name}-{next(self.server.numbers)}"
            self.server.sessions.add(session)
            said[PREFIX + "new-session-id"] = f"{session}; Expires=2099-01-01T00:00:00Z"
        elif session and session not in self.server.sessions:
            return self.answer(400, f"{self.server.name} has no session {session}".encode())
        if self.headers.get(PREFIX + "custom-attributes") == "close":
            self.server.sessions.discard(session)
            said[PREFIX + "closed-session-id"] = session
        return self.answer(200, self.server.name.encode(), said)

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def fleets():
    """Two fleets of three containers, by their addresses."""
    servers = []
    for name in [f"{fleet}{place}" for fleet in ("blue", "green") for place in range(3)]:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stateful)
        server.name, server.numbers, server.sessions = name, itertools.count(), set()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    addresses = [f"127.0.0.1:{server.server_port}" for server in servers]
    yield [addresses[:3], addresses[3:]]
    for server in servers:
        server.shutdown()


def ask(runtime, session=None, **members):
    """What is answered within a session, and by whom."""
    given = {"SessionId": session} if session else {}
    answer = runtime.invoke_endpoint(EndpointName="talk", Body=b"{}", **given, **members)
    return answer, answer["Body"].read().decode()


def begin(runtime):
    """A new session's id and its container."""
    answer, who = ask(runtime, "NEW_SESSION")
    session, expiry = answer["NewSessionId"].split("; ")
    assert expiry == "Expires=2099-01-01T00:00:00Z"
    return session, who


def test_a_session_stays_on_the_instance_that_made_it(tmp_path, fleets):
    with Snapback(tmp_path, []) as proxy:
        Sage(proxy, "talk", fleets).begin()
        data, admin = (client(proxy, "sagemaker-runtime", url=url) for url in (proxy.url, proxy.admin))
        sessions = [begin(data) for _ in range(12)]
        assert len({who for _, who in sessions}) > 1
        for session, who in sessions * 3:
            assert ask(data, session)[1] == ask(admin, session)[1] == who
        assert proxy.stop() == 0
    with Snapback(tmp_path, []) as proxy:
        data = client(proxy, "sagemaker-runtime", url=proxy.url)
        wait_for("it serves again", lambda: Sage(proxy, "talk", fleets).describe()["EndpointStatus"] == "InService")
        for session, who in sessions:
            answer, served = ask(data, session, CustomAttributes="close")
            assert (served, answer["ClosedSessionId"]) == (who, session)
            with pytest.raises(ClientError) as caught:
                ask(data, session)
            assert caught.value.response["OriginalMessage"].startswith(f"{who} has no session {who}-"), "a container knows its own ids alone"


def test_a_growing_share_moves_no_session_and_a_rollback_voids_those_of_green(tmp_path, fleets):
    with Snapback(tmp_path, []) as proxy:
        sage = Sage(proxy, "talk", fleets)
        sage.begin()
        runtime = client(proxy, "sagemaker-runtime", url=proxy.url)
        blues = [begin(runtime) for _ in range(6)]
        linear = {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {"Type": "LINEAR", "LinearStepSize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 3600},
                "TerminationWaitInSeconds": 3600,
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": sage.alarm}]},
        }
        sage.update(sage.c2, linear)
        greens = []
        for step in (1, 2, 3):
            wait_for(f"step {step}", lambda: sage.word() == "Baking" and sage.pending()["CurrentInstanceCount"] == step)
            new = [begin(runtime) for _ in range(12)]
            greens += [(session, who) for session, who in new if who.startswith("green")]
            for session, who in blues + greens:
                assert ask(runtime, session)[1] == who
            if step < 3:
                sage.promote_step()
        assert greens
        sage.raise_alarm()
        sage.wait("endpoint_in_service")
        for session, who in blues:
            assert ask(runtime, session)[1] == who
        for session, _ in greens:
            with pytest.raises(ClientError) as caught:
                ask(runtime, session)
            assert caught.value.response["OriginalMessage"].startswith("blue")
