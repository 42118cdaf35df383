"""Polled alarms against real servers: webhooks and a Prometheus that answer well, badly, or not at all; and reports that outlive a process."""

import datetime
import ssl
import sys
import urllib.parse

import pytest
import trustme
from workbench import HERE, Snapback, ask, wait_for

sys.path.append(str(HERE / "servers"))
from oracle import Oracle  # noqa: E402

STEADY = {"type": "steps", "steps": [{"share": "50%", "bake": "1h"}]}
SECRET = "only-for-the-grader"


@pytest.fixture
def proxy(v1, tmp_path):
    """A proxy of the endpoint `chat`."""
    with Snapback(tmp_path, [{"name": "chat", "blue": {"version": "v1", "instances": [v1.address]}}]) as proxy:
        yield proxy


def external(url, key="poll", **more):
    return {"name": "quality", key: {"url": url, "every": "1s", "timeout": "10s"} | more}


def say(proxy):
    """One request of a client."""
    return ask("GET", proxy.url + "/v1/models")[0]


def quality(proxy, shift):
    return proxy.shift(shift)["externals"][0]


def polls_of(proxy, shift, wanted):
    """The alarm once its polls are as wanted."""
    return wait_for("the polls are as wanted", lambda: (now := quality(proxy, shift)) and now["polls"] and wanted(now["polls"]) and now)


def test_a_webhook_that_says_alarm_rolls_back_and_its_token_is_nowhere_else(proxy, v3, tmp_path):
    token = tmp_path / "token"
    token.write_text(SECRET + "\n")
    with Oracle("ok") as oracle:
        asked = external(f"{oracle.url}/state?of=chat", method="POST", token_file=str(token))
        shift = proxy.start_shift("chat", v3.address, STEADY, external=[asked])
        proxy.wait_for_shift(shift, state="baking")
        said = polls_of(proxy, shift, lambda polls: polls["answered"] >= 2)
        assert said["state"] == "ok" and said["source"] == "report" and said["lease_ends_at"], said
        first, last = oracle.asked[0], oracle.asked[-1]
        assert first["headers"]["authorization"] == f"Bearer {SECRET}" and last["path"] == "/state?of=chat"
        assert f'"shift":"{shift}"' in last["body"] and '"green":"green"' in last["body"], last
        assert say(proxy) == 200
        oracle.says = "alarm"
        over = proxy.wait_for_shift(shift, state="rolled_back")
    assert over["cause"]["alarm"] == "quality"
    assert "answered alarm: it is alarm, says Bearer [token]" in over["explanation"], over["explanation"]
    events = ask("GET", f"{proxy.admin}/v1/shifts/{shift}")[2] + (tmp_path / "snapback.db").read_bytes()
    assert proxy.stop() == 0
    everything = events + proxy.errors().encode() + b"".join(path.read_bytes() for path in tmp_path.glob("snapback.db*"))
    assert b"it is alarm" in everything and SECRET.encode() not in everything


@pytest.mark.parametrize(
    "wrong, reason",
    [
        ("hang", "no answer within 500ms"),
        ("drip", "no answer within 500ms"),
        ("garbage", "no answer: "),
        ("nothing", "no answer: "),
        ("big", "its answer is larger than 1MiB"),
        ("endless_head", "no answer: "),
        ("html", "it answered text/html, not application/json"),
        ("redirect", "it answered 302, and redirects are not followed"),
        ("error", "it answered 500"),
        ("fine", 'the state is "fine"'),
        ("short", "its answer broke off: "),
    ],
)
def test_a_bad_answer_is_a_failure_with_its_reason_and_harms_nothing_else(proxy, v3, wrong, reason):
    with Oracle(wrong) as oracle:
        patience = "500ms" if wrong in ("hang", "drip") else "10s"
        asked = external(f"{oracle.url}/state", errors=2, on_error="alarm", timeout=patience)
        shift = proxy.start_shift("chat", v3.address, STEADY, external=[asked])
        failed = polls_of(proxy, shift, lambda polls: polls["failed"] >= 1)
        assert reason in failed["polls"]["last_failure"], failed
        assert say(proxy) == 200
        over = proxy.wait_for_shift(shift, state="rolled_back")
        assert all(one["path"] == "/state" for one in oracle.asked)
    assert over["externals"][0]["source"] == "failing" and over["externals"][0]["nearness"] == 1
    assert "the last 2 questions failed, which counts as alarm" in over["explanation"], over["explanation"]


def test_a_server_that_is_gone_lets_the_lease_run_out(proxy, v3):
    with Oracle("ok") as oracle:
        asked = external(f"{oracle.url}/state", timeout="2s", errors=100) | {"lease": "5s", "on_expiry": "alarm"}
        shift = proxy.start_shift("chat", v3.address, STEADY, external=[asked])
        polls_of(proxy, shift, lambda polls: polls["answered"] >= 1)
    over = proxy.wait_for_shift(shift, state="rolled_back")
    assert over["externals"][0]["source"] == "expired"
    assert "no answer for 5 s, which counts as alarm" in over["explanation"], over["explanation"]


def test_a_prometheus_is_asked_for_the_shifts_own_series_and_one_that_breaches_is_enough(proxy, v3):
    with Oracle([]) as oracle:
        query = 'drift{endpoint="$endpoint",version="$green"}'
        asked = external(f"{oracle.url}/prom/", "prometheus", query=query, above=0.2)
        shift = proxy.start_shift("chat", v3.address, STEADY, external=[asked])
        said = polls_of(proxy, shift, lambda polls: polls["answered"] >= 1)
        assert (said["state"], said["value"], said["bound"]) == ("insufficient_data", None, 0.2)
        assert oracle.asked[-1]["query"] == 'drift{endpoint="chat",version="green"}'
        sent = urllib.parse.parse_qs(oracle.asked[-1]["body"])
        assert sent["timeout"] == ["10000ms"] and oracle.asked[-1]["path"] == "/prom/api/v1/query"
        oracle.says = ["NaN", "0.1"]
        said = wait_for("a value", lambda: (now := quality(proxy, shift)) and now["value"] and now)
        assert (said["state"], said["value"], said["nearness"]) == ("ok", 0.1, 0.5)
        oracle.says = ["0.1", "0.3"]
        over = proxy.wait_for_shift(shift, state="rolled_back")
    assert "0.3 is above 0.2 (1 of 2 series)" in over["explanation"], over["explanation"]


def test_a_raised_alarm_refuses_a_start_and_a_dry_run_says_so(proxy, v3):
    with Oracle("alarm") as oracle:
        plan = {"green": {"version": "v3", "instances": [v3.address]}, "strategy": STEADY}
        plan["external"] = [external(f"{oracle.url}/state")]
        status, problem = proxy.api("POST", "/v1/endpoints/chat/shifts", plan)
        assert status == 409 and problem["type"] == "urn:snapback:alarm-raised", problem
        assert "external quality: it is raised already" in problem["detail"], problem
        status, checked = proxy.api("POST", "/v1/endpoints/chat/shifts?dry_run=true", plan)
        assert status == 200 and "alarm_raised" in [finding["code"] for finding in checked["findings"]]
        oracle.says = "ok"
        assert proxy.api("POST", "/v1/endpoints/chat/shifts", plan)[0] in (200, 201, 202)


def test_an_https_webhook_is_verified_by_the_plans_own_authority(proxy, v3, tmp_path):
    authority, trusted = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(trusted)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    with Oracle("ok", tls) as oracle:
        shift = proxy.start_shift("chat", v3.address, STEADY, external=[external(f"{oracle.url}/state")])
        failed = polls_of(proxy, shift, lambda polls: polls["failed"] >= 1)
        assert "no TLS: " in failed["polls"]["last_failure"] and not oracle.asked, failed
        proxy.api("POST", f"/v1/shifts/{shift}/abort", {"reason": "the next"})
        proxy.wait_for_shift(shift, state="rolled_back")
        shift = proxy.start_shift("chat", v3.address, STEADY, external=[external(f"{oracle.url}/state", ca=str(trusted))])
        assert polls_of(proxy, shift, lambda polls: polls["answered"] >= 1)["state"] == "ok"


def test_a_report_holds_after_kill_9_for_what_is_left_of_its_lease(v1, v3, tmp_path):
    endpoints = [{"name": "chat", "blue": {"version": "v1", "instances": [v1.address]}}]
    report = {"state": "ok", "reason": "20 of 20 graded well"}
    with Snapback(tmp_path, endpoints) as proxy:
        told = {"name": "quality", "lease": "10m", "on_expiry": "alarm"}
        shift = proxy.start_shift("chat", v3.address, STEADY, external=[told])
        proxy.wait_for_shift(shift, state="baking")
        assert proxy.api("POST", "/v1/alarms/quality/state", report)[0] == 200
        before = quality(proxy, shift)
    with Snapback(tmp_path, endpoints) as proxy:
        after = quality(proxy, shift)
        assert (after["source"], after["reason"]) == ("report", "20 of 20 graded well"), after
        ends = [datetime.datetime.fromisoformat(one["lease_ends_at"]) for one in (before, after)]
        assert abs((ends[0] - ends[1]).total_seconds()) < 1, ends
        assert proxy.shift(shift)["state"] == "baking"
