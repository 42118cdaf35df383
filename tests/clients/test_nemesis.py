"""Faults in the middle of a shift, against the running binary, under load.

After each: every request came to exactly one thing, what the model servers executed is what the meters counted, green had its share
within a block, nothing reaches green behind a rollback, and once the fault is over the shift comes to its end.
"""

import contextlib
import http.client
import resource
import signal
import socket
import sqlite3
import ssl
import threading
import time

import pytest
import trustme
from nemesis import (
    GUARD,
    HEALTH,
    QUARTER,
    Http2Server,
    Load,
    assert_a_quarter,
    assert_books_agree,
    assert_nothing_reaches,
    at,
    descriptors,
    meters,
    settled,
)
from raw_http2 import END_HEADERS, Raw, head, reset
from workbench import Script, Snapback, ask, wait_for


@pytest.fixture
def blue():
    with Script("faults.py") as server:
        yield server


@pytest.fixture
def green():
    with Script("faults.py") as server:
        yield server


def endpoint(*instances, **more):
    return {"name": "chat", "blue": {"version": "v1", "instances": list(instances)}, "health": HEALTH} | more


@pytest.fixture
def proxy(blue, tmp_path):
    with Snapback(tmp_path, [endpoint(blue.address)]) as proxy:
        yield proxy


def shift_to(proxy, green, strategy=at(QUARTER), **plan):
    """The id of a shift that has begun to bake."""
    fleet = green if isinstance(green, dict) else green.address
    shift = proxy.start_shift("chat", fleet, strategy, **{"guard": GUARD} | plan)
    proxy.wait_for_shift(shift, state="baking")
    return shift


def promote(proxy, shift):
    """Goes on by hand; the shift at its end."""
    status, now = proxy.api("POST", f"/v1/shifts/{shift}/promote", {})
    assert status == 200, now
    return proxy.wait_for_shift(shift, over=True, state="promoted")


def test_a_process_that_was_stopped_for_two_seconds_goes_on_where_it_was(proxy, blue, green):
    shift = shift_to(proxy, green)
    with Load(proxy) as load:
        load.go_on(100)
        proxy.child.send_signal(signal.SIGSTOP)
        time.sleep(2)  # The fault itself: twice what the watchdog gives the evaluator.
        proxy.child.send_signal(signal.SIGCONT)
        load.go_on(100)
        now = proxy.shift(shift)
        assert (now["state"], now["share"]) == ("baking", QUARTER), now
    assert not load.failed(), load.came_to
    counts = settled(proxy, load.total())
    assert_books_agree(counts, blue.count("served"), green.count("served"))
    assert_a_quarter(counts["green"], load.total())
    promote(proxy, shift)


def test_of_many_plans_at_once_one_wins_and_the_others_are_told_which(proxy, blue, green):
    plan = {"green": {"version": "green", "instances": [green.address]}, "strategy": at(QUARTER)}
    answers, together = [], threading.Barrier(100)

    def apply():
        together.wait()
        ask_for_it = lambda: proxy.api("POST", "/v1/endpoints/chat/shifts", plan)
        # More than the admin port works on at a time are told at once to try again, and do.
        answers.append(wait_for("an answer", lambda: (got := ask_for_it())[0] != 503 and got))

    with Load(proxy) as load:
        operators = [threading.Thread(target=apply) for _ in range(100)]
        for operator in operators:
            operator.start()
        for operator in operators:
            operator.join()
        load.go_on(50)
        (winner,) = [answer["id"] for status, answer in answers if status == 201]
        refused = [answer["running_shift"] for status, answer in answers if status == 409]
        assert refused == [winner] * 99, answers
        assert [shift["id"] for shift in proxy.api("GET", "/v1/endpoints/chat/shifts")[1]["shifts"]] == [winner]
        proxy.wait_for_shift(winner, state="baking")
        load.go_on(50)
    assert not load.failed(), load.came_to
    assert_books_agree(settled(proxy, load.total()), blue.count("served"), green.count("served"))
    promote(proxy, winner)


@pytest.mark.parametrize(("case", "shown"), [("vllm-early", "rescued"), ("vllm-error", "green")])
def test_a_green_that_says_in_a_200_that_it_failed_is_snapped_back(blue, tmp_path, case, shown):
    """Before its first token no client sees it; after it, the error is the client's and counts all the same."""
    rescue = {"until": "first_token"}
    with Script("faults.py", case) as green, Snapback(tmp_path, [endpoint(blue.address, rescue=rescue)]) as proxy:
        shift = shift_to(proxy, green)
        with Load(proxy) as load:
            now = proxy.wait_for_shift(shift, over=True, state="rolled_back")
        assert now["cause"]["kind"] == "alarm", now
        assert set(load.came_to) == {(200, "blue"), (200, shown)}, load.came_to
        counts = settled(proxy, load.total())
        assert_books_agree(counts, blue.count("served"), green.count("served"))
        assert counts["green"] == counts["green", "failure"] == load.came_to[200, shown]
        assert_nothing_reaches(green, proxy)


def test_a_green_that_hangs_is_snapped_back_and_blue_answers_its_clients(blue, tmp_path):
    limits, rescue = {"head_timeout": "2s"}, {"on": "before_first_byte"}
    with Script("faults.py", "mute") as green, Snapback(tmp_path, [endpoint(blue.address, limits=limits, rescue=rescue)]) as proxy:
        guard = [{"metric": "latency", "quantile": "p99", "below": "250ms"}]
        shift = shift_to(proxy, green, guard=guard)
        with Load(proxy, clients=16) as load:
            now = proxy.wait_for_shift(shift, over=True, state="rolled_back")
        assert now["cause"]["kind"] == "alarm", now
        assert not load.failed(), load.came_to
        counts = settled(proxy, load.total())
        assert_books_agree(counts, blue.count("served"), green.count("served"))
        wait_for("green is told that nobody waits", lambda: green.count("left") == green.count("served"))
        assert_nothing_reaches(green, proxy)


def test_a_blue_that_dies_blames_nobody_else_and_does_not_stop_its_own_replacement(proxy, blue, green):
    shift = shift_to(proxy, green, at("50%"))
    with Load(proxy) as load:
        load.go_on(100)
        assert not load.failed(), load.came_to
        blue.stop(signal.SIGKILL)
        load.go_on(100)
        failed = load.failed()
        assert {fleet for _, fleet in failed} <= {"blue", None} and all(status in (502, 503) for status, _ in failed), failed
        assert proxy.shift(shift)["state"] == "baking"
    counts = settled(proxy, load.total())
    assert counts["green"] == counts["green", "success"] == green.count("served")
    promote(proxy, shift)
    with Load(proxy) as load:
        load.go_on(50)
    assert set(load.came_to) == {(200, "blue")}, "what was green is blue now"


def test_a_green_that_dies_with_all_the_traffic_is_snapped_back_and_what_did_not_die_twice_is_blues(proxy, blue, green):
    shift = shift_to(proxy, green, {"type": "all_at_once", "final_bake": "1h"})
    with Load(proxy) as load:
        load.go_on(100)
        assert blue.count("served") == 0
        green.stop(signal.SIGKILL)
        now = proxy.wait_for_shift(shift, over=True, state="rolled_back")
        load.go_on(50)
    # A request whose connection and then whose next one died is given up, since it may be what kills servers; of those under way
    # at the blow there are at most as many as clients.
    failed = load.failed()
    assert set(failed) <= {(502, "green")} and sum(failed.values()) <= len(load.threads), load.came_to
    counts = settled(proxy, load.total())
    assert counts["green", "failure"] == counts["green", "rescued"] + sum(failed.values()), counts
    assert blue.count("served") == counts["blue"] + counts["green", "rescued"], (now, counts)


def test_a_reload_of_a_bad_file_changes_nothing_in_a_shift(proxy, blue, green):
    shift = shift_to(proxy, green)
    good = proxy.config.read_text()
    with Load(proxy) as load:
        for bad in (good + "\nendpiont = 3\n", good.replace('"chat"', '"Chat!"'), "[[["):
            proxy.config.write_text(bad)
            status, problem = proxy.api("POST", "/v1/reload")
            assert 400 <= status < 500, (status, problem)
            proxy.child.send_signal(signal.SIGHUP)
            load.go_on(25)
            now = proxy.shift(shift)
            assert (now["state"], now["share"]) == ("baking", QUARTER), now
        proxy.config.write_text(good)
        assert proxy.api("POST", "/v1/reload")[0] == 200
    assert not load.failed(), load.came_to
    counts = settled(proxy, load.total())
    assert_books_agree(counts, blue.count("served"), green.count("served"))
    assert_a_quarter(counts["green"], load.total())
    promote(proxy, shift)


def test_an_instance_that_stands_still_costs_no_client_anything_where_slow_requests_are_hedged(blue, green, tmp_path):
    health = HEALTH | {"timeout": "500ms"}
    with (
        Script("faults.py") as still,
        Snapback(tmp_path, [endpoint(blue.address, still.address, health=health, hedge={"after": "200ms"})]) as proxy,
    ):
        shift = shift_to(proxy, green)
        is_healthy = lambda: all(instance["health"] == "healthy" for instance in proxy.endpoint("chat")["blue"]["instances"])
        with Load(proxy) as load:
            load.go_on(100)
            still.child.send_signal(signal.SIGSTOP)
            load.go_on(100)
            wait_for("the instance is out", lambda: not is_healthy())
            still.child.send_signal(signal.SIGCONT)
            wait_for("the instance is back", is_healthy)
            before = still.count("served")
            wait_for("it gets requests again", lambda: still.count("served") > before)
        assert not load.failed(), load.came_to
        counts = settled(proxy, load.total())
        # What it had received when it stood still, it may have executed when it came back, as the endpoint allows.
        assert_books_agree(counts, blue.count("served") + still.count("served"), green.count("served"))
        assert_a_quarter(counts["green"], load.total())
        promote(proxy, shift)


def test_a_certificate_that_changes_in_a_shift_fails_no_handshake(blue, green, tmp_path):
    authority = trustme.CA()
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def renew():
        certificate = authority.issue_cert("localhost")
        certificate.cert_chain_pems[0].write_to_path(cert)
        certificate.private_key_pem.write_to_path(key)
        return ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())

    renew()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    tls = {"certificates": [{"cert": str(cert), "key": str(key)}]}
    with Snapback(tmp_path, [endpoint(blue.address)], tls=tls) as proxy:
        port = int(proxy.address.rsplit(":", 1)[1])
        connect = lambda: http.client.HTTPSConnection("localhost", port, context=trusting, timeout=60)

        def shown():
            with socket.create_connection(("localhost", port)) as plain:
                with trusting.wrap_socket(plain, server_hostname="localhost") as secure:
                    return secure.getpeercert(binary_form=True)

        shift = shift_to(proxy, green)
        with Load(proxy, connect=connect) as load:
            load.go_on(50)
            new = renew()
            proxy.api("POST", "/v1/reload")
            wait_for("the new certificate is shown", lambda: shown() == new)
            key.write_text("no key")
            assert "stay as they were" in str(proxy.api("POST", "/v1/reload"))
            load.go_on(100)
            assert shown() == new
        assert not load.failed(), load.came_to
        counts = settled(proxy, load.total())
        assert_books_agree(counts, blue.count("served"), green.count("served"))
        assert_a_quarter(counts["green"], load.total())
        promote(proxy, shift)


def test_sigterm_in_a_shift_answers_what_was_sent_and_the_next_start_goes_on_from_its_step(blue, green, tmp_path):
    with Snapback(tmp_path, [endpoint(blue.address)]) as proxy:
        shift = shift_to(proxy, green)
        with Load(proxy) as load:
            load.go_on(100)
            assert proxy.stop() == 0, proxy.errors()
    came_to = load.came_to
    # A request that the process never read may be sent again; one that was executed has its answer.
    unheard = {"ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected", "BrokenPipeError"}
    assert {what for what, _ in load.failed()} <= unheard, load.came_to
    assert came_to[200, "blue"] == blue.count("served") and came_to[200, "green"] == green.count("served"), came_to
    before = green.count("served")
    with Snapback(tmp_path, [endpoint(blue.address)]) as proxy:
        now = proxy.shift(shift)
        assert (now["state"], now["share"], now["step"]) == ("baking", QUARTER, 1), now
        with Load(proxy) as load:
            load.go_on(200)
        assert not load.failed(), load.came_to
        counts = settled(proxy, load.total())
        assert counts["green"] == green.count("served") - before
        assert_a_quarter(counts["green"], load.total())
        promote(proxy, shift)


@pytest.mark.parametrize(("jump", "state", "cause"), [("back", "baking", None), ("ahead", "rolled_back", "execution_timeout")])
def test_a_clock_that_jumps_a_year_while_the_process_is_away_never_raises_greens_share(blue, green, tmp_path, jump, state, cause):
    with Snapback(tmp_path, [endpoint(blue.address)]) as proxy:
        shift = shift_to(proxy, green, at(QUARTER, bake="10m"))
        assert proxy.stop() == 0, proxy.errors()
    # What was written a year from now was written before the clock went back, and the other way round.
    year_ms = 365 * 86_400_000 * (1 if jump == "back" else -1)
    with contextlib.closing(sqlite3.connect(tmp_path / "snapback.db")) as journal, journal:
        journal.execute("UPDATE shifts SET recorded_at = recorded_at + ?", [year_ms])
    with Snapback(tmp_path, [endpoint(blue.address)]) as proxy:
        now = proxy.wait_for_shift(shift, state=state)
        assert (now["cause"] or {}).get("kind") == cause, now
        with Load(proxy) as load:
            load.go_on(200)
        assert not load.failed(), load.came_to
        counts = settled(proxy, load.total())
        assert_books_agree(counts, blue.count("served"), green.count("served"))
        if state == "baking":
            assert proxy.shift(shift)["share"] == QUARTER
            assert_a_quarter(counts["green"], load.total())
            promote(proxy, shift)
        else:
            assert counts["green"] == 0


def test_a_disk_that_takes_nothing_stops_neither_the_serving_nor_the_way_back(blue, green, tmp_path):
    # Writing past the limit is an I/O error and no signal.
    under = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""]
    other = endpoint(blue.address, name="other", match={"host": "other"})
    with Snapback(tmp_path, [endpoint(blue.address), other], under=under) as proxy:
        shift = shift_to(proxy, green, at("50%"))
        soft, hard = resource.prlimit(proxy.child.pid, resource.RLIMIT_FSIZE)
        with Load(proxy) as load:
            load.go_on(50)
            resource.prlimit(proxy.child.pid, resource.RLIMIT_FSIZE, (0, hard))
            green.stop(signal.SIGKILL)
            wait_for("green gets nothing more", lambda: proxy.endpoint("chat")["share"] == "0%")
            at_rollback = meters(proxy)["green"]
            load.go_on(50)
            assert meters(proxy)["green"] <= at_rollback + len(load.threads), "only what was in flight"
            wait_for("it says that it cannot write", lambda: ask("GET", f"{proxy.admin}/readyz")[0] == 503)
            plan = {"green": {"version": "v3", "instances": [green.address]}, "strategy": at(QUARTER)}
            status, problem = proxy.api("POST", "/v1/endpoints/other/shifts", plan)
            assert (status, problem["type"]) == (503, "urn:snapback:journal"), problem
            resource.prlimit(proxy.child.pid, resource.RLIMIT_FSIZE, (soft, hard))
            now = proxy.wait_for_shift(shift, over=True, state="rolled_back")
            assert now["cause"]["kind"] == "alarm", now
            wait_for("it can write again", lambda: ask("GET", f"{proxy.admin}/readyz")[0] == 200)
            load.go_on(50)
        failed = load.failed()
        assert set(failed) <= {(502, "green")} and sum(failed.values()) <= len(load.threads), load.came_to
    with Snapback(tmp_path, [endpoint(blue.address), other]) as proxy:
        assert proxy.shift(shift)["state"] == "rolled_back", "it was written in the end"


def has_ended(connection):
    """Whether the other side has closed it, without waiting."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_without_descriptors_the_connections_there_are_serve_on_and_green_is_not_blamed(proxy, blue, green):
    shift = shift_to(proxy, green)
    address = proxy.address.rsplit(":", 1)
    pid = proxy.child.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with Load(proxy) as load:
        load.go_on(100)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(proxy) + 8, hard))
        crowd = [socket.create_connection((address[0], int(address[1]))) for _ in range(50)]
        load.go_on(100)
        wait_for("those for whom there is none see their connection end", lambda: any(has_ended(one) for one in crowd))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        for one in crowd:
            one.close()
        wait_for("there is room again", lambda: ask("GET", f"{proxy.url}/health")[0] == 200)
        assert proxy.shift(shift)["state"] == "baking"
    # For want of a descriptor a new connection waits, is refused, or is told 503; nothing else may happen to it.
    counts = wait_for("nothing is in flight", lambda: (now := meters(proxy))["in flight"] == 0 and now)
    ended = {(name, None) for name in ("RemoteDisconnected", "ConnectionResetError", "BrokenPipeError")}
    refused = {(503, None), (503, "blue"), (503, "green")} | ended
    assert set(load.failed()) <= refused, load.came_to
    assert "Too many open files" in proxy.errors()
    assert counts["green", "failure"] == 0 and counts["blue", "failure"] == 0, counts
    promote(proxy, shift)


def h2c(server):
    return {"version": "v2", "instances": [server.address], "protocol": "h2c"}


def test_an_http2_green_that_says_goodbye_again_and_again_costs_no_client_anything(blue, tmp_path):
    plain = {"name": "chat", "blue": {"version": "v1", "instances": [blue.address]}}
    with Http2Server(requests_per_connection=7) as green, Snapback(tmp_path, [plain]) as proxy:
        shift = shift_to(proxy, h2c(green))
        with Load(proxy, clients=8) as load:
            load.go_on(400)
        assert not load.failed(), load.came_to
        assert green.connections > 10
        counts = settled(proxy, load.total())
        # What comes behind a goodbye was not looked at, so that it is sent again and yet runs once.
        assert (blue.count("served"), green.answered) == (counts["blue"], counts["green"])
        assert_a_quarter(counts["green"], load.total())
        promote(proxy, shift)


def test_three_thousand_cancelled_streams_in_a_shift_hurt_nobody_else_and_count_for_nobody(tmp_path):
    with Http2Server() as blue, Http2Server() as green, Snapback(tmp_path, [{"name": "chat", "blue": h2c(blue)}]) as proxy:
        shift = shift_to(proxy, h2c(green), at("50%"))
        with Load(proxy) as load, Raw(proxy.address) as raw:
            open_upload = lambda stream: head(stream, flags=END_HEADERS, method="POST")
            for first in range(0, 3_000, 50):
                batch = [2 * number + 1 for number in range(first, first + 50)]
                assert raw.send(b"".join(map(open_upload, batch)))
                wait_for("they are with the instances", lambda: blue.opened + green.opened >= first + 50)
                assert raw.send(b"".join(map(reset, batch)))
            load.go_on(50)
        assert not load.failed(), load.came_to
        counts = settled(proxy, load.total() + 3_000)
        assert counts["blue", "client_gone"] + counts["green", "client_gone"] == 3_000, counts
        assert (blue.answered, green.answered) == (counts["blue", "success"], counts["green", "success"])
        assert blue.connections + green.connections < 100, "an abandoned stream does not cost its connection"
        now = proxy.shift(shift)
        assert now["state"] == "baking", now
        promote(proxy, shift)


def test_an_instance_whose_name_is_gone_gets_nothing_and_fails_nothing(blue, green, tmp_path):
    with Snapback(tmp_path, [endpoint(blue.address, "model.invalid:8000")]) as proxy:
        shift = shift_to(proxy, green)
        with Load(proxy) as load:
            load.go_on(200)
        assert not load.failed(), load.came_to
        counts = settled(proxy, load.total())
        assert_books_agree(counts, blue.count("served"), green.count("served"))
        assert_a_quarter(counts["green"], load.total())
        promote(proxy, shift)
        gone = {"version": "v3", "instances": ["model.invalid:8000"]}
        shift = proxy.start_shift("chat", gone, at(QUARTER), ready_timeout="1s")
        now = proxy.wait_for_shift(shift, over=True, state="rolled_back")
        assert now["cause"]["kind"] == "green_not_ready", now
