"""Signatures of real clients: what is signed with a configured key is served, and nothing else is."""

import contextlib
import datetime
import json

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from aws import call, client, refused
from botocore.exceptions import ClientError
from workbench import ModelServer, Snapback, ask, wait_for

KEY, SECRET = "AKIAOPERATOR", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signing")
    secret = folder / "operator.secret"
    secret.write_text(SECRET + "\n")
    aws = {"keys": [{"id": KEY, "secret_file": str(secret)}, {"id": "AKIANONE", "secret_env": "SNAPBACK_NO_SUCH_VARIABLE"}]}
    with Snapback(folder, [], sections={"aws": aws}) as proxy:
        yield proxy


def test_who_signs_with_a_configured_key_is_served_and_named_in_the_trail(proxy):
    client(proxy, key=KEY, secret=SECRET).create_model(ModelName="signed")
    entries = proxy.api("GET", "/v1/audit")[1]
    assert any("model signed was created" in str(entry) and KEY in str(entry) for entry in entries["events"]), entries


def test_a_wrong_secret_an_unknown_key_and_a_key_without_a_secret_open_nothing(proxy):
    with refused("InvalidSignatureException", "does not match the signature you provided"):
        client(proxy, key=KEY, secret="wrong").list_models()
    for unknown in ("AKIAUNKNOWN", "AKIANONE"):
        with refused("UnrecognizedClientException", "The security token included in the request is invalid."):
            client(proxy, key=unknown, secret="").list_models()
    status, head, document = call(proxy, "ListModels")
    assert (status, document["__type"]) == (403, "MissingAuthenticationTokenException")
    assert head["x-amzn-errortype"] == "MissingAuthenticationTokenException" and head["x-amzn-requestid"]


@pytest.mark.parametrize(("minutes", "message"), [(-16, "Signature expired: "), (16, "Signature not yet current: ")])
def test_a_clock_that_is_a_quarter_of_an_hour_off_is_told_so(proxy, monkeypatch, minutes, message):
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: now.replace(tzinfo=None))
    with refused("InvalidSignatureException", message):
        client(proxy, key=KEY, secret=SECRET).list_models()


def test_a_signature_of_another_service_is_no_signature_here(proxy):
    with refused("IncompleteSignatureException", "correct service: 'sagemaker'"):
        sagemaker = client(proxy, key=KEY, secret=SECRET)
        sagemaker.meta.events.register("choose-signer.sagemaker.*", lambda **_: None)
        sagemaker._request_signer._signing_name = "s3"
        sagemaker.list_models()


def test_a_port_that_others_reach_speaks_the_api_only_to_who_signs(tmp_path):
    admin = {"listen": "0.0.0.0:0", "allow_remote": True}
    with Snapback(tmp_path, [], sections={"admin": admin}) as proxy:
        port = proxy.admin.rsplit(":", 1)[1]
        target = {"x-amz-target": "SageMaker.ListModels", "content-type": "application/x-amz-json-1.1"}
        assert ask("POST", f"http://127.0.0.1:{port}/", b"{}", target)[0] == 405


def signed(proxy, url, key=KEY, secret=SECRET):
    return client(proxy, "sagemaker-runtime", key=key, secret=secret, url=url)


@contextlib.contextmanager
def serving(folder, **aws):
    """A proxy with an endpoint of SageMaker's API in its file, another that is none, and a key."""
    secret = folder / "operator.secret"
    secret.write_text(SECRET + "\n")
    aws = {"keys": [{"id": KEY, "secret_file": str(secret)}]} | aws
    with ModelServer("v1") as server:
        fleet = {"version": "v1", "instances": [server.address]}
        chat = {"name": "chat", "blue": fleet, "match": {"path_prefix": "/endpoints/chat/"}, "rewrite": {"strip_prefix": "/endpoints/chat"}, "invocations": {}}
        plain = {"name": "plain", "blue": fleet, "match": {"path_prefix": "/plain/"}}
        with Snapback(folder, [chat, plain], sections={"aws": aws}) as proxy:
            yield proxy, secret


@pytest.fixture(scope="module")
def asking(tmp_path_factory):
    """One whose data port asks for signatures, too."""
    with serving(tmp_path_factory.mktemp("asking"), sign_invocations=True) as (proxy, _):
        yield proxy


@pytest.fixture(params=["data", "admin"])
def port(request, asking):
    return {"data": asking.url, "admin": asking.admin}[request.param]


BODY = b'{"prompt": "hello", "max_tokens": 4}'


def invocation(runtime, body=BODY):
    return runtime.invoke_endpoint(EndpointName="chat", Body=body, ContentType="application/json")


def test_invocations_are_asked_for_a_signature_on_both_ports(asking, port):
    assert invocation(signed(asking, port))["InvokedProductionVariant"] == "AllTraffic"
    for key, secret, code in ((KEY, "wrong", "InvalidSignatureException"), ("AKIAUNKNOWN", "x", "UnrecognizedClientException")):
        with refused(code, "" if code.startswith("Unrec") else "does not match the signature you provided"):
            invocation(signed(asking, port, key, secret))
    status, head, document = ask("POST", port + "/endpoints/chat/invocations", BODY)
    assert (status, head["x-amzn-errortype"]) == (403, "MissingAuthenticationTokenException")
    assert json.loads(document) == {"message": "Missing Authentication Token"}


@pytest.mark.parametrize(("minutes", "message"), [(-16, "Signature expired: "), (16, "Signature not yet current: ")])
def test_an_invocation_by_a_clock_that_is_off_is_told_so(asking, port, monkeypatch, minutes, message):
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: now.replace(tzinfo=None))
    with refused("InvalidSignatureException", message):
        invocation(signed(asking, port))


def test_a_large_body_is_signed_as_a_small_one(asking, port):
    with refused("ModelError", "larger than 262144 bytes"):
        invocation(signed(asking, port), b"x" * (5 << 20))
    with refused("ValidationError", "larger"):
        invocation(signed(asking, port), b"x" * ((6 << 20) + 1))


def by_hand(url, payload, path="/endpoints/chat/invocations", sent=BODY):
    """A request that says that this is its body's hash, signed with the right key."""
    request = botocore.awsrequest.AWSRequest("POST", url + path, {"content-type": "application/json", "x-amz-content-sha256": payload}, sent)
    signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(KEY, SECRET), "sagemaker", "us-east-1")
    signer.payload = lambda _: payload
    signer.add_auth(request)
    return ask("POST", url + path, sent, dict(request.headers.items()))


def test_a_payload_that_is_not_signed_streams_and_one_with_another_hash_is_refused(asking, port):
    assert by_hand(port, "UNSIGNED-PAYLOAD")[0] == 200
    status, head, _ = by_hand(port, "0" * 64)
    assert (status, head["x-amzn-errortype"]) == (403, "InvalidSignatureException")


def test_no_spelling_of_a_path_goes_round_the_signature(asking):
    paths = ["/endpoints/chat/./invocations", "/x/../endpoints/chat/invocations", "/%65ndpoints/chat/invocations", "/endpoints/chat/v1/x", "//endpoints/chat/x"]
    for path in paths:
        status, _, body = ask("POST", asking.url + path, BODY)
        assert status in (403, 404), (path, status, body)


def test_what_is_no_endpoint_of_this_api_needs_no_signature_and_is_not_behind_the_admin_port(asking):
    assert ask("POST", asking.url + "/plain/generate", BODY)[0] != 403
    with refused("ValidationError", "Endpoint plain of account 000000000000 not found."):
        signed(asking, asking.admin).invoke_endpoint(EndpointName="plain", Body=BODY)


def test_by_default_only_the_admin_port_asks(tmp_path):
    with serving(tmp_path) as (proxy, secret):
        assert ask("POST", proxy.url + "/endpoints/chat/invocations", BODY)[0] == 200
        assert ask("POST", proxy.admin + "/endpoints/chat/invocations", BODY)[0] == 403
        secret.write_text("another\n")

        def opens():
            with contextlib.suppress(ClientError):
                return invocation(signed(proxy, proxy.admin, secret="another"))

        wait_for("the data plane knows the secret that was replaced", opens)


def test_a_page_in_a_browser_invokes_nothing_by_the_admin_port(proxy):
    status, _, body = ask("POST", proxy.admin + "/endpoints/chat/invocations", b"{}", {"content-type": "text/plain"})
    assert (status, json.loads(body)["status"]) == (415, 415)
