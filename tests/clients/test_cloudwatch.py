"""CloudWatch with the real boto3 and the aws CLI: metrics of endpoints and of users, alarms, and deployments that watch them by name."""

import contextlib
import datetime
import json
import os
import subprocess
import sys
import urllib.parse
import xml.etree.ElementTree as xml

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from aws import Sage, client, refused
from workbench import ModelServer, Snapback, ask, wait_for

BAKING = {"TrafficRoutingConfiguration": {"Type": "CANARY", "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 3600}}
LAST_BAKE = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}, "TerminationWaitInSeconds": 3600}}
CANARY = {"BlueGreenUpdatePolicy": BAKING}
ROLLING = {"RollingUpdatePolicy": {"MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 33}, "WaitIntervalInSeconds": 3600}}


@pytest.fixture(scope="module")
def servers():
    """Two fleets of three."""
    with contextlib.ExitStack() as stack:
        yield [[stack.enter_context(ModelServer(version)).address for _ in range(3)] for version in ("v1", "v2")]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    with Snapback(tmp_path_factory.mktemp("cloudwatch"), []) as proxy:
        yield proxy


@pytest.fixture
def watch(proxy):
    return client(proxy, "cloudwatch")


@pytest.fixture
def sage(proxy, servers, request):
    with Sage(proxy, f"w{abs(hash(request.node.name)) % 10**8}", servers) as sage:
        yield sage


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def over(seconds=120):
    return {"StartTime": now() - datetime.timedelta(seconds=seconds), "EndTime": now() + datetime.timedelta(seconds=60)}


def named(*pairs):
    return [{"Name": name, "Value": value} for name, value in pairs]


def of(sage, *more):
    return named(("EndpointName", sage.name), ("VariantName", "AllTraffic"), *more)


def alarm(watch, name, metric="Depth", namespace="Shop", **more):
    members = {"Statistic": "Maximum", "Period": 1, "EvaluationPeriods": 1, "Threshold": 10.0, "ComparisonOperator": "GreaterThanThreshold"}
    watch.put_metric_alarm(AlarmName=name, Namespace=namespace, MetricName=metric, **members | more)


def state(watch, name):
    (shown,) = watch.describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])["MetricAlarms"] or [{}]
    return shown.get("StateValue")


def guarded(policy, *names):
    return policy | {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in names]}}


def invoke(proxy, name, count):
    for _ in range(count):
        ask("POST", f"{proxy.url}/endpoints/{name}/invocations", {"inputs": "hello"})


def total(watch, sage, metric, *more, stat="Sum"):
    points = watch.get_metric_statistics(Namespace="AWS/SageMaker", MetricName=metric, Dimensions=of(sage, *more), Period=300, Statistics=[stat], **over(600))
    return sum(point[stat] for point in points["Datapoints"])


def test_invocations_are_counted_by_variant_configuration_and_fleet(proxy, watch, sage):
    invoke(proxy, sage.name, 30)
    wait_for("thirty invocations are counted", lambda: total(watch, sage, "Invocations") == 30)
    assert total(watch, sage, "Invocations", ("EndpointConfigName", sage.c1)) == 30
    assert total(watch, sage, "Invocations", ("Fleet", "blue")) == 30
    assert total(watch, sage, "Invocations", ("EndpointConfigName", sage.c2)) == 0
    assert total(watch, sage, "InvocationsPerInstance") == pytest.approx(10)
    assert total(watch, sage, "Invocation5XXErrors", stat="SampleCount") == 30
    answer = watch.get_metric_statistics(
        Namespace="AWS/SageMaker", MetricName="ModelLatency", Dimensions=of(sage), Period=300, Statistics=["Average", "Maximum"],
        ExtendedStatistics=["p99", "tm90", "TM(10%:90%)", "IQM", "PR(:60000000)", "TC(10%:90%)", "ts50", "wm98"], **over(600),
    )
    point = answer["Datapoints"][0]
    assert (answer["Label"], point["Unit"]) == ("ModelLatency", "Microseconds")
    assert 0 < point["Average"] <= point["Maximum"] and point["ExtendedStatistics"]["PR(:60000000)"] == 100.0, point
    assert len(point["ExtendedStatistics"]) == 8
    listed = [metric for page in watch.get_paginator("list_metrics").paginate(Namespace="AWS/SageMaker", Dimensions=[{"Name": "EndpointName", "Value": sage.name}]) for metric in page["Metrics"]]
    sets = {tuple(sorted(dimension["Name"] for dimension in metric["Dimensions"])) for metric in listed if metric["MetricName"] == "Invocations"}
    assert sets == {("EndpointName", "VariantName"), ("EndpointConfigName", "EndpointName", "VariantName"), ("EndpointName", "Fleet", "VariantName")}


def test_what_users_put_is_there_second_by_second_and_in_expressions(watch):
    at = now().replace(microsecond=0) - datetime.timedelta(seconds=5)
    data = [{"MetricName": "Orders", "Timestamp": at + datetime.timedelta(seconds=second), "Value": 10.0 * (second + 1), "StorageResolution": 1} for second in range(3)]
    watch.put_metric_data(Namespace="Shop", MetricData=data)
    watch.put_metric_data(Namespace="Shop", MetricData=[{"MetricName": "Visits", "Timestamp": at, "Values": [1.0, 3.0], "Counts": [2.0, 4.0], "Unit": "Count"}])
    set_ = {"SampleCount": 4, "Sum": 20, "Minimum": 1, "Maximum": 9}
    watch.put_metric_data(Namespace="Shop", MetricData=[{"MetricName": "Sets", "Timestamp": at, "StatisticValues": set_}])
    query = lambda id, metric, stat: {"Id": id, "MetricStat": {"Metric": {"Namespace": "Shop", "MetricName": metric}, "Period": 1, "Stat": stat}}
    window = {"StartTime": at, "EndTime": at + datetime.timedelta(seconds=3), "ScanBy": "TimestampAscending"}
    queries = [query("orders", "Orders", "Sum"), query("visits", "Visits", "Sum"), {"Id": "ratio", "Expression": "100 * FILL(visits, 0) / orders", "Label": "percent"}]
    found = {result["Id"]: result for result in watch.get_metric_data(MetricDataQueries=queries, **window)["MetricDataResults"]}
    assert (found["orders"]["Values"], found["visits"]["Values"]) == ([10, 20, 30], [14])
    assert found["ratio"]["Values"] == [140, 0, 0] and found["ratio"]["Label"] == "percent"
    assert [stamp.timestamp() - at.timestamp() for stamp in found["orders"]["Timestamps"]] == [0, 1, 2]
    pages = watch.get_paginator("get_metric_data").paginate(MetricDataQueries=queries[:2], **window, MaxDatapoints=2)
    assert sum((result["Values"] for page in pages for result in page["MetricDataResults"]), []) == [10, 20, 30, 14]
    sets = watch.get_metric_statistics(Namespace="Shop", MetricName="Sets", Period=60, Statistics=["Average", "SampleCount"], ExtendedStatistics=["p50"], **over())
    (point,) = sets["Datapoints"]
    assert (point["Average"], point["SampleCount"], "ExtendedStatistics" in point) == (5.0, 4.0, False)
    many = [{"MetricName": "Packed", "Values": [float(value) for value in range(150)]} for _ in range(100)]
    watch.put_metric_data(Namespace="Shop", MetricData=many)
    packed = watch.get_metric_statistics(Namespace="Shop", MetricName="Packed", Period=60, Statistics=["SampleCount"], **over())
    assert sum(point["SampleCount"] for point in packed["Datapoints"]) == 15_000


def test_an_alarm_follows_its_metric_and_keeps_a_history(watch):
    alarm(watch, "deep queue", AlarmDescription="too much waits", TreatMissingData="notBreaching", Tags=[{"Key": "team", "Value": "ranking"}])
    watch.get_waiter("alarm_exists").wait(AlarmNames=["deep queue"])
    (shown,) = watch.describe_alarms(AlarmNamePrefix="deep")["MetricAlarms"]
    assert (shown["AlarmDescription"], shown["ActionsEnabled"], shown["Threshold"], shown["Dimensions"]) == ("too much waits", True, 10.0, [])
    wait_for("nothing breaches", lambda: state(watch, "deep queue") == "OK")

    def is_raised():
        watch.put_metric_data(Namespace="Shop", MetricData=[{"MetricName": "Depth", "Value": 12.0}])
        return state(watch, "deep queue") == "ALARM"

    wait_for("it is raised", is_raised)
    wait_for("it is ok again", lambda: state(watch, "deep queue") == "OK")
    items = watch.describe_alarm_history(AlarmName="deep queue", ScanBy="TimestampAscending")["AlarmHistoryItems"]
    assert items[0]["HistorySummary"] == 'Alarm "deep queue" created' and items[0]["HistoryItemType"] == "ConfigurationUpdate"
    summaries = [item["HistorySummary"] for item in items[1:]]
    assert summaries[:3] == ["Alarm updated from INSUFFICIENT_DATA to OK", "Alarm updated from OK to ALARM", "Alarm updated from ALARM to OK"], summaries
    raised = json.loads(items[2]["HistoryData"])["newState"]
    assert raised["stateReason"].startswith("Threshold Crossed: 1 out of the last 1 datapoints [12.0 ("), raised
    assert raised["stateReasonData"]["recentDatapoints"] == [12.0]
    arn = shown["AlarmArn"]
    assert watch.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "team", "Value": "ranking"}]
    watch.tag_resource(ResourceARN=arn, Tags=[{"Key": "tier", "Value": "1"}])
    watch.untag_resource(ResourceARN=arn, TagKeys=["team"])
    assert watch.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "tier", "Value": "1"}]
    watch.disable_alarm_actions(AlarmNames=["deep queue"])
    assert not watch.describe_alarms(AlarmNames=["deep queue"])["MetricAlarms"][0]["ActionsEnabled"]
    watch.enable_alarm_actions(AlarmNames=["deep queue"])
    (found,) = watch.describe_alarms_for_metric(Namespace="Shop", MetricName="Depth", Statistic="Maximum")["MetricAlarms"]
    assert found["AlarmName"] == "deep queue" and found["ActionsEnabled"]
    watch.delete_alarms(AlarmNames=["deep queue"])
    assert watch.describe_alarms(AlarmNames=["deep queue"])["MetricAlarms"] == []
    assert watch.describe_alarm_history(AlarmName="deep queue", MaxRecords=1)["AlarmHistoryItems"][0]["HistorySummary"] == 'Alarm "deep queue" deleted'


def test_a_composite_alarm_follows_its_parts(watch):
    for part in ("part a", "part b"):
        alarm(watch, part, metric="Nothing", Period=60)
    rule = 'ALARM("part a") AND NOT OK("part b")'
    watch.put_composite_alarm(AlarmName="both", AlarmRule=rule)
    watch.get_waiter("composite_alarm_exists").wait(AlarmNames=["both"], AlarmTypes=["CompositeAlarm"])

    def both():
        (shown,) = watch.describe_alarms(AlarmNames=["both"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
        return shown["StateValue"]

    assert both() == "OK" and watch.describe_alarms(AlarmNames=["both"])["MetricAlarms"] == []
    watch.set_alarm_state(AlarmName="part a", StateValue="ALARM", StateReason="by hand")
    assert both() == "ALARM"
    watch.set_alarm_state(AlarmName="part b", StateValue="OK", StateReason="by hand")
    assert both() == "OK"
    with refused("ValidationError", "do not exist"):
        watch.put_composite_alarm(AlarmName="more", AlarmRule="ALARM(nobody)")
    with refused("ValidationError", "depend on itself"):
        watch.put_composite_alarm(AlarmName="both", AlarmRule="ALARM(both) OR ALARM(\"part a\")")
    with refused("ValidationError", "part of the rule"):
        watch.delete_alarms(AlarmNames=["part a"])
    watch.delete_alarms(AlarmNames=["both", "part a", "part b"])


def test_pages_of_alarms_lead_through_all_of_them(watch):
    for number in range(5):
        alarm(watch, f"page {number}", Period=60)
    pages = list(watch.get_paginator("describe_alarms").paginate(AlarmNamePrefix="page ", PaginationConfig={"PageSize": 2}))
    assert [[shown["AlarmName"] for shown in page["MetricAlarms"]] for page in pages] == [["page 0", "page 1"], ["page 2", "page 3"], ["page 4"]]
    history = list(watch.get_paginator("describe_alarm_history").paginate(AlarmName="page 1", PaginationConfig={"PageSize": 1}))
    assert sum(len(page["AlarmHistoryItems"]) for page in history) >= 1
    watch.delete_alarms(AlarmNames=[f"page {number}" for number in range(5)])


@pytest.mark.parametrize(("policy", "stage"), [(CANARY, "canary"), (LAST_BAKE, "full")])
def test_03_and_04_an_alarm_set_by_hand_rolls_back_in_either_bake(watch, sage, policy, stage):
    alarm(watch, sage.alarm, metric="Quiet", Period=60)
    sage.update(sage.c2, guarded(policy, sage.alarm))
    sage.wait_for_status("Baking", stage)
    watch.set_alarm_state(AlarmName=sage.alarm, StateValue="ALARM", StateReason="a test of the rollback")
    sage.wait("endpoint_in_service")
    shown = sage.describe()
    assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("InService", sage.c1)
    assert f'Alarm "{sage.alarm}" is in ALARM state' in shown["FailureReason"] and "a test of the rollback" in shown["FailureReason"], shown["FailureReason"]
    assert sage.last_deployment()["Alarm"] == sage.alarm
    watch.delete_alarms(AlarmNames=[sage.alarm])


def test_06_an_alarm_in_a_rolling_deployment_brings_every_batch_back(watch, sage):
    alarm(watch, sage.alarm, metric="Quiet", Period=60)
    sage.update(sage.c2, guarded(ROLLING, sage.alarm))
    sage.wait_for_status("Baking")
    watch.set_alarm_state(AlarmName=sage.alarm, StateValue="ALARM", StateReason="in the first batch")
    sage.wait("endpoint_in_service")
    assert sage.describe()["EndpointConfigName"] == sage.c1
    watch.delete_alarms(AlarmNames=[sage.alarm])


def test_10_the_deployment_that_was_rolled_back_is_retained_with_its_alarm(watch, sage):
    alarm(watch, sage.alarm, metric="Quiet", Period=60)
    sage.update(sage.c2, guarded(CANARY, sage.alarm))
    sage.wait_for_status("Baking")
    watch.set_alarm_state(AlarmName=sage.alarm, StateValue="ALARM", StateReason="once")
    sage.wait("endpoint_in_service")
    if state(watch, sage.alarm) == "ALARM":
        with refused("ValidationException", "is in ALARM state already"):
            sage.update(sage.c2, None, RetainDeploymentConfig=True)
    watch.set_alarm_state(AlarmName=sage.alarm, StateValue="OK", StateReason="mended")
    sage.update(sage.c2, None, RetainDeploymentConfig=True)
    sage.wait_for_status("Baking", "canary")
    watch.delete_alarms(AlarmNames=[sage.alarm])
    sage.wait("endpoint_in_service")
    assert "the alarm was deleted" in sage.describe()["FailureReason"]


def test_errors_of_green_raise_alarms_on_its_configuration_and_on_the_green_fleet(proxy, watch, sage):
    errors = {"Namespace": "AWS/SageMaker", "MetricName": "Invocation4XXErrors", "Statistic": "Average", "Period": 1, "EvaluationPeriods": 1}
    bound = {"Threshold": 0.5, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching"}
    sets = {f"{sage.name} configuration": ("EndpointConfigName", sage.c2), f"{sage.name} fleet": ("Fleet", "green")}
    for name, dimension in sets.items():
        watch.put_metric_alarm(AlarmName=name, Dimensions=of(sage, dimension), **errors, **bound)
    sage.update(sage.c2, guarded(CANARY, *sets))
    sage.wait_for_status("Baking")

    def is_over():
        # A path that no model server has is answered with 404 by either fleet, and these alarms look at green's answers alone.
        for _ in range(8):
            ask("POST", f"{proxy.url}/endpoints/{sage.name}/no-such-path", {})
        return "PendingDeploymentSummary" not in sage.describe()

    wait_for("the deployment is rolled back", is_over)
    shown = sage.describe()
    assert shown["EndpointConfigName"] == sage.c1 and "Threshold Crossed" in shown["FailureReason"], shown
    assert total(watch, sage, "Invocation4XXErrors", ("Fleet", "green")) > 0
    watch.delete_alarms(AlarmNames=list(sets))


# The ten rows of CloudWatch's own tables of missing data: datapoints, the oldest first, how many must breach, and the state by how a missing one
# is treated.
KEEP, OK, ALARM, NONE = "INSUFFICIENT_DATA", "OK", "ALARM", "INSUFFICIENT_DATA"
ROWS = [
    ("0-X-X", 3, OK, OK, OK, OK),
    ("0----", 3, OK, OK, OK, OK),
    ("-----", 3, NONE, KEEP, ALARM, OK),
    ("0XX-X", 3, ALARM, ALARM, ALARM, ALARM),
    ("--X--", 3, ALARM, KEEP, ALARM, OK),
    ("0-X-X", 2, ALARM, ALARM, ALARM, ALARM),
    ("00X0X", 2, ALARM, ALARM, ALARM, ALARM),
    ("0-X--", 2, OK, OK, ALARM, OK),
    ("----0", 2, OK, OK, ALARM, OK),
    ("---X-", 2, ALARM, KEEP, ALARM, OK),
]


def test_15_alarms_treat_missing_data_as_the_ten_rows_say(watch):
    hour = datetime.timedelta(hours=1)
    wanted = {}
    for row, (points, breaching, *states) in enumerate(ROWS):
        # In the middle of each period, since periods end at the look.
        moments = [now() - hour * (len(points) - place - 0.5) for place in range(len(points))]
        data = [{"MetricName": f"Row{row}", "Timestamp": at, "Value": {"0": 0.0, "X": 1.0}[word]} for at, word in zip(moments, points) if word != "-"]
        if data:
            watch.put_metric_data(Namespace="Rows", MetricData=data)
        for treatment, word in zip(("missing", "ignore", "breaching", "notBreaching"), states):
            name = f"row {row} {treatment}"
            members = {"Period": 3600, "EvaluationPeriods": 3, "DatapointsToAlarm": breaching, "Threshold": 0.5, "TreatMissingData": treatment}
            alarm(watch, name, metric=f"Row{row}", namespace="Rows", **members)
            wanted[name] = word

    # One look sees all alarms that there are, so whoever was put last tells of all.
    wait_for("the last alarm was looked at", lambda: state(watch, name) == word)
    shown = watch.describe_alarms(AlarmNamePrefix="row ", MaxRecords=100)["MetricAlarms"]
    assert {one["AlarmName"]: one["StateValue"] for one in shown} == wanted
    watch.delete_alarms(AlarmNames=list(wanted))


def test_metrics_of_before_a_restart_are_there_in_five_minutes(tmp_path, servers):
    def found(watch, name):
        window = {"StartTime": now() - datetime.timedelta(minutes=20), "EndTime": now() + datetime.timedelta(minutes=5), "Period": 300, "Statistics": ["Sum"]}
        shop = watch.get_metric_statistics(Namespace="Shop", MetricName="Sold", **window)["Datapoints"]
        whose = named(("EndpointName", name), ("VariantName", "AllTraffic"))
        own = watch.get_metric_statistics(Namespace="AWS/SageMaker", MetricName="Invocations", Dimensions=whose, **window)["Datapoints"]
        return [sum(point["Sum"] for point in points) for points in (shop, own)]

    with Snapback(tmp_path, []) as proxy:
        sage = Sage(proxy, "kept", servers)
        sage.begin()
        watch = client(proxy, "cloudwatch")
        watch.put_metric_data(Namespace="Shop", MetricData=[{"MetricName": "Sold", "Value": 5.0}])
        invoke(proxy, "kept", 7)
        wait_for("the invocations are counted", lambda: found(watch, "kept") == [5.0, 7.0])
        assert proxy.stop() == 0
    for _ in range(2):
        with Snapback(tmp_path, []) as proxy:
            assert found(client(proxy, "cloudwatch"), "kept") == [5.0, 7.0]
            assert proxy.stop() == 0


def test_alarms_and_their_states_outlive_the_process(tmp_path):
    with Snapback(tmp_path, []) as proxy:
        watch = client(proxy, "cloudwatch")
        alarm(watch, "kept", metric="Gone", Period=60, TreatMissingData="ignore")
        watch.put_composite_alarm(AlarmName="kept too", AlarmRule="ALARM(kept)")
        watch.set_alarm_state(AlarmName="kept", StateValue="ALARM", StateReason="to be kept")
        proxy.child.kill()
        proxy.child.wait()
    with Snapback(tmp_path, []) as proxy:
        watch = client(proxy, "cloudwatch")
        (shown,) = watch.describe_alarms(AlarmNames=["kept"])["MetricAlarms"]
        assert (shown["StateValue"], shown["StateReason"]) == ("ALARM", "to be kept")
        (both,) = watch.describe_alarms(AlarmNames=["kept too"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
        assert both["StateValue"] == "ALARM"
        summaries = [item["HistorySummary"] for item in watch.describe_alarm_history(AlarmName="kept")["AlarmHistoryItems"]]
        assert "Alarm updated from INSUFFICIENT_DATA to ALARM" in summaries


def cli(proxy, *words):
    command = [os.path.join(os.path.dirname(sys.executable), "aws"), "--endpoint-url", proxy.admin, "cloudwatch", *words]
    keys = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    done = subprocess.run(command, env=os.environ | keys, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def test_16_the_aws_cli_defines_waits_for_sets_and_deletes_alarms(proxy):
    words = "--namespace Shop --metric-name Cli --statistic Sum --period 60 --evaluation-periods 1 --threshold 1 --comparison-operator GreaterThanThreshold"
    cli(proxy, "put-metric-alarm", "--alarm-name", "by cli", *words.split())
    cli(proxy, "wait", "alarm-exists", "--alarm-names", "by cli")
    cli(proxy, "set-alarm-state", "--alarm-name", "by cli", "--state-value", "ALARM", "--state-reason", "by hand")
    items = cli(proxy, "describe-alarm-history", "--alarm-name", "by cli")["AlarmHistoryItems"]
    assert any("to ALARM" in item["HistorySummary"] for item in items)
    cli(proxy, "put-metric-data", "--namespace", "Shop", "--metric-name", "Cli", "--value", "3", "--unit", "Count")
    start, end = over()["StartTime"].isoformat(), over()["EndTime"].isoformat()
    words = f"--namespace Shop --metric-name Cli --period 300 --statistics Sum --start-time {start} --end-time {end}".split()
    assert sum(point["Sum"] for point in cli(proxy, "get-metric-statistics", *words)["Datapoints"]) == 3.0
    cli(proxy, "delete-alarms", "--alarm-names", "by cli")


def query(proxy, fields, signed=True):
    """Status and tree of a call by the Query protocol, as clients of some years ago make it."""
    body = urllib.parse.urlencode({"Version": "2010-08-01"} | fields).encode()
    request = botocore.awsrequest.AWSRequest("POST", proxy.admin + "/", {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}, body)
    if signed:
        botocore.auth.SigV4Auth(botocore.credentials.Credentials("AKIATEST", "secret"), "monitoring", "us-east-1").add_auth(request)
    status, head, answer = ask("POST", proxy.admin + "/", body, dict(request.headers.items()))
    assert not signed or head["content-type"] == "text/xml"
    return status, xml.fromstring(answer) if signed else None


def test_the_query_protocol_is_spoken_with_xml(proxy, watch):
    space = "{http://monitoring.amazonaws.com/doc/2010-08-01/}"
    fields = {"Namespace": "Shop", "MetricName": "Old", "Statistic": "Sum", "Period": "60", "EvaluationPeriods": "1", "Threshold": "1.5"}
    dimension = {"Dimensions.member.1.Name": "Kind", "Dimensions.member.1.Value": "a & b"}
    made = {"Action": "PutMetricAlarm", "AlarmName": "by <form>", "ComparisonOperator": "LessThanThreshold", "ActionsEnabled": "false"}
    status, tree = query(proxy, made | fields | dimension)
    assert (status, tree.tag) == (200, space + "PutMetricAlarmResponse") and tree.find(f".//{space}RequestId").text
    status, tree = query(proxy, {"Action": "DescribeAlarms", "AlarmNames.member.1": "by <form>"})
    shown = tree.find(f"{space}DescribeAlarmsResult/{space}MetricAlarms/{space}member")
    assert [shown.find(space + name).text for name in ("AlarmName", "Threshold", "ActionsEnabled", "Period")] == ["by <form>", "1.5", "false", "60"]
    assert shown.find(f"{space}Dimensions/{space}member/{space}Value").text == "a & b"
    assert datetime.datetime.fromisoformat(shown.find(space + "StateUpdatedTimestamp").text)
    assert watch.describe_alarms(AlarmNames=["by <form>"])["MetricAlarms"][0]["Threshold"] == 1.5
    for fields, status, code in [
        ({"Action": "SetAlarmState", "AlarmName": "x", "StateValue": "OK", "StateReason": ""}, 404, "ResourceNotFound"),
        ({"Action": "PutMetricAlarm", "AlarmName": "x", "Period": "soon"}, 400, "MalformedInput"),
        ({"Action": "PutMetricAlarm"}, 400, "ValidationError"),
        ({"Action": "PutDashboard"}, 400, "InvalidAction"),
    ]:
        found, tree = query(proxy, fields)
        assert (found, tree.find(f"{space}Error/{space}Code").text) == (status, code)
    assert query(proxy, {"Action": "DescribeAlarms"}, signed=False)[0] == 415, "a page of a browser can send a form, but cannot sign it"
    watch.delete_alarms(AlarmNames=["by <form>"])
