"""Events as SageMaker sends them: in the file of events, by webhook, and put on a bus; and what alarms cannot do, said where they are named."""

import contextlib
import http.server
import json
import queue
import threading

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.session
import pytest
from aws import Sage, client
from workbench import ModelServer, Snapback, ask, wait_for

KEY, SECRET = "AKIAEVENTS", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HOOK = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CANARY = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {"Type": "CANARY", "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 3},
        "TerminationWaitInSeconds": 3,
    },
}


class Receiver:
    """A server that takes what is posted to it; `refusals` says how many of the next are not taken."""

    def __init__(self, answer):
        self.taken, self.refusals = queue.Queue(), 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.taken.put((self.path, dict(self.headers.items()), body))
                failed = outer.refusals > 0
                outer.refusals -= failed
                document = answer(failed)
                self.send_response(200)
                self.send_header("content-length", str(len(document)))
                self.end_headers()
                self.wfile.write(document)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def all(self):
        with contextlib.suppress(queue.Empty):
            while True:
                yield self.taken.get_nowait()


def put(failed):
    entry = {"ErrorCode": "InternalFailure", "ErrorMessage": "later"} if failed else {"EventId": "1"}
    return json.dumps({"FailedEntryCount": int(failed), "Entries": [entry]}).encode()


@pytest.fixture(scope="module")
def servers():
    with contextlib.ExitStack() as stack:
        yield [[stack.enter_context(ModelServer(version)).address for _ in range(3)] for version in ("v1", "v2")]


@pytest.fixture(scope="module")
def sinks():
    return Receiver(put), Receiver(lambda _: b"")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("events")


@pytest.fixture(scope="module")
def proxy(folder, sinks):
    bus, hook = sinks
    for name, text in (("bus.secret", SECRET), ("hook.secret", HOOK)):
        (folder / name).write_text(text + "\n")
    webhooks = [
        {"name": "bus", "url": bus.url, "secret_file": str(folder / "bus.secret"), "key_id": KEY, "region": "eu-west-1", "bus": "models"},
        {"name": "hook", "url": hook.url, "secret_file": str(folder / "hook.secret"), "events": ["aws.event"]},
    ]
    with Snapback(folder, [], sections={"webhook": webhooks, "events": {"file": str(folder / "events.jsonl")}}) as proxy:
        yield proxy


def written(folder, name):
    """The envelopes in the file of events, of one endpoint."""
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [line["evidence"] for line in lines if line["kind"] == "aws.event" and line["endpoint"] == name]


def deployments(envelopes):
    """What the variant that comes in was told to do: status and activated instances."""
    found = []
    for envelope in envelopes:
        for variant in envelope["detail"].get("PendingDeploymentSummary", {}).get("ProductionVariants", []):
            found += [(status["Status"], variant["CurrentInstanceCount"], status["StatusMessage"]) for status in variant.get("VariantStatus", [])]
    return found


def test_a_deployment_is_told_stage_by_stage_to_every_sink(proxy, servers, sinks, folder):
    bus, hook = sinks
    bus.refusals = 2
    with Sage(proxy, "told", servers) as sage:
        sage.api.add_tags(ResourceArn=sage.describe()["EndpointArn"], Tags=[{"Key": "team", "Value": "ranking"}])
        sage.update(sage.c2, CANARY)
        sage.wait("endpoint_in_service")
        arn = sage.describe()["EndpointArn"]
        states = lambda: [(envelope["detail"]["EndpointStatus"], envelope["detail"]["EndpointConfigName"]) for envelope in written(folder, "told") if envelope["detail-type"] == "SageMaker Endpoint State Change"]
        wait_for("the endpoint is in service again", lambda: states()[-1:] == [("IN_SERVICE", sage.c2)])
        assert states() == [("CREATING", sage.c1), ("IN_SERVICE", sage.c1), ("UPDATING", sage.c1), ("IN_SERVICE", sage.c2)], states()
    wait_for("its end is told", lambda: states()[-1:] == [("DELETING", sage.c2)])
    envelopes = written(folder, "told")
    assert len({envelope["id"] for envelope in envelopes}) == len(envelopes)
    first = envelopes[0]
    assert {key: first[key] for key in ("version", "source", "account", "region", "resources")} == {
        "version": "0", "source": "aws.sagemaker", "account": "000000000000", "region": "us-east-1", "resources": [arn],
    }
    assert first["detail"]["ProductionVariants"] == [{"DesiredWeight": 1, "DesiredInstanceCount": 3}]
    assert first["detail"]["CreationTime"] > 1.7e12 and isinstance(first["detail"]["CreationTime"], int)
    changes = [envelope for envelope in envelopes if envelope["detail-type"] == "SageMaker Endpoint Deployment State Change" and "PendingDeploymentSummary" in envelope["detail"]]
    seen = deployments(changes)
    assert [word for word, _, _ in seen if word != "CREATING"] == ["ACTIVATING_TRAFFIC", "BAKING", "ACTIVATING_TRAFFIC", "BAKING"], seen
    assert ("BAKING", 1, "Baking for 3 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1 instance(s).") in seen
    assert ("BAKING", 3, "Baking for 3 seconds (TerminationWaitInSeconds) with traffic enabled on full capacity of 3 instance(s).") in seen
    baking = changes[-1]["detail"]
    assert (baking["EndpointStatus"], baking["EndpointConfigName"], baking["Tags"]) == ("UPDATING", sage.c1, {"team": "ranking"})
    assert set(baking["ProductionVariants"][0]) - {"VariantStatus"} == {"VariantName", "CurrentWeight", "DesiredWeight", "CurrentInstanceCount", "DesiredInstanceCount"}
    assert baking["PendingDeploymentSummary"]["EndpointConfigName"] == sage.c2 and baking["PendingDeploymentSummary"]["StartTime"] > 1.7e12

    got, posted = [], []

    def is_all_there():
        got.extend(bus.all())
        posted.extend(hook.all())
        hooked = [json.loads(body)["evidence"]["id"] for _, _, body in posted if json.loads(body)["endpoint"] == "told"]
        bused = [json.loads(body)["Entries"][0]["Detail"] for _, _, body in got if "/told" in json.loads(body)["Entries"][0]["Resources"][0]]
        details = [json.dumps(envelope["detail"], separators=(",", ":")) for envelope in envelopes]
        return set(hooked) == {envelope["id"] for envelope in envelopes} and set(bused) >= set(details)

    wait_for("both sinks have every event", is_all_there)
    assert len(got) >= len(envelopes) + 2, "what the bus did not take was put again"
    shape = botocore.session.get_session().get_service_model("events").operation_model("PutEvents").input_shape.members["Entries"].member
    for path, head, body in got:
        (entry,) = json.loads(body)["Entries"]
        assert (path, head["x-amz-target"], entry["EventBusName"], entry["Source"]) == ("/", "AWSEvents.PutEvents", "models", "aws.sagemaker")
        assert set(entry) <= set(shape.members) and json.loads(entry["Detail"])["EndpointArn"] in entry["Resources"]
        signed = botocore.awsrequest.AWSRequest("POST", bus.url, {name: head[name] for name in ("content-type", "x-amz-target")}, body)
        signed.context["timestamp"] = head["x-amz-date"]
        signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(KEY, SECRET), "events", "eu-west-1")
        signed.headers["X-Amz-Date"] = head["x-amz-date"]
        canonical = signer.canonical_request(signed)
        assert signer.signature(signer.string_to_sign(signed, canonical), signed) in head["authorization"]


def test_a_rollback_is_told_with_its_alarm(proxy, servers, folder):
    with Sage(proxy, "back", servers) as sage:
        sage.update(sage.c2, CANARY | {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": sage.alarm}]}})
        sage.wait_for_status("Baking")
        sage.raise_alarm("as a test")
        sage.wait("endpoint_in_service")

        def last():
            envelopes = [envelope for envelope in written(folder, "back") if envelope["detail-type"] == "SageMaker Endpoint State Change"]
            return envelopes[-1]["detail"] if envelopes else {}

        wait_for("it is in service on the old configuration", lambda: (last().get("EndpointStatus"), last().get("EndpointConfigName")) == ("IN_SERVICE", sage.c1) and "FailureReason" in last())
        assert sage.alarm in last()["FailureReason"]


def warnings(answer):
    head = answer["ResponseMetadata"]["HTTPHeaders"]
    return head.get("x-snapback-warning", "")


def test_alarms_that_cannot_do_what_they_seem_to_are_named_where_they_are_used(proxy, servers):
    watch = client(proxy, "cloudwatch")
    with Sage(proxy, "lint", servers) as sage:
        dimensions = [{"Name": "EndpointName", "Value": sage.name}, {"Name": "VariantName", "Value": "AllTraffic"}]
        rule = {"Namespace": "AWS/SageMaker", "MetricName": "Invocation5XXErrors", "Statistic": "Average", "ComparisonOperator": "GreaterThanThreshold"}
        guide = watch.put_metric_alarm(AlarmName="guide", Dimensions=dimensions, Period=600, EvaluationPeriods=2, Threshold=1, **rule)
        assert "alarm_cannot_fire: it can never be raised" in warnings(guide)
        alone = watch.put_metric_alarm(AlarmName="alone", Dimensions=dimensions[:1], Period=60, EvaluationPeriods=1, Threshold=0.5, **rule)
        assert "alarm_without_series: no series has exactly the dimensions EndpointName" in warnings(alone)
        for _ in range(3):
            ask("POST", f"{proxy.url}/endpoints/{sage.name}/invocations", {"inputs": "hello"})
        good = {"AlarmName": "good", "Dimensions": dimensions, "Period": 1, "EvaluationPeriods": 1, "Threshold": 0.2}
        wait_for("its metric has data", lambda: not warnings(watch.put_metric_alarm(**good, **rule)))
        names = ["guide", "good", "nobody's"]
        answer = sage.update(sage.c2, CANARY | {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in names]}})
        said = warnings(answer)
        for wanted in ("alarm_not_defined: alarm nobody's", "alarm_cannot_fire: alarm guide", "alarm_slower_than_bake: alarm guide: 2 period(s) of 600 s are 1200 s"):
            assert wanted in said, said
        assert "alarm good" not in said, said
        sage.wait("endpoint_in_service")
        plan = {
            "green": {"version": "v9", "instances": servers[0][:1]},
            "strategy": {"type": "canary", "share": "10%", "bake": "10s", "final_bake": "10s"},
            "external": [{"name": "good", "lease": "1h"}],
        }
        status, document = proxy.api("POST", f"/v1/endpoints/{sage.name}/shifts?dry_run=true", plan)
        assert status == 200 and any(finding["code"] == "alarm_mixes_fleets" for finding in document["findings"]), document["findings"]
        watch.delete_alarms(AlarmNames=["guide", "alone", "good"])
