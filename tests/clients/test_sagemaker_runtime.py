"""Invocations with the real boto3 `sagemaker-runtime` client and the aws CLI: headers, errors, streams and variants as its users know them."""

import contextlib
import datetime
import http.server
import json
import os
import random
import socket
import subprocess
import sys
import threading

import pytest
from aws import Sage, client
from botocore.eventstream import EventStream
from botocore.exceptions import ClientError, EventStreamError
from workbench import Snapback, ask, wait_for

LIMIT = 6 * 1024 * 1024


class Model(http.server.ThreadingHTTPServer):
    # With the five that are usual, a busy machine drops connections, and the proxy is right to say 504.
    request_queue_size = 128


class Container(http.server.BaseHTTPRequestHandler):
    """Does what `X-Amzn-SageMaker-Custom-Attributes` asks of it, and says what it was sent."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(200, b"")

    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        wish = self.headers.get("x-amzn-sagemaker-custom-attributes", "")
        if wish.startswith("status="):
            return self.answer(int(wish.removeprefix("status=")), b"the model's own words")
        if wish in ("stream", "break"):
            return self.stream(wish)
        if wish == "hang up":
            self.close_connection = True
            return self.connection.close()
        said = {"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}, "bytes": len(body)}
        return self.answer(200, json.dumps(said).encode(), {"x-amzn-sagemaker-custom-attributes": "of the model"})

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, wish):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for part in (b"data: one\n\n", b"data: two\n\n"):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.flush()
        if wish == "break":
            self.close_connection = True
            return self.connection.close()
        self.wfile.write(b"0\r\n\r\n")


@pytest.fixture(scope="module")
def address():
    server = Model(("127.0.0.1", 0), Container)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    with Snapback(tmp_path_factory.mktemp("runtime"), []) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def name(proxy, address):
    with Sage(proxy, "runtime", [[address], [address]]) as sage:
        yield sage.name


@pytest.fixture(scope="module", params=["data", "admin"])
def url(request, proxy):
    """Both ports answer invocations, and the same."""
    return {"data": proxy.url, "admin": proxy.admin}[request.param]


@pytest.fixture(scope="module")
def runtime(proxy, url):
    return client(proxy, "sagemaker-runtime", url=url)


def invoke(runtime, name, wish=None, **members):
    given = {"CustomAttributes": wish} if wish else {}
    return runtime.invoke_endpoint(EndpointName=name, Body=b'{"inputs": "hello"}', ContentType="application/json", **given, **members)


@contextlib.contextmanager
def failing(code, status):
    with pytest.raises(ClientError) as caught:
        yield caught
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status), answer


def test_a_container_gets_what_the_api_models_and_nothing_else(runtime, name):
    members = {"Accept": "text/plain", "InferenceId": "i-1", "TargetModel": "m.tar.gz", "SessionId": "s-1", "EnableExplanations": "`true`"}
    answer = invoke(runtime, name, "c000b4f9-df62-4c85-a0bf-7c525f9104a4", **members)
    said = json.loads(answer["Body"].read())
    assert (said["path"], said["bytes"]) == ("/invocations", 19)
    prefix = "x-amzn-sagemaker-"
    modelled = {key: value for key, value in said["headers"].items() if key.startswith(prefix)}
    assert modelled == {
        f"{prefix}custom-attributes": "c000b4f9-df62-4c85-a0bf-7c525f9104a4",
        f"{prefix}inference-id": "i-1",
        f"{prefix}target-model": "m.tar.gz",
        f"{prefix}session-id": "s-1",
        f"{prefix}enable-explanations": "`true`",
    }
    assert (said["headers"]["accept"], said["headers"]["content-type"]) == ("text/plain", "application/json")
    assert not {"authorization", "x-amz-date", "user-agent", "amz-sdk-invocation-id"} & said["headers"].keys()
    assert (answer["InvokedProductionVariant"], answer["CustomAttributes"], answer["ContentType"]) == ("AllTraffic", "of the model", "application/json")


@pytest.mark.parametrize("status, whose", [(400, "client"), (429, "client"), (500, "server"), (503, "server")])
def test_11_what_a_model_fails_is_a_model_error_that_no_sdk_sends_again(proxy, runtime, name, status, whose):
    with pytest.raises(runtime.exceptions.ModelError) as caught:
        invoke(runtime, name, f"status={status}")
    answer = caught.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert (answer["OriginalStatusCode"], answer["OriginalMessage"]) == (status, "the model's own words")
    assert answer["Error"]["Message"].startswith(f'Received {whose} error ({status}) from primary with message "the model\'s own words"')
    assert answer["LogStreamArn"].endswith(f"/aws/sagemaker/Endpoints/{name}")


def test_a_model_that_hangs_up_is_a_model_error_too(runtime, name):
    with failing("ModelError", 424):
        invoke(runtime, name, "hang up")


def test_the_models_own_status_is_what_is_counted(proxy, runtime, name):
    def failures():
        fleets = proxy.metrics() if hasattr(proxy, "metrics") else ask("GET", proxy.admin + "/metrics")[2].decode()
        wanted = f'snapback_responses_total{{endpoint="{name}",fleet="blue",status_class="5xx"}} '
        return next(float(line.removeprefix(wanted)) for line in fleets.splitlines() if line.startswith(wanted))

    before = failures()
    with failing("ModelError", 424):
        invoke(runtime, name, "status=500")
    assert failures() == before + 1


def test_an_unknown_endpoint_or_variant_is_a_validation_error(runtime, name):
    with failing("ValidationError", 400) as caught:
        invoke(runtime, "nobody")
    assert caught.value.response["Error"]["Message"] == "Endpoint nobody of account 000000000000 not found."
    with failing("ValidationError", 400):
        invoke(runtime, name, TargetVariant="other")
    assert invoke(runtime, name, TargetVariant="AllTraffic")["InvokedProductionVariant"] == "AllTraffic"


def test_what_is_too_long_is_a_validation_error(runtime, name):
    with failing("ValidationError", 400) as caught:
        invoke(runtime, name, "x" * 1025)
    assert "'customAttributes' failed to satisfy constraint" in caught.value.response["Error"]["Message"]
    with failing("ValidationError", 413):
        runtime.invoke_endpoint(EndpointName=name, Body=b"x" * (LIMIT + 1))
    answer = runtime.invoke_endpoint(EndpointName=name, Body=b"x" * LIMIT)
    assert json.loads(answer["Body"].read())["bytes"] == LIMIT


def stream(runtime, name, wish):
    answer = runtime.invoke_endpoint_with_response_stream(EndpointName=name, Body=b"{}", Accept="text/event-stream", CustomAttributes=wish)
    assert isinstance(answer["Body"], EventStream)
    return answer


def test_a_stream_comes_in_the_framing_of_event_streams(runtime, name):
    answer = stream(runtime, name, "stream")
    assert (answer["ContentType"], answer["InvokedProductionVariant"]) == ("text/event-stream", "AllTraffic")
    parts = b"".join(event["PayloadPart"]["Bytes"] for event in answer["Body"])
    assert parts == b"data: one\n\ndata: two\n\n"


def test_12_a_stream_that_breaks_says_so_in_its_last_message(runtime, name):
    parts = []
    with pytest.raises(EventStreamError) as caught:
        for event in stream(runtime, name, "break")["Body"]:
            parts.append(event["PayloadPart"]["Bytes"])
    assert b"".join(parts) == b"data: one\n\ndata: two\n\n"
    assert caught.value.response["Error"]["Code"] == "ModelStreamError"


def test_what_goes_wrong_before_a_stream_is_an_ordinary_error(runtime, name):
    with failing("ModelError", 424):
        stream(runtime, name, "status=500")


def test_the_openai_path_leads_to_the_containers_own(proxy, name):
    status, _, body = ask("POST", f"{proxy.url}/endpoints/{name}/openai/v1/chat/completions", {"model": "m"})
    assert (status, json.loads(body)["path"]) == (200, "/v1/chat/completions")


def test_asynchronous_invocations_are_refused_with_the_reason(runtime, name):
    with failing("ValidationError", 400) as caught:
        runtime.invoke_endpoint_async(EndpointName=name, InputLocation="s3://bucket/key")
    assert "Asynchronous" in caught.value.response["Error"]["Message"]


def test_the_aws_cli_invokes(url, name, tmp_path):
    aws = os.path.join(os.path.dirname(sys.executable), "aws")
    environment = os.environ | {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    command = [aws, "--endpoint-url", url, "sagemaker-runtime", "invoke-endpoint", "--endpoint-name", name, "--body", "e30=", "out"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["InvokedProductionVariant"] == "AllTraffic"
    assert json.loads((tmp_path / "out").read_text())["path"] == "/invocations"


def test_one_address_serves_all_services(proxy, name, tmp_path):
    aws = os.path.join(os.path.dirname(sys.executable), "aws")
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": proxy.admin}

    def said(*words):
        done = subprocess.run([aws, *words], cwd=tmp_path, env=os.environ | keys, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert said("sagemaker", "describe-endpoint", "--endpoint-name", name)["EndpointStatus"] == "InService"
    assert "MetricAlarms" in said("cloudwatch", "describe-alarms")
    assert said("sagemaker-runtime", "invoke-endpoint", "--endpoint-name", name, "--body", "e30=", "out")["InvokedProductionVariant"] == "AllTraffic"


def test_the_time_before_dispatch_and_broken_streams_are_in_the_metrics(proxy, name):
    runtime, watch = client(proxy, "sagemaker-runtime"), client(proxy, "cloudwatch")
    whose = [{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "AllTraffic"}]

    def points(metric, *statistics):
        now = datetime.datetime.now(datetime.timezone.utc)
        window = {"StartTime": now - datetime.timedelta(minutes=10), "EndTime": now + datetime.timedelta(minutes=1), "Period": 60}
        found = watch.get_metric_statistics(Namespace="AWS/SageMaker", MetricName=metric, Dimensions=whose, Statistics=statistics, **window)
        return found["Datapoints"]

    total = lambda metric: sum(point["Sum"] for point in points(metric, "Sum"))
    before = total("MidStreamErrors")
    with pytest.raises(EventStreamError):
        list(stream(runtime, name, "break")["Body"])
    wait_for("the broken stream is counted", lambda: total("MidStreamErrors") > before)
    overhead, latency = points("OverheadLatency", "Average", "Maximum", "SampleCount"), points("ModelLatency", "Average")
    assert overhead and latency and all(point["Unit"] == "Microseconds" and 0 < point["Average"] <= point["Maximum"] for point in overhead)


def test_a_fuzzed_invocation_never_gets_a_500_and_never_hangs(url, name):
    seed = 20_261_125
    dice = random.Random(seed)
    headers = ["content-type", "accept", "expect", "authorization", "x-amz-date", "x-amz-content-sha256", "transfer-encoding", "content-length"]
    headers += [f"x-amzn-sagemaker-{word}" for word in ("custom-attributes", "target-model", "target-variant", "session-id", "inference-id", "accept")]
    values = ["", "a", "x" * 300, "x" * 1_100, "NEW_SESSION", "a-sb0123456789abcdef", "AllTraffic", "\xff\xfe", "100-continue", "chunked", "-1", "7", "UNSIGNED-PAYLOAD", "{}"]
    paths = [f"/endpoints/{name}/invocations", f"/endpoints/{name}/invocations-response-stream", f"/endpoints/{name}/async-invocations", "/endpoints//invocations", "/endpoints/%00/invocations"]
    host, port = url.removeprefix("http://").split(":")
    for turn in range(300):
        body = bytes(dice.randrange(256) for _ in range(dice.choice([0, 1, 7, 900])))
        lines = [f"{dice.choice(headers)}: {dice.choice(values)}" for _ in range(dice.randrange(4))]
        framing = [] if dice.random() < 0.3 else [f"content-length: {len(body)}"]
        head = "\r\n".join([f"{dice.choice(['POST', 'POST', 'GET', 'PUT'])} {dice.choice(paths)} HTTP/1.1", f"host: {host}:{port}", *framing, *lines, "connection: close"])
        with socket.create_connection((host, int(port)), timeout=60) as stream:
            stream.sendall(head.encode("latin-1") + b"\r\n\r\n" + body)
            stream.shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while part := stream.recv(65_536):
                    answer += part
        # One that breaks off may be answered by the end of the connection alone.
        status = int(answer.split(b" ")[1]) if answer else 400
        assert status < 500 or status in (501, 503), (seed, turn, head, body, answer)
