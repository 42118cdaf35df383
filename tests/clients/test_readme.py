"""The README's first shift by hand, typed as it stands there: only the ports are free ones and the bakes shorter."""

import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest
from workbench import BIN, HERE, free_addresses

ROOT = HERE.parents[1]
SECTION = re.search(r"## A first shift by hand\n(.*?)\n## ", (ROOT / "README.md").read_text(), re.DOTALL)[1]
BLOCKS = [re.sub("^    ", "", block, flags=re.MULTILINE) for block in re.findall(r"(?:^    .*\n)+", SECTION, re.MULTILINE)]
BUILD, SERVERS, PROXY, TRAFFIC, SHIFT, WATCHED, EXPLAIN = BLOCKS
ADMIN = "9090"  # the default, which the README need not name


@pytest.fixture
def ports():
    """A port that was free a moment ago for each port that the README names."""
    named = sorted(set(re.findall(r"127\.0\.0\.1:(\d+)", "".join(BLOCKS))) | {ADMIN})
    return {port: free.rsplit(":", 1)[1] for port, free in zip(named, free_addresses(len(named)), strict=True)}


def test_a_first_shift_by_hand_goes_as_the_readme_says(tmp_path, ports):
    def typed(text):
        return re.sub(r"127\.0\.0\.1:(\d+)", lambda match: f"127.0.0.1:{ports[match[1]]}", text)

    folder = tmp_path / "config/first-shift"
    shutil.copytree(ROOT / "config/first-shift", folder)
    for file, shorter in [("snapback.toml", ""), ("plan.toml", "1500ms")]:
        text = typed((folder / file).read_text())
        (folder / file).write_text(text.replace("15s", shorter) if shorter else text)
    with (folder / "snapback.toml").open("a") as config:
        config.write(f'[admin]\nlisten = "127.0.0.1:{ports[ADMIN]}"\n')
    # People see that the proxy is up; a script asks until it is.
    ready = typed("until snapback endpoint list >/dev/null 2>&1; do :; done\n")
    script = f"{{\n{typed(SERVERS + PROXY)}{ready}{typed(TRAFFIC)}}} >/dev/null\n{SHIFT}echo exit $?\n{EXPLAIN}"
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
        assert re.search(r"Promoted: green \(v2\) went through 4 steps and is the fleet in service", text), told
    assert re.search(r"None of its\s+[\d,]+\s+requests failed", watched), told
