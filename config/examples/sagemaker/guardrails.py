"""What the notebooks share: clients of the proxy, traffic in the background, and a picture of what it saw.

The calls are boto3's, but for one: SageMaker does not say which share of the requests the new fleet is given, and Snapback does.
"""

import dataclasses
import json
import os
import threading
import time
import urllib.request

import boto3
import matplotlib.pyplot as plt
from botocore.config import Config

ADMIN = os.environ.get("SNAPBACK_ADMIN", "http://127.0.0.1:9090")
DATA = os.environ.get("SNAPBACK_DATA", "http://127.0.0.1:8080")
BINARY = os.environ.get("SNAPBACK_BIN", "snapback")

# v3 of the demo's model has lost its digits: it answers the first of these and fails the second.
PROMPTS = ["How do I cook rice?", "How do I cook rice for 4?"]


def connect(service, url):
    """A boto3 client of a service at an address; the keys are any, unless the proxy has some configured."""
    session = boto3.session.Session("local", "local", region_name="us-east-1")
    return session.client(service, endpoint_url=url, config=Config(retries={"total_max_attempts": 1}, max_pool_connections=32))


sagemaker = connect("sagemaker", ADMIN)
cloudwatch = connect("cloudwatch", ADMIN)
runtime = connect("sagemaker-runtime", DATA)


def create_version(endpoint, version, instances, variant="AllTraffic"):
    """A model whose instances Snapback starts as processes of this machine, and a configuration of so many; returns its name."""
    name = f"{endpoint}-{version}"
    command = f"'{BINARY}' model-server --version {version} --listen 127.0.0.1:{{port}}"
    sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": f"demo/{version}", "Environment": {"SNAPBACK_COMMAND": command}})
    variants = [{"VariantName": variant, "ModelName": name, "InitialInstanceCount": instances, "InstanceType": "ml.m5.large"}]
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)
    return name


def wait(what, endpoint):
    """boto3's own waiter, asking more often than it does of itself."""
    sagemaker.get_waiter(what).wait(EndpointName=endpoint, WaiterConfig={"Delay": 0.5, "MaxAttempts": 600})


def create_alarm(name, endpoint, metric="Invocation5XXErrors", variant="AllTraffic", above=0, statistic="Sum"):
    """An alarm on a metric of the fleet coming in, over periods of one second."""
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SageMaker",
        MetricName=metric,
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}],
        Statistic=statistic,
        Period=1,
        EvaluationPeriods=1,
        Threshold=above,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )


def remove(endpoint, configs, alarms):
    """Everything that a notebook has made."""
    sagemaker.delete_endpoint(EndpointName=endpoint)
    wait("endpoint_deleted", endpoint)
    for name in configs:
        sagemaker.delete_endpoint_config(EndpointConfigName=name)
        sagemaker.delete_model(ModelName=name)
    cloudwatch.delete_alarms(AlarmNames=alarms)


@dataclasses.dataclass
class Seen:
    """What one request or one look came to, at so many seconds from the beginning."""

    at: float
    latency_ms: float = 0.0
    ok: bool = True
    status: str = ""
    stage: str = ""
    share: float = 0.0


class Traffic:
    """Clients that invoke an endpoint, and an observer of its deployment, in the background; used in a `with`."""

    def __init__(self, endpoint, clients=4):
        self.endpoint, self.began = endpoint, time.monotonic()
        self.old = sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
        self.requests, self.looks, self.stopped = [], [], threading.Event()
        self.threads = [threading.Thread(target=self.invoke, args=(number,)) for number in range(clients)]
        self.threads.append(threading.Thread(target=self.observe))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        self.look()

    def now(self):
        return time.monotonic() - self.began

    def invoke(self, number):
        while not self.stopped.wait(0.02):
            body = json.dumps({"prompt": PROMPTS[number % len(PROMPTS)], "max_tokens": 16})
            start, ok = time.monotonic(), True
            try:
                answer = runtime.invoke_endpoint(EndpointName=self.endpoint, ContentType="application/json", Body=body)
                answer["Body"].read()
            except Exception:  # noqa: BLE001 - whatever a client can see is a failed request
                ok = False
            self.requests.append(Seen(self.now(), (time.monotonic() - start) * 1000, ok))

    def observe(self):
        while not self.stopped.wait(0.1):
            self.look()

    def look(self):
        shown = sagemaker.describe_endpoint(EndpointName=self.endpoint)
        pending = shown.get("PendingDeploymentSummary", {}).get("ProductionVariants", [{}])[0]
        stage = (pending.get("VariantStatus") or [{"Status": ""}])[0]["Status"]
        share = self.share() if pending else 100.0 * (shown["EndpointConfigName"] != self.old)
        self.looks.append(Seen(self.now(), status=shown["EndpointStatus"], stage=stage, share=share))

    def share(self):
        """The new fleet's part of the requests in percent, while a deployment runs."""
        with urllib.request.urlopen(f"{ADMIN}/v1/endpoints/{self.endpoint}", timeout=10) as answer:
            return float(json.load(answer)["share"].rstrip("%"))

    def failed(self):
        """How many requests came back without a good answer."""
        return sum(not seen.ok for seen in self.requests)

    def stages(self):
        """The stages of the deployment, in the order in which they were seen."""
        seen = [look.stage or look.status for look in self.looks]
        return [stage for stage, before in zip(seen, [None, *seen]) if stage != before]


def draw(traffic, title):
    """The new fleet's share and the latency of requests over time; a rollback is where the share falls to nothing."""
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(9, 5), height_ratios=[1, 2])
    above.step([look.at for look in traffic.looks], [look.share for look in traffic.looks], where="post", color="tab:green")
    above.fill_between(
        [look.at for look in traffic.looks], [look.share for look in traffic.looks], step="post", color="tab:green", alpha=0.2
    )
    above.set(ylabel="new fleet, %", ylim=(0, 105), title=title)
    good = [seen for seen in traffic.requests if seen.ok]
    bad = [seen for seen in traffic.requests if not seen.ok]
    below.plot([seen.at for seen in good], [seen.latency_ms for seen in good], ".", markersize=3, label="answered")
    below.plot([seen.at for seen in bad], [seen.latency_ms for seen in bad], "rx", label="failed")
    below.set(xlabel="seconds", ylabel="latency, ms", ylim=(0, None))
    below.legend(loc="upper right")
    figure.tight_layout()
    return figure
