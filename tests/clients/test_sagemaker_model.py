"""Requests and answers held against botocore's own model of the service, and requests that no client would send."""

import contextlib
import datetime
import json
import random

import botocore.session
import pytest
from aws import Sage, call
from workbench import ModelServer, Snapback, ask

MODEL = botocore.session.get_session().get_service_model("sagemaker")
SPOKEN = [
    *(f"{verb}{what}" for what in ("Model", "EndpointConfig", "Endpoint") for verb in ("Create", "Describe", "Delete")),
    *("ListModels", "ListEndpointConfigs", "ListEndpoints", "UpdateEndpoint", "UpdateEndpointWeightsAndCapacities"),
    *("AddTags", "ListTags", "DeleteTags"),
]
# Members that are said beyond the model, and those that are kept without a look.
BEYOND = {"LastDeployment"}
UNCHECKED = {"ExplainerConfig", "InstanceType"}


@pytest.fixture(scope="module")
def servers():
    with contextlib.ExitStack() as stack:
        yield [[stack.enter_context(ModelServer(version)).address for _ in range(3)] for version in ("v1", "v2")]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    with Snapback(tmp_path_factory.mktemp("model"), []) as proxy:
        yield proxy


def misfits(shape, value, path=""):
    """What in a value does not fit its shape: types, required members, enumerations, members that the model does not have."""
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            return [f"{path}: no structure"]
        missing = [f"{path}.{name}: missing" for name in shape.required_members if name not in value]
        unknown = [f"{path}.{name}: unknown" for name in value if name not in shape.members and name not in BEYOND]
        inner = [misfits(shape.members[name], value[name], f"{path}.{name}") for name in value if name in shape.members]
        return missing + unknown + sum(inner, [])
    if kind == "list":
        return sum((misfits(shape.member, item, f"{path}[]") for item in value), []) if isinstance(value, list) else [f"{path}: no list"]
    if kind == "map":
        return sum((misfits(shape.value, item, f"{path}.{key}") for key, item in value.items()), [])
    fits = {
        "string": lambda: isinstance(value, str) and (not shape.enum or value in shape.enum or "InstanceType" in path),
        "integer": lambda: isinstance(value, int) and not isinstance(value, bool),
        "float": lambda: isinstance(value, (int, float)) and not isinstance(value, bool),
        "boolean": lambda: isinstance(value, bool),
        "timestamp": lambda: isinstance(value, float) and 2020 < datetime.datetime.fromtimestamp(value).year < 2100,
    }[kind]
    return [] if fits() else [f"{path}: {value!r} is no {kind}"]


def answered(proxy, operation, document):
    """The answer, which fits the model."""
    status, head, body = call(proxy, operation, document)
    assert status == 200, body
    assert head["content-type"] == "application/x-amz-json-1.1" and len(head["x-amzn-requestid"]) == 36
    shape = MODEL.operation_model(operation).output_shape
    assert (body is None) == (shape is None), body
    assert misfits(shape, body) == [] if shape else True, misfits(shape, body)
    return body


def test_every_answer_fits_botocores_model_at_every_stage(proxy, servers):
    with Sage(proxy, "shapes", servers) as sage:
        named = {"EndpointName": sage.name}
        answered(proxy, "DescribeEndpoint", named)
        policy = {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 33}, "WaitIntervalInSeconds": 3600}
        deployment = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": policy}, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "p99 > 1 s"}]}}
        answered(proxy, "UpdateEndpoint", named | {"EndpointConfigName": sage.c2, "DeploymentConfig": deployment})
        answered(proxy, "DescribeEndpoint", named)
        sage.wait_for_status("Baking")
        answered(proxy, "DescribeEndpoint", named)
        proxy.api("POST", f"/v1/shifts/{sage.shift()['id']}/abort", {"reason": "seen enough"})
        sage.wait("endpoint_in_service")
        shown = answered(proxy, "DescribeEndpoint", named)
        assert (shown["LastDeployment"]["Outcome"], shown["EndpointConfigName"]) == ("RolledBack", sage.c1)
        answered(proxy, "UpdateEndpointWeightsAndCapacities", named | {"DesiredWeightsAndCapacities": [{"VariantName": "AllTraffic", "DesiredWeight": 2}]})
        for operation in ("ListModels", "ListEndpointConfigs", "ListEndpoints"):
            assert answered(proxy, operation, {"MaxResults": 1})["NextToken"] if operation != "ListEndpoints" else True
        answered(proxy, "DescribeModel", {"ModelName": sage.c1})
        answered(proxy, "DescribeEndpointConfig", {"EndpointConfigName": sage.c1})
        tag = {"ResourceArn": shown["EndpointArn"]}
        answered(proxy, "AddTags", tag | {"Tags": [{"Key": "a", "Value": "b"}]})
        answered(proxy, "ListTags", tag)
        answered(proxy, "DeleteTags", tag | {"TagKeys": ["a"]})
        answered(proxy, "DeleteEndpoint", named)


def good(shape, name="", depth=0):
    """A value that fits a shape, with everything that is required."""
    meta = shape.metadata
    if shape.type_name == "structure":
        return {member: good(shape.members[member], member, depth + 1) for member in shape.required_members}
    if shape.type_name == "list":
        return [good(shape.member, name, depth + 1)] * max(1, meta.get("min", 0))
    if shape.type_name == "map":
        return {"A": "b"}
    if shape.type_name == "string":
        if shape.enum:
            return shape.enum[0]
        arn = "arn:aws:sagemaker:us-east-1:000000000000:"
        text = {"S3Uri": "s3://b/k", "DestinationS3Uri": "s3://b/k", "ResourceArn": arn + "model/m", "MetricsEndpointPath": "/m"}
        return text.get(name, "a" * max(1, meta.get("min", 0)))
    return {"integer": meta.get("min", 1), "float": 1.0, "double": 1.0, "boolean": True, "timestamp": 1.7e9}[shape.type_name]


def bad(shape):
    """Values beyond each constraint of a shape, each with the beginning of what is said of it."""
    meta = shape.metadata
    if shape.type_name == "string":
        if shape.enum:
            yield "NO_SUCH_WORD", "Member must satisfy enum value set: ["
        if "max" in meta:
            yield "a" * (meta["max"] + 1), f"Member must have length less than or equal to {meta['max']}"
        if meta.get("min", 0) > 0:
            yield "", f"Member must have length greater than or equal to {meta['min']}"
        # These take anything, or nearly.
        if meta.get("pattern") not in (None, ".*", "[\\S\\s]*", "[\\s\\S]+") and not shape.enum:
            yield " \n ", f"Member must satisfy regular expression pattern: {meta['pattern']}"
    elif shape.type_name in ("integer", "float"):
        if "max" in meta:
            yield meta["max"] + 1, f"Member must have value less than or equal to {meta['max']}"
        if "min" in meta:
            yield meta["min"] - 1, f"Member must have value greater than or equal to {meta['min']}"
    elif shape.type_name == "list":
        if "max" in meta:
            yield [good(shape.member)] * (meta["max"] + 1), f"Member must have length less than or equal to {meta['max']}"
        if meta.get("min", 0) > 0:
            yield [], f"Member must have length greater than or equal to {meta['min']}"


def violations(shape, path=(), said=""):
    """Every constraint below a structure: where it is, a value that breaks it, and what is to be said."""
    for name, member in shape.members.items():
        if name in UNCHECKED:
            continue
        here = f"{said}.{name[0].lower()}{name[1:]}" if said else f"{name[0].lower()}{name[1:]}"
        yield from ((path + (name,), value, f"at '{here}' failed to satisfy constraint: {text}") for value, text in bad(member))
        if name in shape.required_members:
            yield path + (name,), None, f"Value null at '{here}' failed to satisfy constraint: Member must not be null"
        inner = member.member if member.type_name == "list" else member
        below = (path + (name, 0), f"{here}.1.member") if member.type_name == "list" else (path + (name,), here)
        if inner.type_name == "structure":
            yield from violations(inner, *below)
        elif member.type_name == "list":
            yield from ((below[0], value, f"at '{below[1]}' failed to satisfy constraint: {text}") for value, text in bad(inner))


def place(shape, document, path, value):
    """Puts a value into a document, with what is required on the way to it."""
    if len(path) == 1:
        document[path[0]] = value
        return
    first, rest = path[0], path[1:]
    member = shape.members[first] if isinstance(first, str) else shape.member
    if isinstance(document, dict):
        document.setdefault(first, good(member, first))
    place(member, document[first], rest, value)


@pytest.mark.parametrize("operation", SPOKEN)
def test_every_constraint_of_the_model_is_enforced_in_awss_words(proxy, operation):
    shape = MODEL.operation_model(operation).input_shape
    checked = 0
    for path, value, text in violations(shape):
        document = good(shape)
        place(shape, document, path, value)
        status, _, answer = call(proxy, operation, document)
        assert (status, answer["__type"]) == (400, "ValidationException"), (path, value, answer)
        assert "validation error" in answer["message"] and text in answer["message"], (path, value, text, answer["message"])
        checked += 1
    assert checked > 1


def test_an_unknown_operation_and_a_body_that_is_no_document_get_awss_errors(proxy):
    for operation in ("CreateTrainingJob", "describeEndpoint", ""):
        assert call(proxy, operation)[2]["__type"] == "UnknownOperationException"
    for body in (b"{", b"[1", b"\xff", b'{"EndpointName": }'):
        status, head, answer = call(proxy, "DescribeEndpoint", body=body)
        assert (status, answer["__type"], head["x-amzn-errortype"]) == (400, "SerializationException", "SerializationException")
    for document in ({"EndpointName": 5}, {"EndpointName": {}}, [], "x"):
        assert call(proxy, "DescribeEndpoint", body=json.dumps(document).encode())[2]["__type"] == "SerializationException"
    assert call(proxy, "DescribeEndpoint", body=b'{"EndpointName": "' + b"a" * (1 << 20) + b'"}')[0] == 413
    deep = b"[" * 100_000
    assert call(proxy, "DescribeEndpoint", body=deep)[2]["__type"] == "SerializationException"
    status, _, answer = ask("POST", proxy.admin + "/", b"{}", {"content-type": "application/x-amz-json-1.1"})
    assert (status, json.loads(answer)["__type"]) == (400, "UnknownOperationException")
    page = {"x-amz-target": "SageMaker.ListModels", "content-type": "application/x-amz-json-1.1", "origin": "http://evil.example"}
    assert ask("POST", proxy.admin + "/", b"{}", page)[0] == 403


def test_a_fuzzed_request_never_gets_a_500_and_never_hangs(proxy):
    seed = 20_260_131
    dice = random.Random(seed)
    atoms = [None, True, 0, -1, 1, 10**30, 1.5, -1e308, "", "a", "a" * 300, "\0", "\U0001f600", [], {}, [None], {"a": None}, "s3://b/k", "CANARY", 33, 600]
    names = sorted({name for operation in SPOKEN for name in MODEL.operation_model(operation).input_shape.members})

    def mutated(shape, depth=0):
        if dice.random() < 0.15 or depth > 8:
            return dice.choice(atoms)
        if shape.type_name == "structure":
            members = {name: mutated(member, depth + 1) for name, member in shape.members.items() if dice.random() < (0.9 if depth < 2 else 0.5)}
            return members | ({dice.choice(names): dice.choice(atoms)} if dice.random() < 0.2 else {})
        if shape.type_name == "list":
            return [mutated(shape.member, depth + 1) for _ in range(dice.choice([0, 1, 1, 2, 12]))]
        if shape.type_name == "map":
            return {dice.choice(["A", "SNAPBACK_INSTANCES", "SNAPBACK_PROVIDER", " "]): dice.choice(["127.0.0.1:9", "x y", "", ",,"])}
        return good(shape) if dice.random() < 0.8 else dice.choice(atoms)

    for turn in range(1_500):
        operation = dice.choice(SPOKEN)
        document = mutated(MODEL.operation_model(operation).input_shape)
        body = json.dumps(document).encode()
        if dice.random() < 0.1:
            cut = dice.randrange(len(body) + 1)
            body = body[:cut] + bytes(dice.randrange(256) for _ in range(3)) + body[cut:]
        status, _, answer = call(proxy, operation, body=body)
        assert status in (200, 400, 413), (seed, turn, operation, body[:2_000], answer)
        assert status == 200 or answer["__type"], (seed, turn, answer)
