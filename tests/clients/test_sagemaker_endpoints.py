"""Endpoints and deployment guardrails with the real boto3 and the aws CLI: the acceptance tests of SageMaker's deployments."""

import contextlib
import json
import os
import subprocess
import sys

import pytest
from aws import Sage, client, refused
from workbench import ModelServer, Snapback, ask, free_addresses, wait_for

# Waits of the deployments here, in seconds: long enough to be seen, short enough to be waited for.
ONE_OF_THREE = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {"Type": "CANARY", "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 3},
        "TerminationWaitInSeconds": 3,
    },
}
LONG = {"BlueGreenUpdatePolicy": ONE_OF_THREE["BlueGreenUpdatePolicy"] | {"TerminationWaitInSeconds": 3600}}


def guarded(policy, sage):
    """A policy with an alarm that no other test raises."""
    return policy | {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": sage.alarm}]}}


def canary(sage):
    return guarded(ONE_OF_THREE, sage)


@pytest.fixture(scope="module")
def servers():
    """Two fleets of three."""
    with contextlib.ExitStack() as stack:
        yield [[stack.enter_context(ModelServer(version)).address for _ in range(3)] for version in ("v1", "v2")]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    with Snapback(tmp_path_factory.mktemp("guardrails"), []) as proxy:
        yield proxy


@pytest.fixture
def sage(proxy, servers, request):
    """An endpoint with a name of its own, on configuration `NAME-c1` of three instances; `NAME-c2` is the other fleet's."""
    with Sage(proxy, f"e{abs(hash(request.node.name)) % 10**8}", servers) as sage:
        yield sage


def test_01_create_model_config_endpoint_and_wait(sage):
    sage.wait("endpoint_in_service")
    shown = sage.describe()
    assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("InService", sage.c1)
    (variant,) = shown["ProductionVariants"]
    assert (variant["VariantName"], variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == ("AllTraffic", 3, 3)
    assert (variant["CurrentWeight"], variant["DesiredWeight"], variant["DeployedImages"][0]["SpecifiedImage"]) == (1.0, 1.0, "models/v1")
    assert "PendingDeploymentSummary" not in shown and "FailureReason" not in shown
    status, head, _ = ask("POST", f"{sage.proxy.url}/endpoints/{sage.name}/invocations", {"inputs": "hello"})
    assert head["x-snapback-fleet"] == "blue", status


def test_02_a_canary_succeeds_stage_by_stage(sage):
    seen = sage.update_and_watch(sage.c2, canary(sage))
    words = [word for word, _, _ in seen]
    order = ["Creating", "ActivatingTraffic", "Baking", "ActivatingTraffic", "Baking", "InService"]
    assert words == order or words == order[1:], seen
    shown = sage.describe()
    assert (shown["EndpointConfigName"], shown["EndpointStatus"]) == (sage.c2, "InService")
    assert shown["LastDeploymentConfig"] == canary(sage) and "FailureReason" not in shown
    assert sage.last_deployment()["Outcome"] == "Succeeded"


def test_03_an_alarm_in_the_canary_bake_takes_the_old_configuration_back(sage):
    sage.update(sage.c2, canary(sage))
    sage.wait_for_status("Baking")
    sage.raise_alarm("5xx of green")
    sage.wait("endpoint_in_service")
    shown = sage.describe()
    assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("InService", sage.c1)
    assert f'Alarm "{sage.alarm}" is in ALARM state' in shown["FailureReason"] and "rolled back" in shown["FailureReason"]
    assert shown["LastDeploymentConfig"] == canary(sage)
    last = sage.last_deployment()
    assert (last["Outcome"], last["Alarm"], last["EndpointConfigName"]) == ("RolledBack", sage.alarm, sage.c2)
    assert shown["ResponseMetadata"]["HTTPHeaders"]["x-snapback-last-deployment"].startswith(f"RolledBack; config={sage.c2}; shift=")


def test_04_an_alarm_in_the_final_bake_takes_the_old_configuration_back(sage):
    sage.update(sage.c2, canary(sage))
    sage.wait_for_status("Baking", "TerminationWaitInSeconds")
    sage.raise_alarm()
    sage.wait("endpoint_in_service")
    assert (sage.describe()["EndpointConfigName"], sage.last_deployment()["Outcome"]) == (sage.c1, "RolledBack")


def test_05_a_linear_deployment_of_three_goes_by_thirds(sage):
    linear = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {
                "Type": "LINEAR",
                "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 33},
                "WaitIntervalInSeconds": 2,
            },
            "TerminationWaitInSeconds": 2,
        }
    }
    seen = sage.update_and_watch(sage.c2, linear)
    assert [share for word, _, share in seen if word == "Baking"] == ["33.33%", "66.67%", "100%"], seen
    assert [count for word, count, _ in seen if word == "Baking"] == [1, 2, 3], seen


@pytest.mark.parametrize("back", [None, {"Type": "CAPACITY_PERCENT", "Value": 34}])
def test_06_a_rolling_deployment_goes_one_by_one_and_comes_back(sage, back):
    policy = {"MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 33}, "WaitIntervalInSeconds": 2}
    policy |= {"RollbackMaximumBatchSize": back} if back else {}
    sage.update(sage.c2, guarded({"RollingUpdatePolicy": policy}, sage))
    batches = []
    def second_batch():
        shown = sage.describe()
        live = shown["ProductionVariants"][0]["CurrentInstanceCount"]
        (coming,) = shown.get("PendingDeploymentSummary", {"ProductionVariants": [{"CurrentInstanceCount": 0}]})["ProductionVariants"]
        batches.append((live, coming["CurrentInstanceCount"]))
        return coming["CurrentInstanceCount"] == 2 and coming["VariantStatus"][0]["Status"] == "Baking"
    wait_for("the second batch", second_batch)
    assert max(live + coming for live, coming in batches) == 4 and (3, 1) in batches, batches
    sage.raise_alarm()
    sage.wait("endpoint_in_service")
    shown = sage.describe()
    assert (shown["EndpointConfigName"], shown["ProductionVariants"][0]["CurrentInstanceCount"]) == (sage.c1, 3)
    assert "FailureReason" in shown


def test_07_a_rollback_that_fails_is_repaired_by_the_next_update(sage, servers):
    """The instances of the old fleet are gone when the rollback wants them back."""
    with contextlib.ExitStack() as stack:
        old = [stack.enter_context(ModelServer("v1")) for _ in range(3)]
        sage.config("mortal", [server.address for server in old])
        sage.config("short", servers[1], startup=60)
        sage.update(f"{sage.name}-mortal", None)
        sage.wait("endpoint_in_service")
        rolling = {
            "RollingUpdatePolicy": {
                "MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1},
                "WaitIntervalInSeconds": 3600,
                "RollbackMaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1},
                "MaximumExecutionTimeoutInSeconds": 28800,
            },
        }
        sage.update(f"{sage.name}-short", guarded(rolling, sage))
        sage.wait_for_status("Baking")
        sage.promote_step()
        wait_for("a second batch bakes", lambda: sage.pending() and sage.pending()["CurrentInstanceCount"] == 2 and sage.word() == "Baking")
    is_seen = lambda: {one["health"] for one in sage.proxy.endpoint(sage.name)["blue"]["instances"]} == {"unhealthy"}
    wait_for("their absence is seen", is_seen)
    sage.raise_alarm()
    wait_for("the rollback has failed", lambda: sage.describe()["EndpointStatus"] == "UpdateRollbackFailed", patience=300)
    shown = sage.describe()
    assert "which failed" in shown["FailureReason"] and sage.last_deployment()["Outcome"] == "RollbackFailed"
    sage.report_alarm("ok")
    sage.update(sage.c2, None)
    sage.wait("endpoint_in_service")
    assert sage.describe()["EndpointConfigName"] == sage.c2


def test_08_an_update_during_an_update_is_refused_word_for_word(sage):
    sage.update(sage.c2, LONG)
    wanted = f'Cannot update in-progress endpoint "arn:aws:sagemaker:us-east-1:000000000000:endpoint/{sage.name}".'
    for change in (
        lambda: sage.update(sage.c1, None),
        lambda: sage.api.update_endpoint_weights_and_capacities(
            EndpointName=sage.name, DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredWeight": 2}]
        ),
        lambda: sage.api.delete_endpoint(EndpointName=sage.name),
    ):
        with refused("ValidationException", wanted):
            change()
    for config in (sage.c1, sage.c2):
        with refused("ValidationException", "because it is in use by endpoint"):
            sage.api.delete_endpoint_config(EndpointConfigName=config)


def test_09_a_changed_count_is_retained_or_not(sage):
    change = lambda count: sage.api.update_endpoint_weights_and_capacities(
        EndpointName=sage.name, DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": count, "DesiredWeight": 2}]
    )
    change(2)
    sage.wait("endpoint_in_service")
    (variant,) = sage.describe()["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"], variant["DesiredWeight"]) == (2, 2, 2.0)
    sage.update(sage.c2, None, RetainAllVariantProperties=True)
    sage.wait("endpoint_in_service")
    (variant,) = sage.describe()["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"], variant["DesiredWeight"]) == (2, 2, 2.0)
    excluded = [{"VariantPropertyType": "DesiredInstanceCount"}]
    sage.update(sage.c1, None, RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=excluded)
    sage.wait("endpoint_in_service")
    (variant,) = sage.describe()["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredWeight"]) == (3, 2.0)


def test_10_the_deployment_configuration_is_retained_after_a_rollback(sage):
    sage.update(sage.c2, canary(sage))
    sage.wait_for_status("Baking")
    sage.raise_alarm()
    sage.wait("endpoint_in_service")
    with refused("ValidationException", sage.alarm):
        sage.update(sage.c2, None, RetainDeploymentConfig=True)
    sage.report_alarm("ok")
    sage.update(sage.c2, None, RetainDeploymentConfig=True)
    assert sage.describe()["LastDeploymentConfig"] == canary(sage)
    sage.wait_for_status("Baking", "canary capacity of 1")
    sage.wait("endpoint_in_service")
    assert sage.describe()["EndpointConfigName"] == sage.c2


BATCHES = {"RollingUpdatePolicy": {"MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 3}}
STEPS = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {"Type": "LINEAR", "LinearStepSize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 3},
        "TerminationWaitInSeconds": 3,
    }
}
STAGES = {
    "provisioning": (ONE_OF_THREE, "Launching 3 instance(s)."),
    "canary": (ONE_OF_THREE, "canary capacity"),
    "full": (ONE_OF_THREE, "full capacity"),
    "linear": (STEPS, "capacity of 2 instance(s)"),
    "rolling": (BATCHES, "capacity of 2 instance(s)"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_14_a_deployment_goes_on_after_kill_9(tmp_path, servers, stage):
    policy, message = STAGES[stage]
    proxy = Snapback(tmp_path, [])
    late = free_addresses(3)
    try:
        sage = Sage(proxy, "durable", servers)
        sage.begin()
        sage.config("late", late)
        config = "durable-late" if stage == "provisioning" else sage.c2
        sage.update(config, policy)
        sage.wait_for_status("Creating" if stage == "provisioning" else "Baking", message)
        proxy.stop(9)
        proxy = Snapback(tmp_path, [])
        sage = Sage(proxy, "durable", servers)
        shown = sage.describe()
        assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("Updating", sage.c1)
        assert message in shown["PendingDeploymentSummary"]["ProductionVariants"][0]["VariantStatus"][0]["StatusMessage"]
        with contextlib.ExitStack() as stack:
            if stage == "provisioning":
                for address in late:
                    stack.enter_context(ModelServer("v2", listen=address))
            sage.wait("endpoint_in_service")
        shown = sage.describe()
        assert (shown["EndpointConfigName"], "FailureReason" in shown) == (config, False)
    finally:
        proxy.stop(9)


def test_14_a_rollback_goes_on_after_kill_9(tmp_path, servers):
    proxy = Snapback(tmp_path, [])
    try:
        sage = Sage(proxy, "durable", servers)
        sage.begin()
        sage.update(sage.c2, guarded(LONG, sage))
        sage.wait_for_status("Baking")
        sage.raise_alarm()
        proxy.stop(9)
        proxy = Snapback(tmp_path, [])
        sage = Sage(proxy, "durable", servers)
        sage.wait("endpoint_in_service")
        shown = sage.describe()
        assert shown["EndpointConfigName"] == sage.c1 and sage.alarm in shown["FailureReason"]
    finally:
        proxy.stop(9)


def test_16_the_aws_cli_waits_for_an_endpoint(sage):
    environment = os.environ | {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    def aws(*words):
        command = [sys.executable, "-m", "awscli", "--endpoint-url", sage.proxy.admin, "sagemaker", *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    waited = aws("wait", "endpoint-in-service", "--endpoint-name", sage.name)
    assert waited.returncode == 0, waited.stderr
    shown = json.loads(aws("describe-endpoint", "--endpoint-name", sage.name).stdout)
    assert shown["EndpointStatus"] == "InService"
    policy = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}}}
    words = ["--endpoint-name", sage.name, "--endpoint-config-name", sage.c2, "--deployment-config", json.dumps(policy)]
    assert aws("update-endpoint", *words).returncode == 0
    assert aws("wait", "endpoint-in-service", "--endpoint-name", sage.name).returncode == 0
    unknown = aws("describe-endpoint", "--endpoint-name", "nobody")
    assert unknown.returncode != 0 and "Could not find endpoint" in unknown.stderr


def test_a_deleted_endpoint_is_waited_for_and_its_name_is_free(sage):
    sage.api.delete_endpoint(EndpointName=sage.name)
    sage.wait("endpoint_deleted")
    with refused("ValidationException", f'Could not find endpoint "arn:aws:sagemaker:us-east-1:000000000000:endpoint/{sage.name}".'):
        sage.describe()
    sage.begin()


def test_an_endpoint_with_a_tag_is_deleted_in_the_middle_of_an_update(sage):
    sage.update(sage.c2, LONG)
    sage.api.add_tags(ResourceArn=sage.describe()["EndpointArn"], Tags=[{"Key": "snapback:force-delete", "Value": "true"}])
    sage.api.delete_endpoint(EndpointName=sage.name)
    sage.wait("endpoint_deleted")


def test_an_endpoint_whose_instances_never_answer_fails_and_can_only_be_deleted(sage):
    sage.config("dead", ["127.0.0.1:9"], startup=60)
    name = f"{sage.name}-dead"
    sage.api.create_endpoint(EndpointName=name, EndpointConfigName=name)
    assert sage.api.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Creating"
    with refused("ValidationException", "Cannot update in-progress endpoint"):
        sage.api.update_endpoint(EndpointName=name, EndpointConfigName=sage.c1)
    with refused("ValidationException", f'Cannot create already existing endpoint "arn:aws:sagemaker:us-east-1:000000000000:endpoint/{name}".'):
        sage.api.create_endpoint(EndpointName=name.upper(), EndpointConfigName=sage.c1)
    wait_for("it fails", lambda: sage.api.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Failed", patience=120)
    assert "did not pass the ping health check" in sage.api.describe_endpoint(EndpointName=name)["FailureReason"]
    with refused("ValidationException", "can only be deleted"):
        sage.api.update_endpoint(EndpointName=name, EndpointConfigName=sage.c1)
    sage.api.delete_endpoint(EndpointName=name)


def test_a_fleet_that_never_comes_up_moves_no_traffic(sage):
    sage.config("late", ["127.0.0.1:9"], startup=60)
    sage.update(f"{sage.name}-late", None)
    assert sage.word() == "Creating"
    wait_for("it is over", lambda: sage.describe()["EndpointStatus"] == "InService", patience=150)
    shown = sage.describe()
    assert shown["EndpointConfigName"] == sage.c1
    assert "did not pass the ping health check" in shown["FailureReason"]


def test_what_cannot_be_meant_is_refused_before_anything_moves(sage):
    blue_green = lambda **members: {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"WaitIntervalInSeconds": 0} | members}}
    count = lambda value: {"Type": "INSTANCE_COUNT", "Value": value}
    percent = lambda value: {"Type": "CAPACITY_PERCENT", "Value": value}
    rolling = lambda size: {"RollingUpdatePolicy": {"MaximumBatchSize": size, "WaitIntervalInSeconds": 0}}
    both = blue_green(Type="ALL_AT_ONCE") | rolling(percent(33))
    late = blue_green(Type="CANARY", CanarySize=count(1), WaitIntervalInSeconds=3600)
    late["BlueGreenUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"] = 600
    for deployment, message in (
        (blue_green(Type="CANARY", CanarySize=count(2)), "CanarySize must be at most 50%"),
        (blue_green(Type="CANARY", CanarySize=percent(51)), "CanarySize must be at most 50%"),
        (blue_green(Type="CANARY"), "CanarySize must be specified"),
        (blue_green(Type="LINEAR", LinearStepSize=percent(9)), "LinearStepSize must be between 10% and 50%"),
        (rolling(percent(4)), "MaximumBatchSize must be between 5% and 50%"),
        (both, "only one of BlueGreenUpdatePolicy and RollingUpdatePolicy"),
        (late, "must be longer than the sum of all wait times (3600 seconds)"),
    ):
        with refused("ValidationException", message):
            sage.update(sage.c2, deployment)
    with refused("ValidationException", "cannot specify DeploymentConfig when RetainDeploymentConfig is true"):
        sage.update(sage.c2, canary(sage), RetainDeploymentConfig=True)
    with refused("ValidationException", "Could not find endpoint configuration"):
        sage.update("nothing", None)
    sage.config("other", ["127.0.0.1:9"], variant="Other")
    with refused("ValidationException", "must have the same production variant names"):
        sage.update(f"{sage.name}-other", None)
    assert sage.describe()["EndpointStatus"] == "InService"


def test_endpoints_are_listed_by_status_and_name(sage):
    listed = sage.api.list_endpoints(NameContains=sage.name, StatusEquals="InService", SortBy="Status")["Endpoints"]
    assert [(one["EndpointName"], one["EndpointStatus"]) for one in listed] == [(sage.name, "InService")]
    assert sage.api.list_endpoints(NameContains=sage.name, StatusEquals="Failed")["Endpoints"] == []


def test_a_model_may_start_its_instances_and_scale_them(sage):
    binary = os.environ["SNAPBACK_BIN"]
    environment = {"SNAPBACK_COMMAND": f"{binary} model-server --version 'v1' --listen 127.0.0.1:{{port}}", "SNAPBACK_HEALTH_PATH": "/health"}
    name = f"{sage.name}-made"
    sage.api.create_model(ModelName=name, PrimaryContainer={"Environment": environment})
    variants = [{"VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": 2}]
    sage.api.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)
    sage.api.create_endpoint(EndpointName=name, EndpointConfigName=name)
    made = Sage(sage.proxy, name, None)
    made.wait("endpoint_in_service")
    assert made.describe()["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    made.api.update_endpoint_weights_and_capacities(
        EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 3}]
    )
    made.wait("endpoint_in_service")
    assert made.describe()["ProductionVariants"][0]["CurrentInstanceCount"] == 3
    made.api.delete_endpoint(EndpointName=name)
