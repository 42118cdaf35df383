"""Clients of Amazon's APIs, pointed at a proxy."""

import contextlib
import json

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError
from workbench import ask, wait_for


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


def call(proxy, operation, document=None, body=None, headers=None, service="sagemaker"):
    """Status, headers and document of a call by hand."""
    version, prefix = {"sagemaker": ("1.1", "SageMaker"), "cloudwatch": ("1.0", "GraniteServiceVersion20100801")}[service]
    sent = json.dumps(document or {}).encode() if body is None else body
    head = {"content-type": f"application/x-amz-json-{version}", "x-amz-target": f"{prefix}.{operation}"} | (headers or {})
    status, answered, received = ask("POST", proxy.admin + "/", sent, head)
    return status, answered, json.loads(received) if received else None


class Sage:
    """An endpoint under SageMaker's API, with two configurations; its waiters ask every quarter of a second."""

    def __init__(self, proxy, name, servers):
        self.proxy, self.name, self.servers = proxy, name, servers
        self.api = client(proxy)
        self.c1, self.c2, self.alarm = f"{name}-c1", f"{name}-c2", f"errors-{name}"

    def __enter__(self):
        self.begin()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ClientError):
            arn = self.describe()["EndpointArn"]
            self.api.add_tags(ResourceArn=arn, Tags=[{"Key": "snapback:force-delete", "Value": "true"}])
            self.api.delete_endpoint(EndpointName=self.name)
        self.wait("endpoint_deleted")

    def config(self, suffix, addresses, startup=None, variant="AllTraffic"):
        """A model and a configuration of one variant, both called NAME-SUFFIX."""
        name = f"{self.name}-{suffix}"
        environment = {"SNAPBACK_INSTANCES": ",".join(addresses)}
        image = "models/v2" if suffix == "c2" else "models/v1"
        with contextlib.suppress(ClientError):
            self.api.create_model(ModelName=name, PrimaryContainer={"Image": image, "Environment": environment})
            variants = [{"VariantName": variant, "ModelName": name, "InitialInstanceCount": len(addresses), "InstanceType": "ml.g5.xlarge"}]
            if startup:
                variants[0]["ContainerStartupHealthCheckTimeoutInSeconds"] = startup
            self.api.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)

    def begin(self):
        self.config("c1", self.servers[0])
        self.config("c2", self.servers[1])
        self.api.create_endpoint(EndpointName=self.name, EndpointConfigName=self.c1)
        self.wait("endpoint_in_service")

    def wait(self, what):
        self.api.get_waiter(what).wait(EndpointName=self.name, WaiterConfig={"Delay": 0.25, "MaxAttempts": 400})

    def describe(self):
        return self.api.describe_endpoint(EndpointName=self.name)

    def update(self, config, deployment, **members):
        given = {"DeploymentConfig": deployment} if deployment else {}
        return self.api.update_endpoint(EndpointName=self.name, EndpointConfigName=config, **given, **members)

    def pending(self):
        """The variant that comes in, if one does."""
        summary = self.describe().get("PendingDeploymentSummary")
        return summary and summary["ProductionVariants"][0]

    def word(self):
        """The status of the variant that comes in."""
        statuses = (self.pending() or {}).get("VariantStatus") or [{"Status": None}]
        return statuses[0]["Status"]

    def wait_for_status(self, word, message=""):
        def is_there():
            statuses = (self.pending() or {}).get("VariantStatus") or []
            return any(status["Status"] == word and message in status["StatusMessage"] for status in statuses)

        wait_for(f"{self.name} is {word} {message}", is_there)

    def update_and_watch(self, config, deployment):
        """What is seen of an update until it is over: each new status, with the count and the share of the fleet coming in."""
        self.update(config, deployment)
        seen = []

        def is_over():
            share = self.proxy.endpoint(self.name)["share"]
            shown = self.describe()
            pending = (shown.get("PendingDeploymentSummary") or {}).get("ProductionVariants", [{}])[0]
            statuses = pending.get("VariantStatus")
            if statuses and [word for word, count, _ in seen[-1:]] != [statuses[0]["Status"]]:
                seen.append((statuses[0]["Status"], pending["CurrentInstanceCount"], share))
            return "PendingDeploymentSummary" not in shown

        wait_for("the update is over", is_over)
        return [*seen, (self.describe()["EndpointStatus"], None, None)]

    def report_alarm(self, state, reason=""):
        status, answer = self.proxy.api("POST", f"/v1/alarms/{self.alarm}/state", {"state": state, "reason": reason})
        assert status == 200, answer

    def raise_alarm(self, reason="raised by a test"):
        self.report_alarm("alarm", reason)

    def shift(self):
        """The newest shift of the native API."""
        return self.proxy.api("GET", f"/v1/endpoints/{self.name}/shifts")[1]["shifts"][0]

    def promote_step(self):
        """Ends the bake under way."""
        status, answer = self.proxy.api("POST", f"/v1/shifts/{self.shift()['id']}/promote", {"skip": "bake"})
        assert status == 200, answer

    def last_deployment(self):
        """What boto3 drops, since its model does not have it."""
        return call(self.proxy, "DescribeEndpoint", {"EndpointName": self.name})[2]["LastDeployment"]
