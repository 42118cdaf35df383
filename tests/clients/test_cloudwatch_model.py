"""CloudWatch's requests and answers held against botocore's own model of the service, and requests that no client would send."""

import datetime
import gzip
import json
import random

import botocore.auth
import botocore.session
import pytest
from aws import call, client, refused
from test_sagemaker_model import place
from workbench import Snapback, ask

MODEL = botocore.session.get_session().get_service_model("cloudwatch")
SPOKEN = [
    *("PutMetricAlarm", "PutCompositeAlarm", "DescribeAlarms", "DescribeAlarmsForMetric", "DescribeAlarmHistory", "SetAlarmState", "DeleteAlarms"),
    *("EnableAlarmActions", "DisableAlarmActions", "GetMetricStatistics", "GetMetricData", "ListMetrics", "PutMetricData"),
    *("TagResource", "UntagResource", "ListTagsForResource"),
]
KEY, SECRET = "AKIAOPERATOR", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    with Snapback(tmp_path_factory.mktemp("watchmodel"), []) as proxy:
        yield proxy


def misfits(shape, value, path=""):
    """What in a value does not fit its shape: types, required members, bounds, enumerations, members that the model does not have."""
    kind, meta = shape.type_name, shape.metadata
    if kind == "structure":
        if not isinstance(value, dict):
            return [f"{path}: no structure"]
        missing = [f"{path}.{name}: missing" for name in shape.required_members if name not in value]
        unknown = [f"{path}.{name}: unknown" for name in value if name not in shape.members]
        return missing + unknown + sum((misfits(shape.members[name], value[name], f"{path}.{name}") for name in value if name in shape.members), [])
    if kind == "list":
        return sum((misfits(shape.member, item, f"{path}[]") for item in value), []) if isinstance(value, list) else [f"{path}: no list"]
    if kind == "map":
        return sum((misfits(shape.value, item, f"{path}.{key}") for key, item in value.items()), [])
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = {
        "string": lambda: isinstance(value, str) and (not shape.enum or value in shape.enum) and meta.get("min", 0) <= len(value) <= meta.get("max", 1 << 30),
        "integer": lambda: isinstance(value, int) and not isinstance(value, bool),
        "double": lambda: is_number,
        "boolean": lambda: isinstance(value, bool),
        "timestamp": lambda: isinstance(value, float) and 2020 < datetime.datetime.fromtimestamp(value).year < 2100,
    }[kind]
    return [] if fits() else [f"{path}: {value!r} is no {kind}"]


def answered(proxy, operation, document):
    """The answer, which fits the model."""
    status, head, body = call(proxy, operation, document, service="cloudwatch")
    assert status == 200, body
    assert head["content-type"] == "application/x-amz-json-1.0" and len(head["x-amzn-requestid"]) == 36
    shape = MODEL.operation_model(operation).output_shape
    assert body == {} if shape is None else misfits(shape, body) == [], shape and misfits(shape, body)
    return body


def test_every_answer_fits_botocores_model(proxy):
    metric = {"Namespace": "Shop", "MetricName": "Orders", "Dimensions": [{"Name": "Kind", "Value": "book"}]}
    now = datetime.datetime.now().timestamp()
    window = {"StartTime": now - 300, "EndTime": now + 60}
    answered(proxy, "PutMetricData", {"Namespace": "Shop", "MetricData": [{key: value for key, value in metric.items() if key != "Namespace"} | {"Value": 3.0}]})
    rule = {"AlarmName": "m", "Period": 60, "EvaluationPeriods": 2, "DatapointsToAlarm": 1, "Threshold": 1, "ComparisonOperator": "LessThanThreshold"}
    answered(proxy, "PutMetricAlarm", rule | metric | {"ExtendedStatistic": "p99.9", "Unit": "Count", "OKActions": ["arn:aws:sns:us-east-1:0:x"], "EvaluateLowSampleCountPercentile": "ignore"})
    queries = [
        {"Id": "m1", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "tm90"}, "ReturnData": False},
        {"Id": "e1", "Expression": "m1 / 2", "Label": "half", "ReturnData": True},
    ]
    answered(proxy, "PutMetricAlarm", rule | {"AlarmName": "e", "Metrics": queries})
    answered(proxy, "PutCompositeAlarm", {"AlarmName": "c", "AlarmRule": "ALARM(m) OR ALARM(e)", "AlarmDescription": "either", "Tags": [{"Key": "a", "Value": "b"}]})
    answered(proxy, "SetAlarmState", {"AlarmName": "m", "StateValue": "ALARM", "StateReason": "", "StateReasonData": "{\"why\": 1}"})
    both = {"AlarmTypes": ["MetricAlarm", "CompositeAlarm"]}
    shown = answered(proxy, "DescribeAlarms", both)
    assert {alarm["AlarmName"] for alarm in shown["MetricAlarms"] + shown["CompositeAlarms"]} == {"m", "e", "c"}
    assert answered(proxy, "DescribeAlarms", both | {"MaxRecords": 1})["NextToken"]
    assert answered(proxy, "DescribeAlarms", {"ChildrenOfAlarmName": "c"})["MetricAlarms"] and answered(proxy, "DescribeAlarms", {"ParentsOfAlarmName": "m"})["CompositeAlarms"]
    assert answered(proxy, "DescribeAlarmsForMetric", metric)["MetricAlarms"][0]["AlarmName"] == "m"
    assert answered(proxy, "DescribeAlarmHistory", both | {"MaxRecords": 1})["NextToken"]
    answered(proxy, "GetMetricStatistics", metric | window | {"Period": 60, "Statistics": ["Sum", "Average"], "ExtendedStatistics": ["p50", "PR(:5)"]})
    found = answered(proxy, "GetMetricData", {"MetricDataQueries": queries, **window})
    assert [result["Id"] for result in found["MetricDataResults"]] == ["e1"]
    assert {"Namespace": "Shop", "MetricName": "Orders", "Dimensions": metric["Dimensions"]} in answered(proxy, "ListMetrics", {"RecentlyActive": "PT3H"})["Metrics"]
    arn = {"ResourceARN": shown["CompositeAlarms"][0]["AlarmArn"]}
    answered(proxy, "TagResource", arn | {"Tags": [{"Key": "c", "Value": "d"}]})
    assert len(answered(proxy, "ListTagsForResource", arn)["Tags"]) == 2
    answered(proxy, "UntagResource", arn | {"TagKeys": ["c"]})
    for operation in ("DisableAlarmActions", "EnableAlarmActions", "DeleteAlarms"):
        answered(proxy, operation, {"AlarmNames": ["m", "e", "c"]})


def good(shape, name=""):
    """A value that fits a shape, with everything that is required."""
    meta = shape.metadata
    if shape.type_name == "structure":
        return {member: good(shape.members[member], member) for member in shape.required_members}
    if shape.type_name == "list":
        return [good(shape.member, name)] * max(1, meta.get("min", 0))
    if shape.type_name == "map":
        return {"A": "b", "C": "d"}
    if shape.type_name == "string":
        return shape.enum[0] if shape.enum else {"AlarmRule": "TRUE"}.get(name, "a" * max(1, meta.get("min", 0)))
    return {"integer": max(60, meta.get("min", 1)), "double": 1.0, "boolean": True, "timestamp": 1.7e9}[shape.type_name]


def bad(shape):
    """Values beyond each constraint of a shape, each with the beginning of what is said of it."""
    meta = shape.metadata
    if shape.type_name == "string":
        if shape.enum:
            yield "NO_SUCH_WORD", "Member must satisfy enum value set: ["
        elif "max" in meta:
            yield "a" * (meta["max"] + 1), f"Member must have length less than or equal to {meta['max']}"
        if meta.get("min", 0) > 0 and not shape.enum:
            yield "", f"Member must have length greater than or equal to {meta['min']}"
        if "pattern" in meta:
            yield ":x", f"Member must satisfy regular expression pattern: {meta['pattern']}"
    elif shape.type_name == "integer":
        for bound, word, step in (("max", "less", 1), ("min", "greater", -1)):
            if bound in meta:
                yield meta[bound] + step, f"Member must have value {word} than or equal to {meta[bound]}"
    elif shape.type_name == "list":
        if "max" in meta:
            yield [good(shape.member)] * (meta["max"] + 1), f"Member must have length less than or equal to {meta['max']}"
        if meta.get("min", 0) > 0:
            yield [], f"Member must have length greater than or equal to {meta['min']}"


def violations(shape, path=(), said=""):
    """Every constraint below a structure: where it is, a value that breaks it, and what is to be said."""
    for name, member in shape.members.items():
        lowered = f"{name[0].lower()}{name[1:]}"
        here = f"{said}.{lowered}" if said else lowered
        yield from ((path + (name,), value, f"at '{here}' failed to satisfy constraint: {text}") for value, text in bad(member))
        if name in shape.required_members:
            yield path + (name,), None, f"Value null at '{here}' failed to satisfy constraint: Member must not be null"
        inner = member.member if member.type_name == "list" else member
        below = (path + (name, 0), f"{here}.1.member") if member.type_name == "list" else (path + (name,), here)
        if inner.type_name == "structure":
            yield from violations(inner, *below)
        elif member.type_name == "list":
            yield from ((below[0], value, f"at '{below[1]}' failed to satisfy constraint: {text}") for value, text in bad(inner))


@pytest.mark.parametrize("operation", SPOKEN)
def test_every_constraint_of_the_model_is_enforced_in_awss_words(proxy, operation):
    shape = MODEL.operation_model(operation).input_shape
    checked = 0
    for path, value, text in violations(shape):
        document = good(shape)
        place(shape, document, path, value)
        status, head, answer = call(proxy, operation, document, service="cloudwatch")
        assert (status, answer["__type"]) == (400, "com.amazonaws.cloudwatch#ValidationError"), (path, value, answer)
        assert head["x-amzn-query-error"] == "ValidationError;Sender"
        assert "validation error" in answer["message"] and text in answer["message"], (path, value, text, answer["message"])
        checked += 1
    assert checked > 0


RULE = {"AlarmName": "x", "Namespace": "N", "MetricName": "M", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "LessThanThreshold"}


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"Statistic": None}, "MissingParameter", "Statistic or ExtendedStatistic is required"),
        ({"ExtendedStatistic": "p99"}, "InvalidParameterCombination", "cannot be used together"),
        ({"Statistic": None, "ExtendedStatistic": "p101"}, "InvalidParameterValue", "p101"),
        ({"Period": 7}, "ValidationError", "a multiple of 60"),
        ({"EvaluationPeriods": 1441}, "ValidationError", "Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= 86400)"),
        ({"DatapointsToAlarm": 2}, "ValidationError", "DatapointsToAlarm"),
        ({"Threshold": None}, "MissingParameter", "Threshold"),
        ({"ComparisonOperator": "GreaterThanUpperThreshold"}, "ValidationError", "anomaly detection"),
        ({"TreatMissingData": "maybe"}, "InvalidParameterValue", "TreatMissingData"),
        ({"MetricName": None}, "ValidationError", "MetricName"),
        ({"Dimensions": [{"Name": "a", "Value": "1"}, {"Name": "a", "Value": "2"}]}, "InvalidParameterValue", "more than once"),
        ({"Metrics": [{"Id": "m", "Expression": "1"}]}, "InvalidParameterCombination", "Metrics"),
        ({"MetricName": None, "Metrics": [{"Id": "m", "Expression": "SEARCH(1)"}]}, "ValidationError", "there is no function SEARCH here"),
        ({"MetricName": None, "Metrics": [{"Id": "M", "Expression": "1"}]}, "ValidationError", "lower-case"),
        ({"MetricName": None, "Metrics": [{"Id": "m", "Expression": "n"}]}, "ValidationError", "there is no metric or expression n"),
        ({"MetricName": None, "Metrics": [{"Id": "m", "Expression": "1"}, {"Id": "n", "Expression": "1"}]}, "ValidationError", "Exactly one element of the metrics list should return data."),
        ({"EvaluationCriteria": {"PromQLCriteria": {"Query": "up"}}}, "ValidationError", "PromQL"),
    ],
)
def test_an_alarm_that_cannot_be_evaluated_is_refused_in_words(proxy, change, code, message):
    with refused(code, message):
        client(proxy, "cloudwatch").put_metric_alarm(**{key: value for key, value in (RULE | change).items() if value is not None})


def test_data_that_cannot_be_taken_is_refused_in_words(proxy):
    watch = client(proxy, "cloudwatch")
    for datum, code, message in [
        ({}, "MissingParameter", "At least one of the parameters"),
        ({"Value": 1.0, "Values": [1.0]}, "InvalidParameterCombination", "mutually exclusive"),
        ({"Value": 1e300}, "InvalidParameterValue", "2^360"),
        ({"Values": [1.0] * 151}, "InvalidParameterValue", "at most 150"),
        ({"Values": [1.0], "Counts": [1.0, 2.0]}, "InvalidParameterValue", "as many"),
        ({"Value": 1.0, "Timestamp": 1.0}, "InvalidParameterValue", "in the past"),
        ({"StatisticValues": {"SampleCount": 1.0, "Sum": 1.0, "Minimum": 2.0, "Maximum": 1.0}}, "InvalidParameterValue", "Minimum"),
    ]:
        with refused(code, message):
            watch.put_metric_data(Namespace="N", MetricData=[{"MetricName": "M"} | datum])
    with refused("InvalidParameterValue", "reserved"):
        watch.put_metric_data(Namespace="AWS/SageMaker", MetricData=[{"MetricName": "M", "Value": 1.0}])
    with refused("MissingParameter", "MetricData"):
        watch.put_metric_data(Namespace="N", MetricData=[])
    window = {"Namespace": "N", "MetricName": "M", "Statistics": ["Sum"], "StartTime": 0.0, "EndTime": 1e9}
    with refused("InvalidParameterCombination", "exceeds the limit of 1440"):
        watch.get_metric_statistics(Period=60, **window)
    with refused("InvalidNextToken", "next token"):
        watch.describe_alarms(NextToken="%%%")
    with refused("ResourceNotFound", "Could not find alarm"):
        watch.set_alarm_state(AlarmName="nobody", StateValue="OK", StateReason="")
    packed = gzip.compress(b'{"Namespace": "N", "MetricData": [' + b" " * (5 << 20) + b"]}")
    assert call(proxy, "PutMetricData", body=packed, headers={"content-encoding": "gzip"}, service="cloudwatch")[0] == 413
    for coding in ("gzip", "br"):
        status, _, answer = call(proxy, "PutMetricData", body=b"{}", headers={"content-encoding": coding}, service="cloudwatch")
        assert (status, answer["__type"]) == (400, "com.amazonaws.cloudwatch#SerializationException")


def test_unknown_operations_and_bodies_that_are_no_documents_get_awss_errors(proxy):
    for operation in ("PutDashboard", "describeAlarms", ""):
        assert call(proxy, operation, service="cloudwatch")[2]["__type"].endswith("#UnknownOperationException")
    for body in (b"{", b"[1", b"\xff", b"[" * 100_000, b'"x"', b'{"AlarmNames": 5}'):
        status, head, answer = call(proxy, "DescribeAlarms", body=body, service="cloudwatch")
        assert (status, answer["__type"], head["x-amzn-query-error"]) == (400, "com.amazonaws.cloudwatch#SerializationException", "MalformedInput;Sender")
    assert call(proxy, "DescribeAlarms", body=b'{"AlarmNamePrefix": "' + b"a" * (1 << 20) + b'"}', service="cloudwatch")[0] == 413


def test_only_who_signs_for_cloudwatch_with_a_configured_key_is_served(tmp_path, monkeypatch):
    secret = tmp_path / "operator.secret"
    secret.write_text(SECRET)
    with Snapback(tmp_path, [], sections={"aws": {"keys": [{"id": KEY, "secret_file": str(secret)}]}}) as proxy:
        watch = client(proxy, "cloudwatch", key=KEY, secret=SECRET)
        watch.put_metric_data(Namespace="N", MetricData=[{"MetricName": "M", "Values": [float(value) for value in range(150)]} for _ in range(50)])
        assert watch.describe_alarms()["MetricAlarms"] == []
        with refused("SignatureDoesNotMatch", "does not match the signature you provided"):
            client(proxy, "cloudwatch", key=KEY, secret="wrong").describe_alarms()
        with refused("InvalidClientTokenId", "security token"):
            client(proxy, "cloudwatch", key="AKIAOTHER", secret=SECRET).describe_alarms()
        assert call(proxy, "DescribeAlarms", service="cloudwatch")[0] == 403
        with refused("IncompleteSignature", "correct service: 'monitoring'"):
            watch._request_signer._signing_name = "sagemaker"
            watch.describe_alarms()
        later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=16)
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: later.replace(tzinfo=None))
        with refused("SignatureDoesNotMatch", "Signature not yet current"):
            client(proxy, "cloudwatch", key=KEY, secret=SECRET).describe_alarms()


def test_a_fuzzed_request_never_gets_a_500_and_never_hangs(proxy):
    seed = 20_261_125
    dice = random.Random(seed)
    atoms = [None, True, 0, -1, 1, 10**30, 1.5, -1e308, "", "a", "a" * 300, "\0", "\U0001f600", [], {}, [None], {"a": None}, "p99", "TM(1:", 60, "m1 + (", "ALARM(", "NaN"]
    texts = {"Expression": ["m1", "m1/0", "SUM([m1,m1])", "((((", "RATE(m1) ^ 9"], "AlarmRule": ["ALARM(a)", "NOT (", "TRUE OR OK(b)"], "Id": ["m1", "m2"], "Stat": ["p50", "Sum", "PR(:1)"]}

    def mutated(shape, name="", depth=0):
        if dice.random() < 0.1 or depth > 8:
            return dice.choice(atoms)
        if shape.type_name == "structure":
            return {member: mutated(inner, member, depth + 1) for member, inner in shape.members.items() if dice.random() < (0.7 if depth < 2 else 0.5)}
        if shape.type_name == "list":
            return [mutated(shape.member, name, depth + 1) for _ in range(dice.choice([0, 1, 1, 2, 12]))]
        if name in texts:
            return dice.choice(texts[name])
        if shape.type_name == "timestamp":
            return dice.choice([0.0, 1e18, -1e18, datetime.datetime.now().timestamp() - dice.random() * 1e6, "2026-01-01T00:00:00Z"])
        return good(shape, name) if dice.random() < 0.8 else dice.choice(atoms)

    for turn in range(1_500):
        operation = dice.choice(SPOKEN)
        body = json.dumps(mutated(MODEL.operation_model(operation).input_shape)).encode()
        if dice.random() < 0.1:
            cut = dice.randrange(len(body) + 1)
            body = body[:cut] + bytes(dice.randrange(256) for _ in range(3)) + body[cut:]
        status, _, answer = call(proxy, operation, body=body, service="cloudwatch")
        assert status in (200, 400, 404, 413), (seed, turn, operation, body[:2_000], answer)
        assert status == 200 or answer["__type"], (seed, turn, answer)
    signed = {"content-type": "application/x-www-form-urlencoded", "authorization": "none"}
    for turn in range(300):
        body = bytes(dice.choice(b"Action=PutMetricAlarm&Dimensions.member.1.Name=%41.+&\xff") for _ in range(dice.randrange(200)))
        status, _, _ = ask("POST", proxy.admin + "/", b"Action=" + dice.choice(SPOKEN).encode() + b"&" + body, signed)
        assert status in (200, 400, 404), (seed, turn, body)
