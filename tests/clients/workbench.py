"""The workbench of the tests with real clients: the process under test, what stands behind it, and how to wait.

A wait polls with a deadline; nothing sleeps in the hope that it was long enough. Every port is the kernel's choice, and a process
is ended through its own handle.
"""

import contextlib
import json
import os
import pathlib
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

BIN = os.environ["SNAPBACK_BIN"]
HERE = pathlib.Path(__file__).parent
# No wait is longer than this; reaching it is a failure. Generous, since a busy machine is no defect of the proxy.
PATIENCE_SECONDS = 60.0


def wait_for(what, condition, patience=PATIENCE_SECONDS):
    """The first true value of `condition()`."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {patience:g} s: {what}"
        time.sleep(0.01)


def ask(method, url, body=None, headers=None):
    """Status, headers and body of one request; an error status is an answer like any other."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"} | (headers or {}), method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def free_addresses(count):
    """Addresses on loopback that were free a moment ago, all different; for servers that cannot take a port of the kernel's choice."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = ["{}:{}".format(*server.getsockname()) for server in taken]
    for server in taken:
        server.close()
    return addresses


def toml(value):
    """A value in TOML's inline form."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


class Process:
    """A child process, its standard output line by line, its standard error in a file."""

    def __init__(self, *command, env=None):
        self.log = tempfile.TemporaryFile("w+")
        self.child = subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=self.log,
            stdin=subprocess.DEVNULL,
            text=True,
            env=os.environ | (env or {}),
            start_new_session=True,
        )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def line(self, prefix):
        """What follows `prefix` in the next line that begins with it."""
        while True:
            line = self.lines.get(timeout=PATIENCE_SECONDS)
            assert line is not None, f"{self.child.args} ended: {self.errors()}"
            if line.startswith(prefix):
                return line.removeprefix(prefix).strip()

    def errors(self):
        """Everything on standard error so far."""
        self.log.seek(0)
        return self.log.read()

    def stop(self, how=signal.SIGTERM):
        """Sends a signal and waits for the end; the exit code."""
        if self.child.poll() is None:
            self.child.send_signal(how)
        try:
            return self.child.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGKILL)


class ModelServer(Process):
    """The demo's model server."""

    def __init__(self, version, listen="127.0.0.1:0"):
        super().__init__(BIN, "model-server", "--version", version, "--listen", listen)
        self.version = version
        self.address = self.line("listening on ")
        self.url = f"http://{self.address}"


class Script(Process):
    """A model server of the `servers` folder, which says where it listens."""

    def __init__(self, name, *arguments, python=sys.executable):
        super().__init__(python, HERE / "servers" / name, *arguments)
        self.address = self.line("listening on ")
        self.url = f"http://{self.address}"

    def count(self, name):
        """One of the counts of faults.py: `served` or `left`."""
        return json.loads(ask("GET", f"{self.url}/{name}")[2])


class Triton(Process):
    """A real Triton. It has to be told its ports, so they are ones that were free a moment ago, and it may lose that race."""

    def __init__(self, folder, python, *gate):
        self.http, self.grpc, metrics = free_addresses(3)
        ports = [address.rsplit(":", 1)[1] for address in (self.http, self.grpc, metrics)]
        super().__init__(python, HERE / "servers/triton.py", folder, *ports, *gate)
        wait_for("Triton is ready", self.is_ready)

    def __exit__(self, *_):
        # Its models are processes of their own, which do not always notice that it was killed.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        super().__exit__()

    def is_ready(self):
        assert self.child.poll() is None, self.errors()
        try:
            return ask("GET", f"http://{self.http}/v2/health/ready")[0] == 200
        except OSError:
            return False


class Snapback(Process):
    """`snapback serve` with a configuration of its own; `under` is a command that runs the one behind it, `sections`
    are further tables of the configuration."""

    def __init__(self, folder, endpoints, under=(), sections=None, **data):
        config = {
            "data": {"listen": ["127.0.0.1:0"], "workers": 2, "expose_fleet": True} | data,
            "admin": {"listen": "127.0.0.1:0"},
            "state": {"path": str(folder / "snapback.db")},
            "endpoint": endpoints,
        } | (sections or {})
        self.config = folder / "snapback.toml"
        self.config.write_text("".join(f"{key} = {toml(value)}\n" for key, value in config.items()))
        super().__init__(*under, BIN, "serve", "-c", self.config)
        self.url = self.line("data: ")
        self.address = self.url.split("//")[1]
        self.admin = self.line("admin: ")

    def api(self, method, path, body=None):
        """Status and document of a call to the admin port."""
        status, _, answer = ask(method, self.admin + path, body)
        return status, json.loads(answer)

    def endpoint(self, name):
        """The endpoint's representation."""
        status, endpoint = self.api("GET", f"/v1/endpoints/{name}")
        assert status == 200, endpoint
        return endpoint

    def start_shift(self, name, green, strategy, **plan):
        """The new shift's id. `green` is a fleet, or the address of one that speaks HTTP/1."""
        fleet = green if isinstance(green, dict) else {"version": "green", "instances": [green]}
        status, shift = self.api("POST", f"/v1/endpoints/{name}/shifts", {"green": fleet, "strategy": strategy} | plan)
        assert status in (200, 201, 202), shift
        return shift["id"]

    def shift(self, shift):
        """The shift's representation."""
        return self.api("GET", f"/v1/shifts/{shift}")[1]

    def wait_for_shift(self, shift, **wanted):
        """The shift once these fields have these values."""
        return wait_for(
            f"shift {shift} with {wanted}",
            lambda: (now := self.shift(shift)) and all(now[key] == value for key, value in wanted.items()) and now,
        )

    @contextlib.contextmanager
    def split(self, name, green, share):
        """Green has this share inside; a share of `0%` is no shift."""
        if share == "0%":
            yield
            return
        shift = self.start_shift(name, green, {"type": "steps", "steps": [{"share": share, "bake": "1h"}]})
        self.wait_for_shift(shift, state="baking", share=share)
        try:
            yield
        finally:
            self.api("POST", f"/v1/shifts/{shift}/abort", {"reason": "the test is over"})
            self.wait_for_shift(shift, state="rolled_back")

    def up_and_back(self, name, green, check):
        """Calls `check` all the time while a shift goes up to `100%` and is rolled back by hand; the shift at its end."""
        strategy = {"type": "linear", "step": "25%", "bake": "500ms", "final_bake": "1h"}
        shift = self.start_shift(name, green, strategy)
        while self.shift(shift)["share"] != "100%":
            check()
        check()
        self.api("POST", f"/v1/shifts/{shift}/abort", {"reason": "enough"})
        while not (over := self.shift(shift))["over"]:
            check()
        check()
        assert over["state"] == "rolled_back", over
        return over

    @contextlib.contextmanager
    def counted(self, name, side="blue"):
        """What the meters of a fleet counted inside, once nothing is in flight; only counts that changed."""
        before = self.endpoint(name)[side]["traffic"]
        counts = {}
        yield counts
        after = wait_for(
            f"requests of {name} are settled",
            lambda: (now := self.endpoint(name)[side]["traffic"])["in_flight"] == 0
            and now["requests"] > before["requests"]
            and now,
        )
        flat = lambda traffic: {k: v for k, v in traffic.items() if isinstance(v, int)} | traffic["failures"]
        old = flat(before)
        counts.update({key: value - old.get(key, 0) for key, value in flat(after).items() if value != old.get(key, 0)})
