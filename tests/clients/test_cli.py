"""The commands against a running proxy: what they print and how they exit."""

import json
import subprocess
import threading

import pytest
from workbench import BIN, Script, Snapback, ask, toml, wait_for

PLAN = {
    "green": {"version": "v2"},
    "strategy": {"type": "linear", "step": "50%", "bake": "300ms", "final_bake": "300ms"},
}


@pytest.fixture(scope="module")
def other():
    with Script("faults.py") as server:
        yield server


@pytest.fixture
def proxy(faults, tmp_path):
    blue = {"version": "v1", "instances": [faults.address]}
    with Snapback(tmp_path, [{"name": "chat", "blue": blue}]) as proxy:
        yield proxy


def run(*words, proxy=None):
    env = {"SNAPBACK_ADMIN": proxy.admin, "PATH": "", "NO_COLOR": "1"} if proxy else None
    return subprocess.run([BIN, *map(str, words)], capture_output=True, text=True, timeout=60, env=env)


def plan_file(folder, green, **changes):
    path = folder / "plan.toml"
    plan = PLAN | {"green": {"version": "v2", "instances": [green.address]}} | changes
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in plan.items()))
    return path


def test_check_says_nothing_is_wrong_or_everything_that_is(proxy, other, tmp_path):
    plan = plan_file(tmp_path, other)
    assert run("check", "-c", proxy.config, "--plan", plan).returncode == 0
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[data]\nlisten = ["127.0.0.1:0"]\nworker = 1\n[admin]\nlisten = "nowhere"\n')
    refused = run("check", "-c", wrong)
    told = refused.stdout + refused.stderr
    assert refused.returncode == 1
    assert "workers" in told and "wrong.toml:3" in told, "the nearest key, and where"
    assert "admin.listen" in told and "wrong.toml:5" in told, "every problem at once"


def test_start_and_wait_exits_with_0_when_promoted(proxy, other, tmp_path):
    plan = plan_file(tmp_path, other)
    dry = run("shift", "start", "chat", plan, "--dry-run", proxy=proxy)
    assert dry.returncode == 0 and proxy.api("GET", "/v1/endpoints/chat/shifts")[1]["shifts"] == []
    done = run("shift", "start", "chat", plan, "--wait", "--timeout", "40s", proxy=proxy)
    assert done.returncode == 0, done.stderr
    assert proxy.endpoint("chat")["blue"]["version"] == "v2"
    shown = run("endpoint", "show", "chat", proxy=proxy)
    assert shown.returncode == 0 and "v2" in shown.stdout and other.address in shown.stdout
    listed = json.loads(run("endpoint", "list", "--output", "json", proxy=proxy).stdout)
    assert [endpoint["name"] for endpoint in listed["endpoints"]] == ["chat"]


def test_start_and_wait_exits_with_1_when_rolled_back_and_explain_says_why(proxy, other, tmp_path):
    guard = [{"metric": "error_rate", "below": "5%"}]
    plan = plan_file(tmp_path, other, guard=guard, strategy=PLAN["strategy"] | {"bake": "1h"})
    over = threading.Event()

    def traffic():
        while not over.is_set():
            ask("POST", f"{proxy.url}/tgi-424", {})  # "the model failed", from whichever fleet

    client = threading.Thread(target=traffic)
    client.start()
    try:
        done = run("shift", "start", "chat", plan, "--wait", "--timeout", "40s", proxy=proxy)
    finally:
        over.set()
        client.join()
    assert done.returncode == 1, done.stderr
    assert proxy.endpoint("chat")["blue"]["version"] == "v1"
    why = run("shift", "explain", "chat", proxy=proxy)
    assert why.returncode == 0
    assert "olled back" in why.stdout and "error_rate" in why.stdout and "5%" in why.stdout
    assert run("shift", "status", "chat", "--wait", proxy=proxy).returncode == 1


def test_start_and_wait_exits_with_3_at_the_deadline_and_the_shift_goes_on_until_it_is_steered(proxy, other, tmp_path):
    plan = plan_file(tmp_path, other, strategy=PLAN["strategy"] | {"bake": "1h"})
    done = run("shift", "start", "chat", plan, "--wait", "--timeout", "200ms", proxy=proxy)
    assert done.returncode == 3, done.stderr
    shift = proxy.endpoint("chat")["running_shift"]
    again = run("shift", "start", "chat", plan, proxy=proxy)
    assert again.returncode == 1 and shift in again.stderr
    proxy.wait_for_shift(shift, state="baking", share="50%")
    assert run("shift", "pause", "chat", "--reason", "lunch", proxy=proxy).returncode == 0
    assert proxy.shift(shift)["state"] == "paused"
    assert run("shift", "resume", "chat", proxy=proxy).returncode == 0
    assert run("shift", "promote", shift, proxy=proxy).returncode == 0
    assert run("shift", "status", shift, "--wait", "--timeout", "40s", proxy=proxy).returncode == 0
    assert run("shift", "abort", shift, proxy=proxy).returncode == 1, "it is over"


def test_a_watch_that_is_not_on_a_terminal_prints_lines_to_the_end(proxy, other, tmp_path):
    watched = run("shift", "start", "chat", plan_file(tmp_path, other), "--watch", proxy=proxy)
    assert watched.returncode == 0, watched.stderr
    assert "v1 -> v2" in watched.stdout and "romoted" in watched.stdout.splitlines()[-1] + watched.stdout.splitlines()[-2]


def test_events_tell_the_story_and_go_on_where_one_left_off(proxy, other, tmp_path):
    assert run("shift", "start", "chat", plan_file(tmp_path, other), "--wait", proxy=proxy).returncode == 0
    told = run("events", "--endpoint", "chat", "--output", "json", proxy=proxy)
    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert told.returncode == 0 and [event["id"] for event in events] == sorted(event["id"] for event in events)
    assert events[-1]["after"] == "promoted" and {event["endpoint"] for event in events} == {"chat"}
    rest = run("events", "--after", events[-2]["id"], "--output", "json", proxy=proxy)
    assert [json.loads(line) for line in rest.stdout.splitlines()] == events[-1:]


def test_a_reload_tells_what_would_change_and_refuses_a_bad_file(proxy, faults):
    with proxy.config.open("a") as file:
        file.write("log = { level = 1 }\n")
    refused = run("reload", proxy=proxy)
    assert refused.returncode == 1 and "log.level" in refused.stderr
    assert ask("GET", f"{proxy.url}/echo")[0] == 200
    text = proxy.config.read_text().replace("log = { level = 1 }\n", "")
    other = toml({"name": "other", "match": {"host": "other.test"}, "blue": {"version": "o1", "instances": [faults.address]}})
    proxy.config.write_text(text.rstrip().removesuffix("]") + f", {other}]\n")
    dry = run("reload", "--dry-run", proxy=proxy)
    assert dry.returncode == 0 and "other" in dry.stdout
    assert proxy.api("GET", "/v1/endpoints/other")[0] == 404
    assert run("reload", proxy=proxy).returncode == 0
    assert proxy.endpoint("other")["blue"]["version"] == "o1"


def test_without_a_proxy_a_command_says_where_it_looked(tmp_path):
    refused = run("endpoint", "list", "--admin", "http://127.0.0.1:1")
    assert refused.returncode == 1 and "127.0.0.1:1" in refused.stderr


def test_a_wrong_command_line_exits_with_2():
    assert run("shift", "status").returncode == 2


def test_a_sigterm_in_a_shift_ends_in_order_and_the_next_start_goes_on_with_it(proxy, faults, other, tmp_path):
    plan = plan_file(tmp_path, other, strategy=PLAN["strategy"] | {"bake": "2s"})
    run("shift", "start", "chat", plan, proxy=proxy)
    shift = proxy.endpoint("chat")["running_shift"]
    proxy.wait_for_shift(shift, state="baking")
    assert proxy.stop() == 0
    endpoint = {"name": "chat", "blue": {"version": "v1", "instances": [faults.address]}}
    with Snapback(tmp_path, [endpoint]) as again:
        assert again.shift(shift)["state"] in ("preparing", "baking")
        again.wait_for_shift(shift, state="promoted")



def test_a_lint_says_what_a_plan_finds_at_the_proxys_traffic_and_at_a_stated_one(proxy, other, tmp_path):
    guard = [{"metric": "error_rate", "below": "1%"}]
    plan = plan_file(tmp_path, other, guard=guard, strategy={"type": "all_at_once", "final_bake": "10s"})
    ask("GET", f"{proxy.url}/echo")
    wait_for("the request is counted", lambda: proxy.endpoint("chat")["blue"]["traffic"]["requests"] == 1)
    measured = run("plan", "lint", "chat", plan, "--output", "json", proxy=proxy)
    assert measured.returncode == 0, measured.stderr
    assert json.loads(measured.stdout)["forecast"]["traffic"]["origin"] == "measured"
    stated = run("plan", "lint", "chat", plan, "--traffic", "20/s", "--output", "json", proxy=proxy)
    (step,) = json.loads(stated.stdout)["forecast"]["steps"]
    # A guard of 1 % in one bake finds 8.3 % with 200 requests, and 5 % with 506: the tables of detectability.
    assert step["requests"] == 200 and step["alarms"][0]["needed_requests"] == 506
    assert abs(step["alarms"][0]["rate"] - 0.083) < 0.001
    assert proxy.api("GET", "/v1/endpoints/chat/shifts")[1]["shifts"] == [], "nothing was started"


def test_a_lint_works_from_the_file_alone_and_exits_with_1_only_for_errors(other, tmp_path):
    guard = [{"metric": "error_rate", "below": "1%"}]
    plan = plan_file(tmp_path, other, guard=guard, no_data="pass")
    nowhere = ("--admin", "http://127.0.0.1:1")
    blind = run("plan", "lint", "chat", plan, "--traffic", "2/s", *nowhere)
    assert blind.returncode == 1 and "error: step 1: green gets 0 requests" in blind.stdout.replace("\n", " "), blind.stdout
    assert "127.0.0.1:1" in blind.stderr, "and says that nobody was asked"
    alone = json.loads(run("plan", "lint", "chat", plan, "--offline", "--output", "json").stdout)
    assert [finding["code"] for finding in alone["findings"]] == ["unknown_traffic"]
    fine = run("plan", "lint", "chat", plan, "--offline", "--traffic", "5000/s")
    assert fine.returncode == 0 and "0 errors, 0 warnings" in fine.stdout, fine.stdout
    assert run("plan", "lint", "chat", plan, *nowhere).returncode == 1, "without a rate somebody must be asked"
    assert run("plan", "lint", "chat", plan, "--traffic", "20").returncode == 2
