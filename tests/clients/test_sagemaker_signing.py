"""Signatures of real clients: what is signed with a configured key is served, and nothing else is."""

import datetime

import botocore.auth
import pytest
from aws import call, client, refused
from workbench import Snapback, ask

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
