"""Endpoints with several production variants, with the real boto3: weights, targets, deployments, metrics."""

import collections
import contextlib
import datetime

import pytest
from aws import Sage, client, refused
from workbench import ModelServer, Snapback, ask, wait_for

# The canary bakes until a test says that it is over.
CANARY = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50}, "WaitIntervalInSeconds": 3600},
        "TerminationWaitInSeconds": 0,
    },
}
LONG = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
        "TerminationWaitInSeconds": 3600,
    },
}


@pytest.fixture(scope="module")
def servers():
    """Of each configuration, the instances of each variant: two of `a`, one of `b`."""
    with contextlib.ExitStack() as stack:
        server = lambda version: stack.enter_context(ModelServer(version)).address
        yield {version: {"a": [server(version), server(version)], "b": [server(version)]} for version in ("v1", "v2")}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    with Snapback(tmp_path_factory.mktemp("variants"), [], workers=1) as proxy:
        yield proxy


class Varied(Sage):
    """An endpoint with the variants `a` and `b`, which weigh 3 and 1."""

    def configure(self, suffix, fleet, weights=(3, 1), **members):
        name = f"{self.name}-{suffix}"
        variants = []
        for (variant, addresses), weight in zip(fleet.items(), weights):
            model = f"{name}-{variant}"
            self.api.create_model(ModelName=model, PrimaryContainer={"Environment": {"SNAPBACK_INSTANCES": ",".join(addresses)}})
            variants.append(
                {"VariantName": variant, "ModelName": model, "InitialInstanceCount": len(addresses), "InitialVariantWeight": weight} | members
            )
        self.api.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)

    def begin(self):
        self.configure("c1", self.servers["v1"])
        self.configure("c2", dict(reversed(self.servers["v2"].items())), (1, 3))
        self.api.create_endpoint(EndpointName=self.name, EndpointConfigName=self.c1)
        self.wait("endpoint_in_service")

    def invoke(self, **members):
        """Which variant has answered."""
        runtime = client(self.proxy, "sagemaker-runtime", url=self.proxy.url)
        answer = runtime.invoke_endpoint(EndpointName=self.name, Body=b'{"prompt": "hello"}', ContentType="application/json", **members)
        answer["Body"].read()
        return answer["InvokedProductionVariant"]

    def dealt(self, count=40):
        return collections.Counter(self.invoke() for _ in range(count))

    def live(self, member="CurrentInstanceCount"):
        return {variant["VariantName"]: variant[member] for variant in self.describe()["ProductionVariants"]}

    def change(self, *desired):
        self.api.update_endpoint_weights_and_capacities(EndpointName=self.name, DesiredWeightsAndCapacities=list(desired))
        self.wait("endpoint_in_service")


@pytest.fixture
def sage(proxy, servers, request):
    with Varied(proxy, f"v{abs(hash(request.node.name)) % 10**8}", servers) as sage:
        yield sage


def test_requests_are_dealt_by_weight_or_to_the_variant_that_they_name(sage):
    assert sage.live() == {"a": 2, "b": 1} and sage.live("DesiredWeight") == {"a": 3.0, "b": 1.0}
    assert sage.dealt() == {"a": 30, "b": 10}
    assert {sage.invoke(TargetVariant="b") for _ in range(5)} == {"b"}
    with refused("ValidationError", "none of this endpoint's variants: a and b"):
        sage.invoke(TargetVariant="c")


def test_weights_and_the_count_of_a_variant_change_at_once_and_may_be_retained(sage):
    sage.change({"VariantName": "a", "DesiredWeight": 0}, {"VariantName": "b", "DesiredWeight": 0.5})
    assert sage.live("CurrentWeight") == {"a": 0.0, "b": 0.5}
    assert sage.dealt(10) == {"b": 10} and sage.invoke(TargetVariant="a") == "a"
    sage.change({"VariantName": "a", "DesiredInstanceCount": 1})
    assert sage.live() == {"a": 1, "b": 1} and sage.dealt(10) == {"b": 10}
    sage.update(sage.c2, None, RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredWeight"}])
    sage.wait("endpoint_in_service")
    assert sage.live() == {"a": 1, "b": 1} and sage.live("DesiredWeight") == {"a": 3.0, "b": 1.0}
    sage.update(sage.c1, None)
    sage.wait("endpoint_in_service")
    assert sage.live() == {"a": 2, "b": 1}
    sage.change({"VariantName": "a", "DesiredInstanceCount": 1})
    assert sage.live() == {"a": 1, "b": 1} and sage.dealt() == {"a": 30, "b": 10}
    with refused("ValidationException", "At least one production variant must have a weight above 0."):
        sage.change({"VariantName": "a", "DesiredWeight": 0}, {"VariantName": "b", "DesiredWeight": 0})
    with refused("ValidationException", 'Could not find production variant "c".'):
        sage.change({"VariantName": "c", "DesiredWeight": 1})


def test_a_deployment_moves_all_variants_by_one_share(sage):
    sage.update(sage.c2, CANARY)
    sage.wait_for_status("Baking", "canary capacity of 1")
    shown = sage.describe()
    assert [one["VariantName"] for one in shown["ProductionVariants"]] == ["a", "b"]
    pending = {one["VariantName"]: one for one in shown["PendingDeploymentSummary"]["ProductionVariants"]}
    assert {name: (one["CurrentInstanceCount"], one["DesiredInstanceCount"]) for name, one in pending.items()} == {"a": (1, 2), "b": (1, 1)}
    fleets = collections.Counter()
    for variant in ("a", "b"):
        for _ in range(20):
            path = f"{sage.proxy.url}/endpoints/{sage.name}/invocations"
            _, head, _ = ask("POST", path, {"prompt": "hello"}, {"x-amzn-sagemaker-target-variant": variant})
            fleets[(head["x-amzn-invoked-production-variant"], head["x-snapback-fleet"])] += 1
    assert fleets == {("a", "blue"): 10, ("a", "green"): 10, ("b", "blue"): 10, ("b", "green"): 10}
    sage.promote_step()
    sage.wait("endpoint_in_service")
    assert (sage.describe()["EndpointConfigName"], sage.last_deployment()["Outcome"]) == (sage.c2, "Succeeded")
    assert sage.live() == {"b": 1, "a": 2} and sage.dealt() == {"a": 30, "b": 10}


def test_an_alarm_on_one_variant_of_the_new_configuration_takes_all_of_it_back(sage):
    cloudwatch = client(sage.proxy, "cloudwatch")
    dimensions = lambda variant: [
        {"Name": "EndpointName", "Value": sage.name},
        {"Name": "VariantName", "Value": variant},
        {"Name": "EndpointConfigName", "Value": sage.c2},
    ]
    cloudwatch.put_metric_alarm(
        AlarmName=sage.alarm, Namespace="AWS/SageMaker", MetricName="Invocations", Dimensions=dimensions("b"), Statistic="Sum", Period=1,
        EvaluationPeriods=1, Threshold=0, ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching",
    )
    sage.update(sage.c2, LONG | {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": sage.alarm}]}})
    sage.wait_for_status("Baking", "full capacity")
    assert {sage.invoke(TargetVariant="a") for _ in range(3)} == {"a"}
    def counted():
        now = datetime.datetime.now(datetime.UTC)
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker", MetricName="Invocations", Dimensions=dimensions("a"), Statistics=["Sum"], Period=60,
            StartTime=now - datetime.timedelta(minutes=2), EndTime=now + datetime.timedelta(minutes=1),
        )["Datapoints"]
        return sum(point["Sum"] for point in points) == 3
    wait_for("the requests of a are counted as its own", counted)
    assert sage.describe()["EndpointStatus"] == "Updating"
    sage.invoke(TargetVariant="b")
    wait_for("it is rolled back", lambda: sage.describe()["EndpointStatus"] == "InService")
    assert sage.describe()["EndpointConfigName"] == sage.c1 and f'Alarm "{sage.alarm}"' in sage.describe()["FailureReason"]


def test_what_cannot_be_done_with_several_variants_is_refused_with_the_reason(sage, servers):
    rolling = {"RollingUpdatePolicy": {"MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 50}, "WaitIntervalInSeconds": 0}}
    with refused("ValidationException", "not supported for endpoints with several production variants"):
        sage.update(sage.c2, rolling)
    sage.configure("other", {"a": servers["v2"]["a"], "c": servers["v2"]["b"]})
    with refused("ValidationException", 'must have the same production variant names as the one in force: "a", "b", not "a", "c".'):
        sage.update(f"{sage.name}-other", None)
    sage.api.create_model(ModelName=f"{sage.name}-made", PrimaryContainer={"Environment": {"SNAPBACK_COMMAND": "server {port}"}})
    variants = [{"VariantName": variant, "ModelName": f"{sage.name}-made", "InitialInstanceCount": 1} for variant in ("a", "b")]
    sage.api.create_endpoint_config(EndpointConfigName=f"{sage.name}-made", ProductionVariants=variants)
    with refused("ValidationException", "name their instances by SNAPBACK_INSTANCES"):
        sage.update(f"{sage.name}-made", None)
    assert sage.describe()["EndpointStatus"] == "InService"


def test_one_dead_variant_is_named_when_an_endpoint_cannot_come_into_service(sage, servers):
    sage.configure("dead", {"a": servers["v1"]["a"], "b": ["127.0.0.1:9"]}, ContainerStartupHealthCheckTimeoutInSeconds=60)
    name = f"{sage.name}-dead"
    sage.api.create_endpoint(EndpointName=name, EndpointConfigName=name)
    shown = lambda: sage.api.describe_endpoint(EndpointName=name)
    wait_for("it fails", lambda: shown()["EndpointStatus"] == "Failed", patience=120)
    assert "for production variant b did not pass" in shown()["FailureReason"]
    sage.api.delete_endpoint(EndpointName=name)


def test_a_shadow_variant_gets_copies_and_is_measured_and_nobody_sees_its_answers(sage, servers):
    model = f"{sage.name}-dark"
    (dark,) = servers["v2"]["b"]
    sage.api.create_model(ModelName=model, PrimaryContainer={"Environment": {"SNAPBACK_INSTANCES": dark}})
    production = lambda config: {"VariantName": "a", "ModelName": f"{sage.name}-{config}-a", "InitialInstanceCount": 2, "InitialVariantWeight": 2}
    shadow = {"VariantName": "dark", "ModelName": model, "InitialInstanceCount": 1, "InitialVariantWeight": 1}
    config = lambda name, of, **more: sage.api.create_endpoint_config(EndpointConfigName=f"{model}-{name}", ProductionVariants=[production(of)], **more)
    config("c1", "c1", ShadowProductionVariants=[shadow])
    config("c2", "c2")
    config("c3", "c1", ShadowProductionVariants=[shadow])
    with refused("ValidationException", "only one ProductionVariant and one ShadowProductionVariant"):
        config("c4", "c1", ShadowProductionVariants=[shadow, shadow | {"VariantName": "other"}])
    sage.api.create_endpoint(EndpointName=model, EndpointConfigName=f"{model}-c1")
    own = Varied(sage.proxy, model, servers)
    own.wait("endpoint_in_service")
    (shown,) = own.describe()["ShadowProductionVariants"]
    assert (shown["VariantName"], shown["CurrentInstanceCount"], shown["DesiredWeight"]) == ("dark", 1, 1.0)
    assert own.dealt(40) == {"a": 40}
    native = lambda: own.proxy.endpoint(model)["shadow"]
    wait_for("half of them were copied", lambda: native()["fleet"]["traffic"]["succeeded"] == 20)
    cloudwatch = client(own.proxy, "cloudwatch")
    def counted():
        now = datetime.datetime.now(datetime.UTC)
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker", MetricName="Invocations", Statistics=["Sum"], Period=60,
            Dimensions=[{"Name": "EndpointName", "Value": model}, {"Name": "VariantName", "Value": "dark"}],
            StartTime=now - datetime.timedelta(minutes=2), EndTime=now + datetime.timedelta(minutes=1),
        )["Datapoints"]
        return sum(point["Sum"] for point in points) == 20
    wait_for("the copies are in the metrics of the shadow", counted)
    own.update(f"{model}-c2", CANARY)
    wait_for("the canary bakes", lambda: own.word() == "Baking")
    assert own.describe()["ShadowProductionVariants"] and "ShadowProductionVariants" not in own.describe()["PendingDeploymentSummary"]
    own.promote_step()
    own.wait("endpoint_in_service")
    wait_for("the shadow is gone with its configuration", lambda: native() is None)
    assert "ShadowProductionVariants" not in own.describe()
    own.update(f"{model}-c3", CANARY)
    assert own.describe()["PendingDeploymentSummary"]["ShadowProductionVariants"][0]["VariantName"] == "dark"
    wait_for("the canary bakes", lambda: own.word() == "Baking")
    own.promote_step()
    own.wait("endpoint_in_service")
    wait_for("the shadow has come with its configuration", lambda: native() and native()["share"] == "50%")
    own.api.delete_endpoint(EndpointName=model)
