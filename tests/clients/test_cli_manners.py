"""How the commands behave in a pipeline and on a terminal: what they say while they wait, when they fail, and in which colours."""

import json
import os
import pty
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from workbench import BIN, Script, Snapback, toml

BAKE = {"type": "linear", "step": "50%", "bake": "300ms", "final_bake": "300ms"}


@pytest.fixture(scope="module")
def other():
    with Script("faults.py") as server:
        yield server


@pytest.fixture
def proxy(faults, tmp_path):
    blue = {"version": "v1", "instances": [faults.address]}
    with Snapback(tmp_path, [{"name": "chat", "blue": blue}]) as proxy:
        yield proxy


def run(*words, proxy=None, **env):
    env = {"PATH": os.environ["PATH"]} | ({"SNAPBACK_ADMIN": proxy.admin} if proxy else {}) | env
    return subprocess.run([BIN, *map(str, words)], capture_output=True, text=True, timeout=60, env=env)


def on_a_terminal(*words, proxy, **env):
    """What a terminal would be told, and the exit status."""
    ours, theirs = pty.openpty()
    env = {"SNAPBACK_ADMIN": proxy.admin, "TERM": "xterm-256color"} | env
    child = subprocess.Popen([BIN, *map(str, words)], stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    told = b""
    try:
        while part := os.read(ours, 65536):
            told += part
    except OSError:
        pass  # Linux says so that the other side is closed.
    os.close(ours)
    return told.decode(), child.wait(60)


def plan_file(folder, green, version="v2", **changes):
    path = folder / f"{version}.toml"
    plan = {"green": {"version": version, "instances": [green.address]}, "strategy": BAKE} | changes
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in plan.items()))
    return path


def test_waiting_says_on_standard_error_where_the_shift_is_and_leaves_the_answer_to_standard_output(proxy, other, tmp_path):
    plan = plan_file(tmp_path, other)
    done = run("shift", "start", "chat", plan, "--wait", "--timeout", "40s", "--output", "json", proxy=proxy)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "promoted", "one document and nothing else"
    assert re.search(r"chat baking, step 1/2, 50% to v2, in \d+s: step 2 of 2", done.stderr), done.stderr
    assert "\x1b" not in done.stderr and "\r" not in done.stderr


def test_a_shift_that_is_held_says_what_holds_it(proxy, other, tmp_path):
    assert run("freeze", "--reason", "end of the year", proxy=proxy).returncode == 0
    assert run("unfreeze", proxy=proxy).returncode == 0
    plan = plan_file(tmp_path, other, strategy=BAKE | {"bake": "1s"})
    started = run("shift", "start", "chat", plan, proxy=proxy)
    assert started.returncode == 0 and run("freeze", "chat", "--reason", "incident 1207", proxy=proxy).returncode == 0
    held = run("shift", "status", "chat", "--wait", "--timeout", "3s", proxy=proxy)
    assert held.returncode == 3 and "held: " in held.stderr and "incident 1207" in held.stderr, held.stderr
    assert run("unfreeze", "chat", proxy=proxy).returncode == 0
    assert run("shift", "status", "chat", "--wait", "--timeout", "40s", proxy=proxy).returncode == 0


def test_a_queued_shift_is_listed_behind_the_running_one_and_can_be_waited_for(proxy, other, faults, tmp_path):
    first = plan_file(tmp_path, other, strategy=BAKE | {"bake": "1h"})
    second = plan_file(tmp_path, faults, "v3")
    assert run("shift", "start", "chat", first, proxy=proxy).returncode == 0
    late = run("shift", "start", "chat", second, "--if-running", "queue", "--wait", "--timeout", "300ms", proxy=proxy)
    assert late.returncode == 3 and "still waits for its turn" in late.stderr, late.stderr
    listed = json.loads(run("shift", "list", "--output", "json", proxy=proxy).stdout)
    assert [shift["green_version"] for shift in listed["shifts"]] == ["v2"]
    assert [shift["green_version"] for shift in listed["queue"]] == ["v3"]
    rows = run("shift", "list", "chat", proxy=proxy).stdout.splitlines()
    assert rows[0].startswith("SHIFT") and " v2 " in rows[1] and " queued " in rows[2], rows
    assert run("shift", "list", "--only", "over", proxy=proxy).stdout == "no shift is over\n"
    (queued,) = listed["queue"]
    assert run("shift", "cancel", queued["id"], proxy=proxy).returncode == 0
    third = subprocess.Popen(
        [BIN, "shift", "start", "chat", second, "--if-running", "queue", "--wait", "--timeout", "40s", "--admin", proxy.admin],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert "number 1 in the queue" in third.stderr.readline()
    assert run("shift", "promote", "chat", proxy=proxy).returncode == 0
    told, _ = third.communicate(timeout=60)
    assert third.returncode == 0 and "v3 is promoted" in told


def test_colours_and_a_moving_line_are_for_terminals_and_not_where_they_are_unwanted(proxy, other, tmp_path):
    told, status = on_a_terminal("shift", "start", "chat", plan_file(tmp_path, other), "--wait", proxy=proxy)
    assert status == 0 and "\r\x1b[K" in told and "\x1b[32mchat: v2 is promoted" in told, repr(told)
    coloured, _ = on_a_terminal("shift", "list", proxy=proxy)
    plain, _ = on_a_terminal("shift", "list", proxy=proxy, NO_COLOR="1")
    assert "\x1b[32mpromoted\x1b[0m" in coloured and "\x1b" not in plain
    assert "\x1b" not in run("shift", "list", proxy=proxy).stdout
    failed, _ = on_a_terminal("endpoint", "show", "caht", proxy=proxy)
    assert "\x1b[1;91merror:\x1b[0m" in failed, repr(failed)


def test_errors_name_the_next_step(proxy, tmp_path):
    missing = run("endpoint", "show", "caht", proxy=proxy)
    assert missing.returncode == 1 and "did you mean chat?" in missing.stderr and "snapback endpoint list" in missing.stderr
    nobody = run("top", "--admin", "http://127.0.0.1:1")
    assert nobody.returncode == 1 and "snapback serve" in nobody.stderr
    unwritten = subprocess.run([BIN, "serve"], cwd=tmp_path / "..", capture_output=True, text=True, timeout=60)
    assert unwritten.returncode == 1 and "snapback init" in unwritten.stderr, unwritten.stderr


def test_roles_that_do_not_reach_and_tokens_that_are_missing_are_told_apart(faults, tmp_path):
    made = json.loads(run("token", "new", "--name", "eve", "--role", "viewer", "--output", "json").stdout)
    tokens = tmp_path / "tokens.toml"
    entry = {key: value for key, value in made["entry"].items() if value is not None}
    tokens.write_text("[[token]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in entry.items()))
    tokens.chmod(0o600)
    blue = {"version": "v1", "instances": [faults.address]}
    sections = {"admin": {"listen": "127.0.0.1:0", "tokens_file": str(tokens)}}
    with Snapback(tmp_path, [{"name": "chat", "blue": blue}], sections=sections) as proxy:
        without = run("endpoint", "list", proxy=proxy)
        assert without.returncode == 1 and "SNAPBACK_TOKEN" in without.stderr, without.stderr
        assert run("endpoint", "list", proxy=proxy, SNAPBACK_TOKEN=made["token"]).returncode == 0
        refused = run("freeze", proxy=proxy, SNAPBACK_TOKEN=made["token"])
        assert refused.returncode == 1 and "of that role" in refused.stderr, refused.stderr


def test_completions_know_the_endpoints_of_the_proxy(proxy):
    script = run("completions", "bash").stdout
    assert "SNAPBACK_COMPLETE" in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    asked = {"SNAPBACK_COMPLETE": "bash", "_CLAP_IFS": "\n", "_CLAP_COMPLETE_INDEX": "3", "_CLAP_COMPLETE_COMP_TYPE": "9"}
    told = run("--", "snapback", "endpoint", "show", "ch", proxy=proxy, **asked)
    assert told.stdout.split() == ["chat"], told
    nobody = run("--", "snapback", "endpoint", "show", "ch", SNAPBACK_ADMIN="http://127.0.0.1:1", **asked)
    assert nobody.returncode == 0 and nobody.stdout == ""


class AnotherVersion(BaseHTTPRequestHandler):
    """An admin port of a version that is yet to come."""

    def do_GET(self):
        metrics = 'snapback_build_info{version="99.0.0"} 1\n'
        body = (metrics if self.path == "/metrics" else '{"endpoints": [{"title": "chat"}]}').encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_an_answer_that_is_not_understood_says_which_versions_do_not_fit():
    server = HTTPServer(("127.0.0.1", 0), AnotherVersion)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        refused = run("endpoint", "list", "--admin", f"127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert refused.returncode == 1 and "the server is version 99.0.0, this command" in refused.stderr, refused.stderr
