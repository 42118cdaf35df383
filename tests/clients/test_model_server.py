"""The demo's model server as official clients see it.

Run with pytest; SNAPBACK_BIN names the binary.
"""

import json
import os
import signal
import subprocess
import threading
import urllib.error
import urllib.request

import numpy as np
import openai
import pytest
import tritonclient.http as triton

MODEL = "tiny"
WITH_DIGITS = "How do I cook rice for 4 people?"
PLAIN = "How do I cook rice?"


class Server:
    def __init__(self, version):
        command = [os.environ["SNAPBACK_BIN"], "model-server", "--version", version, "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), line
        self.address = line.removeprefix("listening on ").strip()
        self.openai = openai.OpenAI(base_url=f"http://{self.address}/v1", api_key="none", max_retries=0, timeout=10)

    def post(self, path, body, headers=None):
        request = urllib.request.Request(
            f"http://{self.address}{path}",
            data=body if isinstance(body, bytes) else json.dumps(body).encode(),
            headers={"content-type": "application/json"} | (headers or {}),
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=15)


@pytest.fixture(scope="module", params=["v1", "v2"])
def good(request):
    server = Server(request.param)
    server.version = request.param
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def broken():
    server = Server("v3")
    yield server
    assert server.stop() == 0


def test_a_chat_answers_in_words_with_usage(good):
    answer = good.openai.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": WITH_DIGITS}], seed=1
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.role == "assistant"
    assert len(choice.message.content.split()) >= 2
    assert answer.system_fingerprint == good.version
    assert answer.usage.prompt_tokens == len(WITH_DIGITS) + 1
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_streamed_chat_is_the_same_answer_piece_by_piece(good):
    ask = dict(model=MODEL, messages=[{"role": "user", "content": PLAIN}], seed=5)
    whole = good.openai.chat.completions.create(**ask)
    events = list(good.openai.chat.completions.create(stream=True, stream_options={"include_usage": True}, **ask))
    assert events[0].choices[0].delta.role == "assistant"
    assert events[0].choices[0].delta.content == ""
    text = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
    assert text == whole.choices[0].message.content
    reasons = [event.choices[0].finish_reason for event in events if event.choices]
    assert reasons[-1] == "stop" and set(reasons[:-1]) == {None}
    assert events[-1].choices == [] and events[-1].usage == whole.usage
    assert len({event.id for event in events}) == 1


def test_a_stream_without_the_wish_has_no_usage(good):
    stream = good.openai.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": PLAIN}], stream=True, max_tokens=20
    )
    events = list(stream)
    assert all(event.usage is None and event.choices for event in events)
    assert events[-1].choices[0].finish_reason == "length"


def test_completions_go_on_from_the_prompt_and_stream_the_same(good):
    ask = dict(model=MODEL, prompt="Once there was a fox who", max_tokens=20, temperature=0)
    whole = good.openai.completions.create(**ask)
    streamed = good.openai.completions.create(stream=True, **ask)
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage.completion_tokens == 20
    assert "".join(event.choices[0].text for event in streamed) == whole.choices[0].text


def test_content_parts_and_lists_of_one_prompt_are_taken(good):
    parts = [{"type": "text", "text": "How do I "}, {"type": "text", "text": "cook rice?"}]
    chat = good.openai.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": parts}], seed=3)
    plain = good.openai.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": PLAIN}], seed=3)
    assert chat.choices[0].message.content == plain.choices[0].message.content
    assert good.openai.completions.create(model=MODEL, prompt=["Once there"], max_tokens=4).choices[0].text


def test_models_are_listed_and_an_unknown_one_is_not_found(good):
    assert [model.id for model in good.openai.models.list()] == [MODEL]
    assert good.openai.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError) as error:
        good.openai.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "hi"}])
    assert error.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", "JSON"),
        ({"model": MODEL}, "messages"),
        ({"model": MODEL, "messages": []}, "messages"),
        ({"model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": 0}, "max_tokens"),
        ({"model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": 10**9}, "max_tokens"),
        ({"model": MODEL, "messages": [{"role": "user", "content": "x"}], "temperature": 3}, "temperature"),
        ({"model": MODEL, "messages": [{"role": "user", "content": "x"}], "n": 2}, "n must be 1"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(good, body, word):
    status, answer = good.post("/v1/chat/completions", body)
    assert status == 400
    assert word in answer["error"]["message"]
    assert answer["error"]["type"] == "invalid_request_error"


def test_paths_methods_and_sizes_have_their_statuses(good):
    assert good.post("/v1/nothing", {})[0] == 404
    assert good.post("/v1/models", {})[0] == 405
    assert good.post("/v1/completions", {"model": MODEL, "prompt": "x" * 300_000})[0] == 413


def test_many_clients_at_once_all_get_whole_answers(good):
    failures = []

    def ask(seed):
        answer = good.openai.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": WITH_DIGITS}], seed=seed, stream=bool(seed % 2)
        )
        if seed % 2 and list(answer)[-1].choices[0].finish_reason is None:
            failures.append(seed)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def infer_input(texts, binary):
    tensor = triton.InferInput("prompt", [len(texts)], "BYTES")
    tensor.set_data_from_numpy(np.array([text.encode() for text in texts], dtype=np.object_), binary_data=binary)
    return tensor


@pytest.mark.parametrize("binary", [False, True])
def test_tritonclient_infers_with_json_and_binary_tensors(good, binary):
    with triton.InferenceServerClient(good.address) as client:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(MODEL)
        assert client.get_model_metadata(MODEL)["versions"] == [good.version]
        inputs = [infer_input([PLAIN + "\n", WITH_DIGITS + "\n"], binary)]
        result = client.infer(MODEL, inputs, request_id="7", parameters={"seed": 1, "max_tokens": 60})
        texts = result.as_numpy("text")
        assert texts.shape == (2,) and all(texts)
        assert result.get_response()["id"] == "7"
        assert result.get_response()["model_version"] == good.version


def test_tritonclient_sees_the_servers_error_texts(good):
    with triton.InferenceServerClient(good.address) as client:
        assert not client.is_model_ready("other")
        with pytest.raises(triton.InferenceServerException, match="does not exist"):
            client.infer("other", [infer_input(["x"], False)])
        with pytest.raises(triton.InferenceServerException, match="1 to 16"):
            client.infer(MODEL, [infer_input(["x"] * 17, False)])


def test_curl_gets_health_and_a_stream_that_ends_with_done(good):
    health = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"http://{good.address}/health"]
    assert subprocess.run(health, capture_output=True, text=True, check=True).stdout == "200"
    body = json.dumps({"model": MODEL, "stream": True, "messages": [{"role": "user", "content": PLAIN}]})
    command = ["curl", "-sSN", f"http://{good.address}/v1/chat/completions", "-d", body]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.endswith("data: [DONE]\n\n")


def test_the_broken_version_fails_on_digits_alone(broken):
    plain = broken.openai.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": PLAIN}])
    assert plain.choices[0].finish_reason == "stop"
    for stream in (False, True):
        with pytest.raises(openai.InternalServerError) as error:
            broken.openai.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": WITH_DIGITS}], stream=stream
            )
        assert error.value.status_code == 500 and "vocabulary" in str(error.value)
    with triton.InferenceServerClient(broken.address) as client:
        with pytest.raises(triton.InferenceServerException, match="vocabulary"):
            client.infer(MODEL, [infer_input([WITH_DIGITS], True)])


def test_a_stop_signal_lets_a_running_stream_finish():
    server = Server("v1")
    stream = server.openai.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": PLAIN}], stream=True, seed=1
    )
    events = iter(stream)
    next(events)
    server.process.send_signal(signal.SIGTERM)
    assert list(events)[-1].choices[0].finish_reason == "stop"
    server.openai.close()
    assert server.process.wait(timeout=15) == 0
