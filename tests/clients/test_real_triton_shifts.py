"""Shifts between real Tritons under load: one that is not ready, one that dies, and one that is stopped once it has been drained."""

import contextlib
import http.client
import json
import signal
import threading

import pytest
import tritonclient.http as triton
from workbench import PATIENCE_SECONDS, Snapback, Triton, wait_for

pytestmark = pytest.mark.real_servers
READY = {"path": "/v2/models/affine/ready", "interval": "100ms"}
CLIENTS = 8


@pytest.fixture(scope="module")
def stays(tmp_path_factory, servers_python):
    with Triton(tmp_path_factory.mktemp("stays"), servers_python) as server:
        yield server


@contextlib.contextmanager
def without_models(tmp_path, python):
    """A Triton that is ready as a server and has no model yet, and the file that lets one load."""
    gate = tmp_path / "gate"
    with Triton(tmp_path / "late", python, gate) as server:
        yield server, gate


def load_model(server):
    """Returns once the model is there."""
    with triton.InferenceServerClient(server.http, network_timeout=PATIENCE_SECONDS) as client:
        client.load_model("affine")


def inferred(server):
    """How many requests the server itself counted: good ones and failed ones."""
    with triton.InferenceServerClient(server.http) as client:
        counts = client.get_inference_statistics("affine")["model_stats"][0]["inference_stats"]
        return counts["success"]["count"], counts["fail"]["count"]


class Load:
    """Clients that ask without a pause, each over its own connection, until the end of the block; each answer must be right."""

    BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, -3.5]}]})

    def __init__(self, proxy):
        self.address = proxy.address
        self.answered, self.wrong = [0] * CLIENTS, []
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=[place]) for place in range(CLIENTS)]

    def ask(self, place):
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE_SECONDS)
        while not self.is_over.is_set():
            try:
                connection.request("POST", "/v2/models/affine/infer", self.BODY)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200 or json.loads(body)["outputs"][0]["data"] != [3.0, -6.0]:
                    self.wrong.append((answer.status, body))
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(repr(error))
                connection.close()
            self.answered[place] += 1
        connection.close()

    def go_on(self, what):
        """Waits until each client has had two more answers: the second was asked for after this was called."""
        before = list(self.answered)
        wait_for(what, lambda: all(now >= then + 2 for now, then in zip(self.answered, before)))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        for thread in self.threads:
            thread.join(PATIENCE_SECONDS)


def test_green_serves_once_its_model_is_ready_and_its_death_costs_no_client_anything(stays, servers_python, tmp_path):
    blue = {"version": "v1", "instances": [stays.http]}
    strategy = {"type": "steps", "steps": [{"share": "50%", "bake": "1h"}]}
    with (
        without_models(tmp_path, servers_python) as (green, gate),
        Snapback(tmp_path, [{"name": "models", "blue": blue, "health": READY}]) as proxy,
        Load(proxy) as load,
    ):
        shift = proxy.start_shift("models", green.http, strategy, guard=[{"metric": "error_rate", "below": "1%"}])
        load.go_on("clients are served while green has no model")
        loading = threading.Thread(target=load_model, args=[green])
        loading.start()
        load.go_on("clients are served while green loads")
        now = proxy.shift(shift)
        assert (now["state"], now["fleets"]["green"]["traffic"]["requests"]) == ("preparing", 0)

        gate.touch()
        loading.join(PATIENCE_SECONDS)
        proxy.wait_for_shift(shift, state="baking", share="50%")
        wait_for("green serves", lambda: inferred(green)[0] > 50)
        assert inferred(green)[1] == 0 == proxy.shift(shift)["fleets"]["green"]["traffic"]["failed"]

        green.child.kill()
        over = wait_for("the shift is over", lambda: (now := proxy.shift(shift))["over"] and now)
        load.go_on("clients are served by blue")
    assert load.wrong == []
    assert over["state"] == "rolled_back" and over["cause"]["kind"] in ("alarm", "green_gone")
    assert 0 < over["fleets"]["green"]["traffic"]["failed"] == over["fleets"]["green"]["traffic"]["rescued"]


def test_a_blue_that_is_stopped_after_its_drain_fails_no_request(stays, servers_python, tmp_path):
    with without_models(tmp_path, servers_python) as (leaves, gate):
        gate.touch()
        load_model(leaves)
        blue = {"version": "v1", "instances": [leaves.http]}
        with Snapback(tmp_path, [{"name": "models", "blue": blue, "health": READY}]) as proxy, Load(proxy) as load:
            load.go_on("blue serves")
            shift = proxy.start_shift("models", stays.http, {"type": "all_at_once", "final_bake": "1h"})
            proxy.wait_for_shift(shift, state="baking", share="100%")
            load.go_on("green serves")
            proxy.api("POST", f"/v1/shifts/{shift}/promote", {"reason": "good"})
            over = proxy.wait_for_shift(shift, state="promoted")
            served = inferred(leaves)
            leaves.stop(signal.SIGTERM)
            load.go_on("green goes on")
    assert load.wrong == [] and over["drained_at"] is not None
    assert served[0] > 0 == served[1]
