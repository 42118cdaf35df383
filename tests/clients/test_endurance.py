"""Bodies of a gibibyte and tens of thousands of requests: memory stays where it was, and nothing is left open."""

import pathlib
import re
import subprocess

import pytest
from workbench import Script, Snapback, wait_for

GIBIBYTE = 1 << 30
# What may be under way in one request's buffers, sockets apart, and what an allocator keeps.
MOST_BYTES = 24 << 20
REQUESTS = 25_000


@pytest.fixture(scope="module")
def bulk():
    with Script("bulk.py") as server:
        yield server


@pytest.fixture(scope="module")
def proxy(bulk, tmp_path_factory):
    blue = {"version": "v1", "instances": [bulk.address]}
    limits = {"body_limit": "2GiB"}
    with Snapback(tmp_path_factory.mktemp("endurance"), [{"name": "bulk", "blue": blue, "limits": limits}]) as proxy:
        yield proxy


def memory(proxy, what="VmRSS"):
    """Bytes that the process has in memory, or had at most (`VmHWM`)."""
    status = pathlib.Path(f"/proc/{proxy.child.pid}/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0]) * 1024


def forget_peak(proxy):
    pathlib.Path(f"/proc/{proxy.child.pid}/clear_refs").write_text("5")


def descriptors(proxy):
    return len(list(pathlib.Path(f"/proc/{proxy.child.pid}/fd").iterdir()))


def load(proxy, *options):
    """Requests on 16 connections that are kept."""
    command = ["h2load", "-n", str(REQUESTS), "-c", "16", *options, f"{proxy.url}/v2/health/live"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert re.search(rf"{REQUESTS} succeeded, 0 failed, 0 errored", done.stdout), done.stdout + done.stderr


@pytest.mark.parametrize("options", [["--http2-prior-knowledge"], ["--http1.1"]], ids=["h2c", "http/1.1"])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_body_of_a_gibibyte_passes_at_constant_memory(proxy, tmp_path, options, direction):
    forget_peak(proxy)
    before = memory(proxy)
    if direction == "down":
        arguments = [f"{proxy.url}/{GIBIBYTE}"]
    else:
        # A file of nothing takes no space.
        with open(tmp_path / "body", "wb") as body:
            body.truncate(GIBIBYTE)
        arguments = ["-X", "POST", "-T", str(tmp_path / "body"), "-H", "expect:", f"{proxy.url}/0"]
    command = ["curl", "-sS", "--max-time", "300", *options, "-o", "/dev/null", "-D", "-", "-w", "%{size_download}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=310)
    assert done.returncode == 0, done.stderr
    head, _, downloaded = done.stdout.rpartition("\n")
    assert int(downloaded) == (GIBIBYTE if direction == "down" else 0)
    assert f"x-received: {GIBIBYTE if direction == 'up' else 0}\n" in head.replace("\r", "").lower() + "\n"
    peak = memory(proxy, "VmHWM") - before
    assert peak < MOST_BYTES, f"{peak >> 20} MiB"


@pytest.mark.parametrize("options", [["--h1"], ["-m", "4"]], ids=["http/1.1", "h2c"])
def test_tens_of_thousands_of_requests_leave_nothing_behind(chat, options):
    load(chat, *options)
    before, open_before = memory(chat), descriptors(chat)
    load(chat, *options)
    grown = memory(chat) - before
    assert grown < MOST_BYTES // 2, f"{grown >> 20} MiB after {REQUESTS} more requests"
    # Idle connections to the instance come and go; none is left for each request.
    wait_for("connections are closed", lambda: descriptors(chat) <= open_before + 64)
