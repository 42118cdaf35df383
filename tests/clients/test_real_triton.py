"""A real Triton behind the proxy, and its official HTTP client in front of it."""

import concurrent.futures

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException
from workbench import Snapback, Triton

pytestmark = pytest.mark.real_servers
# 100 MB, of no pattern that a compressor or a bug could make use of.
LARGE = np.random.default_rng(1).integers(0, 256, (1, 100_000_000), dtype=np.uint8)


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
    fleet = {"version": "v1", "instances": [fleets[0].http]}
    with Snapback(tmp_path_factory.mktemp("triton"), [{"name": "models", "blue": fleet}]) as proxy:
        yield proxy


def tensor(name, values, kind, binary=True):
    made = triton.InferInput(name, list(values.shape), kind)
    made.set_data_from_numpy(values, binary_data=binary)
    return [made]


def affine(client, first=1.0, binary=True, **options):
    """y = 2x + 1, over JSON or as a binary tensor."""
    x = np.array([[first, 2.0, -3.5]], dtype=np.float32)
    outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
    result = client.infer("affine", tensor("x", x, "FP32", binary), request_id="7", outputs=outputs, **options)
    assert (result.as_numpy("y") == 2 * x + 1).all()
    return result.get_response()


def shown(call):
    try:
        return call()
    except InferenceServerException as error:
        return error.status(), error.message()


def converse(address):
    """Name and result of each call."""
    with triton.InferenceServerClient(address, connection_timeout=30, network_timeout=60) as client:
        calls = {
            "ready": client.is_server_ready,
            "server": client.get_server_metadata,
            "model": lambda: client.get_model_metadata("affine"),
            "configuration": lambda: client.get_model_config("affine"),
            "JSON": lambda: affine(client, binary=False),
            "binary": lambda: affine(client),
            "gzip": lambda: affine(client, request_compression_algorithm="gzip", response_compression_algorithm="gzip"),
            "deflate": lambda: affine(client, request_compression_algorithm="deflate", response_compression_algorithm="deflate"),
            "404": lambda: client.infer("none", tensor("x", np.zeros((1, 1), np.float32), "FP32")),
            "400": lambda: client.infer("affine", tensor("z", np.zeros((1, 1), np.float32), "FP32")),
            "500": lambda: affine(client, first=666.0),
        }
        return {name: shown(call) for name, call in calls.items()}


@pytest.mark.parametrize("share", ["0%", "50%", "100%"])
def test_every_call_comes_to_the_same_at_a_split(proxy, fleets, share):
    direct = converse(fleets[0].http)
    assert [direct[name][0] for name in ("404", "400", "500")] == ["404", "400", "500"]
    with proxy.split("models", fleets[1].http, share):
        assert [converse(proxy.address) for _ in range(3)] == [direct] * 3


def test_every_call_comes_to_the_same_while_a_shift_goes_up_and_snaps_back(proxy, fleets):
    direct = converse(fleets[0].http)

    def check():
        assert converse(proxy.address) == direct

    green = proxy.up_and_back("models", fleets[1].http, check)["fleets"]["green"]["traffic"]
    assert green["succeeded"] > 0 and green["failed"] == green["failures"]["server_error"] > 0, "the one call that fails by itself"


def test_what_the_model_failed_and_what_the_client_got_wrong_are_told_apart(proxy):
    with proxy.counted("models") as counts:
        converse(proxy.address)
    assert counts == {"requests": 11, "succeeded": 8, "client_errors": 2, "failed": 1, "server_error": 1}


def test_a_hundred_megabytes_pass_both_ways(proxy, fleets):
    with proxy.split("models", fleets[1].http, "50%"):
        with triton.InferenceServerClient(proxy.address, connection_timeout=30, network_timeout=60) as client:
            for _ in range(2):
                result = client.infer("echo", tensor("data", LARGE, "UINT8"))
                assert (result.as_numpy("data") == LARGE).all()


def test_sixty_four_at_once_get_each_their_own_answer(proxy, fleets):
    with proxy.split("models", fleets[1].http, "50%"), concurrent.futures.ThreadPoolExecutor(64) as pool:

        def one(number):
            with triton.InferenceServerClient(proxy.address, connection_timeout=30, network_timeout=60) as client:
                return [affine(client, first=float(number))["id"] for _ in range(5)]

        assert list(pool.map(one, range(64))) == [["7"] * 5] * 64
