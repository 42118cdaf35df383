"""tritonclient[http] through the proxy to the demo's model servers, which speak the Open Inference Protocol."""

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

MODEL = "tiny"


def inputs(texts, binary):
    tensor = triton.InferInput("text_input", [len(texts)], "BYTES")
    tensor.set_data_from_numpy(np.array([text.encode() for text in texts], dtype=np.object_), binary_data=binary)
    return [tensor]


def shown(call):
    """What a call came to."""
    try:
        answer = call()
        if isinstance(answer, triton.InferResult):
            return answer.get_response(), answer.as_numpy("text_output").tolist()
        return answer
    except InferenceServerException as error:
        return "error", error.status(), error.message()


def converse(address):
    """Name and result of each call."""
    texts = ["How do I cook rice?", "Once there was a fox who", ""]
    wish = {"max_tokens": 8, "temperature": 0, "seed": 3}
    json_reply = [triton.InferRequestedOutput("text_output", binary_data=False)]
    with triton.InferenceServerClient(address, connection_timeout=30, network_timeout=30) as client:
        infer = lambda *arguments, **options: client.infer(MODEL, *arguments, parameters=wish, request_id="7", **options)
        calls = {
            "live": client.is_server_live,
            "ready": client.is_server_ready,
            "model ready": lambda: client.is_model_ready(MODEL),
            "model metadata": lambda: client.get_model_metadata(MODEL),
            "JSON both ways": lambda: infer(inputs(texts, False), outputs=json_reply),
            "binary both ways": lambda: infer(inputs(texts, True)),
            "an unknown model": lambda: client.infer("gpt", inputs(texts, True)),
            "too many inputs": lambda: infer(inputs(["x"] * 17, True)),
        }
        return {name: shown(call) for name, call in calls.items()}


@pytest.fixture(scope="module")
def direct(v1):
    return converse(v1.address)


def test_the_calls_are_worth_comparing(direct):
    assert direct["ready"] is True and direct["model metadata"]["name"] == MODEL
    assert len(direct["binary both ways"][1]) == 3 and direct["binary both ways"][1] == direct["JSON both ways"][1]
    assert direct["an unknown model"][:2] == ("error", "404")


@pytest.mark.parametrize("share", ["0%", "50%", "100%"])
def test_every_call_comes_to_the_same_at_a_split(chat, twin, direct, share):
    with chat.split("chat", twin.address, share):
        assert [converse(chat.address) for _ in range(3)] == [direct] * 3


def test_every_call_comes_to_the_same_while_a_shift_goes_up_and_snaps_back(chat, twin, direct):
    def check():
        assert converse(chat.address) == direct

    assert chat.up_and_back("chat", twin.address, check)["fleets"]["green"]["traffic"]["failed"] == 0
