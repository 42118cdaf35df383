"""The README's own two servers, typed as it stands there: only the ports are free ones and the bakes shorter."""

import os
import pathlib
import re
import signal
import subprocess

import pytest
from workbench import BIN, HERE, free_addresses

ROOT = HERE.parents[1]
SECTION = re.search(r"## Your own two servers\n(.*?)\n## ", (ROOT / "README.md").read_text(), re.DOTALL)[1]
BLOCKS = [re.sub("^    ", "", block, flags=re.MULTILINE) for block in re.findall(r"(?:^    .*\n)+", SECTION, re.MULTILINE)]
BUILD, SERVERS, INIT, PROXY, TRAFFIC, SHIFT, WATCHED, ENDED, EXPLAIN = BLOCKS
# The defaults, which the README need not name.
LISTEN, ADMIN = "8080", "9090"


@pytest.fixture
def ports():
    """A port that was free a moment ago for each port that the README names."""
    named = sorted(set(re.findall(r"127\.0\.0\.1:(\d+)", "".join(BLOCKS))) | {LISTEN, ADMIN})
    return {port: free.rsplit(":", 1)[1] for port, free in zip(named, free_addresses(len(named)), strict=True)}


def test_a_stranger_with_two_servers_has_a_watched_shift_by_the_readme_alone(tmp_path, ports):
    def typed(text):
        return re.sub(r"127\.0\.0\.1:(\d+)", lambda match: f"127.0.0.1:{ports[match[1]]}", text)

    init = typed(INIT).rstrip() + f" --listen 127.0.0.1:{ports[LISTEN]} --admin-listen 127.0.0.1:{ports[ADMIN]}\n"
    shorter = "sed -i 's/30s/1500ms/g' plan.toml\n"
    # People see that the proxy is up; a script asks until it is.
    ready = typed("until snapback endpoint list >/dev/null 2>&1; do :; done\n")
    script = f"{{\n{typed(SERVERS)}{init}{shorter}{typed(PROXY)}{ready}{typed(TRAFFIC)}}} >/dev/null\n{SHIFT}echo exit $?\n{EXPLAIN}"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/snapback").symlink_to(pathlib.Path(BIN).resolve())
    env = os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "SNAPBACK_ADMIN": f"http://127.0.0.1:{ports[ADMIN]}"}
    output = tmp_path / "output"
    # Into a file, since what goes on in the background would hold a pipe open; in a session of its own, so that it can be ended.
    with output.open("w") as file:
        shell = subprocess.Popen(["bash", "-c", script], cwd=tmp_path, env=env, stdout=file, start_new_session=True)
    try:
        shell.wait(timeout=60)
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    told = output.read_text()
    watched, explained = told.split("exit 0\n")
    assert BUILD.startswith("cargo build --release")
    assert WATCHED.splitlines()[0].split("green 25%")[0].split("  ")[1] in watched
    for text in (watched, explained):
        assert ENDED.split(",")[0] in text, told
        assert re.search(r"Promoted: green \(v2\) went through 4 steps and is the fleet in service", text), told
    assert re.search(r"None of its\s+[\d,]+\s+requests failed", watched), told


def test_what_a_plan_can_find_is_what_the_readme_shows(tmp_path):
    """The plan, the command and its answer, letter by letter."""
    section = re.search(r"## A plan\n(.*?)\n## ", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    text = re.sub("^    ", "", section, flags=re.MULTILINE)
    plan = re.search(r"^green .*?(?=\nA step's)", text, re.DOTALL | re.MULTILINE)[0]
    command = re.search(r"^snapback plan lint .*$", text, re.MULTILINE)[0]
    answer = re.search(r"^chat to v2, .*?^0 errors.*?$", text, re.DOTALL | re.MULTILINE)[0]
    (tmp_path / "plan.toml").write_text(plan)
    asked = subprocess.run([BIN, *command.split()[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=60, env=os.environ | {"COLUMNS": "84"})
    assert asked.stdout.strip() == answer.strip(), asked.stdout + asked.stderr
