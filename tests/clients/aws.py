"""Clients of Amazon's APIs, pointed at a proxy."""

import contextlib
import json

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError
from workbench import ask


def client(proxy, service="sagemaker", key="AKIATEST", secret="secret", url=None):
    """An unmodified client that tries once and checks nothing by itself."""
    config = botocore.config.Config(retries={"total_max_attempts": 1}, parameter_validation=False)
    session = boto3.session.Session(key, secret, region_name="us-east-1")
    return session.client(service, endpoint_url=url or proxy.admin, config=config)


@contextlib.contextmanager
def refused(code, message):
    """What is inside is refused with this error, whose message has this in it."""
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    assert message in error["Message"], error


def call(proxy, operation, document=None, body=None, headers=None):
    """Status, headers and document of a call by hand."""
    sent = json.dumps(document or {}).encode() if body is None else body
    head = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"SageMaker.{operation}"} | (headers or {})
    status, answered, received = ask("POST", proxy.admin + "/", sent, head)
    return status, answered, json.loads(received) if received else None
