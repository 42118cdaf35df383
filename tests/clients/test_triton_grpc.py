"""tritonclient[grpc] through the proxy to stand-ins that speak the Open Inference Protocol: every call, streams, and models as what is matched by."""

import concurrent.futures
import queue

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException
from workbench import PATIENCE_SECONDS, Script, Snapback

NOBODY = "No endpoint takes this request"


def fleet(address, version="v1"):
    return {"version": version, "instances": [address], "protocol": "h2c"}


def tensor(values):
    made = triton.InferInput("x", list(values.shape), "FP32")
    made.set_data_from_numpy(values)
    return [made]


def shown(call):
    """What a call came to."""
    try:
        answer = call()
        return (answer.get_response(as_json=True), answer.as_numpy("y").tolist()) if isinstance(answer, triton.InferResult) else answer
    except InferenceServerException as error:
        return error.status(), error.message()


def streamed(client, model, firsts):
    """The answers and errors of one stream, in order."""
    results = queue.Queue()
    client.start_stream(lambda result, error: results.put(error or result), stream_timeout=PATIENCE_SECONDS)
    for first in firsts:
        client.async_stream_infer(model, tensor(np.array([first, 2], np.float32)), request_id="s")
    got = [results.get(timeout=PATIENCE_SECONDS) for _ in firsts]
    client.stop_stream()
    return [str(one.message()) if isinstance(one, InferenceServerException) else one.as_numpy("y").tolist() for one in got]


def converse(address, model="iris"):
    """Name and result of each call."""
    infer = lambda model, first=1.0, times=1, **options: client.infer(
        model, tensor(np.array([[first, 2, 3]] * times, np.float32)), request_id="7", client_timeout=PATIENCE_SECONDS, **options
    )
    with triton.InferenceServerClient(address, channel_args=[("grpc.use_local_subchannel_pool", 1)]) as client:
        calls = {
            "model ready": lambda: client.is_model_ready(model),
            "metadata": lambda: client.get_model_metadata(model, as_json=True),
            "infer": lambda: infer(model),
            "gzip": lambda: infer(model, times=999, compression_algorithm="gzip"),
            "INTERNAL": lambda: infer(model, 666.0),
            "stream": lambda: streamed(client, model, [1, 666, 3]),
        }
        return {name: shown(call) for name, call in calls.items()}


@pytest.fixture(scope="module")
def iris():
    with Script("inference.py", "iris") as server:
        yield server


@pytest.fixture(scope="module")
def wine():
    with Script("inference.py", "wine") as server:
        yield server


@pytest.fixture(scope="module")
def twin():
    with Script("inference.py", "iris") as server:
        yield server


@pytest.mark.parametrize("share", ["0%", "50%", "100%"])
def test_every_call_comes_to_the_same_at_a_split(iris, twin, share, tmp_path):
    direct = converse(iris.address)
    assert direct["infer"][1] * 999 == [[2.0, 4.0, 6.0]] * 999 == direct["gzip"][1]
    assert direct["INTERNAL"][0] == "StatusCode.INTERNAL"
    assert direct["stream"] == [[2.0, 4.0], "simulated model failure", [6.0, 4.0]]
    endpoint = {"name": "models", "blue": fleet(iris.address), "rescue": {"on": "never"}}
    with Snapback(tmp_path, [endpoint]) as proxy, proxy.split("models", fleet(twin.address, "green"), share):
        for _ in range(2):
            assert converse(proxy.address) == direct


def test_every_call_comes_to_the_same_while_a_shift_goes_up_and_snaps_back(iris, twin, tmp_path):
    direct = converse(iris.address)

    def check():
        assert converse(proxy.address) == direct

    endpoint = {"name": "models", "blue": fleet(iris.address), "rescue": {"on": "never"}}
    with Snapback(tmp_path, [endpoint]) as proxy:
        assert proxy.up_and_back("models", fleet(twin.address, "green"), check)["fleets"]["green"]["traffic"]["succeeded"] > 0


@pytest.fixture(scope="module")
def by_model(iris, wine, tmp_path_factory):
    endpoints = [
        {"name": "irises", "match": {"model": "iris"}, "blue": fleet(iris.address)},
        {"name": "wines", "match": {"model": "wine"}, "blue": fleet(wine.address)},
    ]
    with Snapback(tmp_path_factory.mktemp("models"), endpoints) as proxy:
        yield proxy


def test_calls_and_streams_go_where_their_model_is_served(by_model, iris, wine):
    for model, server in [("iris", iris), ("wine", wine)]:
        got, direct = converse(by_model.address, model), converse(server.address, model)
        # A compressed message does not show its model.
        assert got.pop("gzip") == ("StatusCode.UNIMPLEMENTED", NOBODY) and direct.pop("gzip")
        assert got == direct


def test_a_model_that_no_endpoint_serves_is_refused_as_unimplemented(by_model):
    with triton.InferenceServerClient(by_model.address) as client:
        call = lambda: client.infer("none", tensor(np.zeros(1, np.float32)), client_timeout=PATIENCE_SECONDS)
        assert shown(call) == ("StatusCode.UNIMPLEMENTED", NOBODY)


def test_sixty_four_clients_get_each_their_own_model(by_model):
    def one(number):
        model, first = ("iris", "wine")[number % 2], float(number)
        with triton.InferenceServerClient(by_model.address, channel_args=[("grpc.use_local_subchannel_pool", 1)]) as client:
            for _ in range(3):
                result = client.infer(model, tensor(np.array([first], np.float32)), client_timeout=PATIENCE_SECONDS)
                if (result.get_response().model_name, result.as_numpy("y").tolist()) != (model, [2 * first]):
                    return False
        return True

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        assert all(pool.map(one, range(64)))
