"""A real Triton behind the proxy, and its official gRPC client in front of it."""

import queue

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException
from workbench import PATIENCE_SECONDS, Snapback, Triton

pytestmark = pytest.mark.real_servers
LARGE = np.random.default_rng(1).integers(0, 256, (1, 100_000_000), dtype=np.uint8)
OWN_CONNECTION = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


def fleet(address, version="v1"):
    return {"version": version, "instances": [address], "protocol": "h2c"}


@pytest.fixture(scope="module")
def fleets(tmp_path_factory, servers_python):
    """Blue and green."""
    with (
        Triton(tmp_path_factory.mktemp("blue"), servers_python) as blue,
        Triton(tmp_path_factory.mktemp("green"), servers_python) as green,
    ):
        yield blue, green


@pytest.fixture(scope="module")
def proxy(fleets, tmp_path_factory):
    endpoint = {"name": "models", "blue": fleet(fleets[0].grpc), "rescue": {"on": "never"}}
    with Snapback(tmp_path_factory.mktemp("triton"), [endpoint]) as proxy:
        yield proxy


def tensor(name, values, kind):
    made = triton.InferInput(name, list(values.shape), kind)
    made.set_data_from_numpy(values)
    return [made]


def shown(call):
    try:
        answer = call()
        return answer.get_response(as_json=True) if isinstance(answer, triton.InferResult) else answer
    except InferenceServerException as error:
        return error.status(), error.message()


def streamed(client):
    """What a stream brings: three ticks, an error inside it, and one tick after that."""
    results = queue.Queue()
    client.start_stream(lambda result, error: results.put(error or result), stream_timeout=PATIENCE_SECONDS)
    tick = lambda count: client.async_stream_infer("ticker", tensor("n", np.array([count], np.int32), "INT32"))
    take = lambda: results.get(timeout=PATIENCE_SECONDS)
    tick(3)
    got = [take().as_numpy("i").tolist() for _ in range(3)]
    client.async_stream_infer("none", tensor("n", np.array([1], np.int32), "INT32"))
    failed = take()
    assert isinstance(failed, InferenceServerException)
    tick(1)
    got += [failed.message(), take().as_numpy("i").tolist()]
    client.stop_stream()
    return got


def converse(address):
    """Name and result of each call."""
    affine = lambda first=1.0, times=1, **options: client.infer(
        "affine",
        tensor("x", np.array([[first, 2.0, -3.5]] * times, np.float32), "FP32"),
        request_id="7",
        client_timeout=PATIENCE_SECONDS,
        **options,
    )
    with triton.InferenceServerClient(address, channel_args=OWN_CONNECTION) as client:
        calls = {
            "live": client.is_server_live,
            "ready": client.is_server_ready,
            "model ready": lambda: client.is_model_ready("affine"),
            "server": lambda: client.get_server_metadata(as_json=True),
            "model": lambda: client.get_model_metadata("affine", as_json=True),
            "infer": affine,
            "gzip": lambda: affine(times=60, compression_algorithm="gzip"),
            "NOT_FOUND": lambda: client.infer("none", tensor("x", np.zeros((1, 1), np.float32), "FP32")),
            "INVALID_ARGUMENT": lambda: client.infer("affine", tensor("z", np.zeros((1, 1), np.float32), "FP32")),
            "INTERNAL": lambda: affine(first=666.0),
            "stream": lambda: streamed(client),
        }
        return {name: shown(call) for name, call in calls.items()}


@pytest.mark.parametrize("share", ["0%", "50%", "100%"])
def test_every_call_comes_to_the_same_at_a_split(proxy, fleets, share):
    direct = converse(fleets[0].grpc)
    for code in ("NOT_FOUND", "INVALID_ARGUMENT", "INTERNAL"):
        assert direct[code][0] == f"StatusCode.{code}"
    with proxy.split("models", fleet(fleets[1].grpc, "green"), share):
        assert [converse(proxy.address) for _ in range(3)] == [direct] * 3


def test_every_call_comes_to_the_same_while_a_shift_goes_up_and_snaps_back(proxy, fleets):
    direct = converse(fleets[0].grpc)

    def check():
        assert converse(proxy.address) == direct

    green = proxy.up_and_back("models", fleet(fleets[1].grpc, "green"), check)["fleets"]["green"]["traffic"]
    assert green["succeeded"] > 0


def test_what_the_model_failed_and_what_the_client_got_wrong_are_told_apart(proxy):
    with proxy.counted("models") as counts:
        converse(proxy.address)
    failed = {"failed": 2, "server_error": 1, "in_band": 1}
    assert counts == {"requests": 11, "succeeded": 7, "client_errors": 2} | failed


def test_a_call_that_outlives_its_deadline_ends_as_without_the_proxy_and_is_the_fleets_failure(proxy, fleets):
    def late(address):
        with triton.InferenceServerClient(address, channel_args=OWN_CONNECTION) as client:
            client.infer("sleeper", tensor("ms", np.array([500], np.int32), "INT32"), client_timeout=0.2)

    with pytest.raises(InferenceServerException) as direct:
        late(fleets[0].grpc)
    with proxy.counted("models") as counts, pytest.raises(InferenceServerException) as through:
        late(proxy.address)
    assert through.value.status() == direct.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    assert counts == {"requests": 1, "failed": 1, "deadline_exceeded": 1}


def test_a_hundred_megabytes_pass_both_ways(proxy):
    with triton.InferenceServerClient(proxy.address, channel_args=OWN_CONNECTION) as client:
        result = client.infer("echo", tensor("data", LARGE, "UINT8"), client_timeout=PATIENCE_SECONDS)
        assert (result.as_numpy("data") == LARGE).all()
