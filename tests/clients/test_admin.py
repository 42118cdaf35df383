"""The admin port as its other clients see it: Prometheus, and programs that go by the OpenAPI document."""

import http.client
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse
from workbench import Snapback, ask, wait_for


@pytest.fixture(scope="module")
def proxy(faults, tmp_path_factory):
    blue = {"version": "v1", "instances": [faults.address]}
    with Snapback(tmp_path_factory.mktemp("admin"), [{"name": "chat", "blue": blue}]) as proxy:
        yield proxy


def families(proxy):
    status, headers, text = ask("GET", f"{proxy.admin}/metrics")
    assert status == 200 and headers["content-type"].startswith("text/plain")
    return {family.name: family for family in parse(text.decode())}


def test_metrics_parse_follow_the_naming_rules_and_count_what_was_sent(proxy):
    for case in ("ok", "ok", "tgi-424", "sglang-400", "truncated"):
        try:
            ask("POST", f"{proxy.url}/{case}", {})
        except http.client.IncompleteRead:
            assert case == "truncated"

    def outcomes():
        samples = families(proxy)["snapback_requests"].samples
        got = {}
        for sample in samples:
            assert sample.name == "snapback_requests_total"
            key = sample.labels["outcome"]
            got[key] = got.get(key, 0) + sample.value
        return got if sum(got.values()) >= 5 else None

    got = wait_for("five outcomes", outcomes)
    assert got["success"] == 2 and got["client_error"] == 1 and got["failure"] == 2
    for name, family in families(proxy).items():
        assert name.startswith("snapback_") or name.startswith("process_"), name
        assert family.documentation and family.type in ("counter", "gauge", "histogram"), name
        assert name.endswith(("_seconds", "_bytes", "_ratio", "_info")) or not name.endswith(("_ms", "_percent")), name


def test_histograms_are_cumulative_and_end_with_everything(proxy):
    ask("POST", f"{proxy.url}/ok", {})
    histograms = [family for family in families(proxy).values() if family.type == "histogram"]
    assert histograms
    for family in histograms:
        series = {}
        for sample in family.samples:
            labels = tuple(sorted((key, value) for key, value in sample.labels.items() if key != "le"))
            series.setdefault(labels, {"buckets": []})
            if sample.name.endswith("_bucket"):
                series[labels]["buckets"].append((float(sample.labels["le"]), sample.value))
            else:
                series[labels][sample.name.rsplit("_", 1)[1]] = sample.value
        for one in series.values():
            bounds, counts = zip(*one["buckets"])
            assert list(bounds) == sorted(set(bounds)) and bounds[-1] == float("inf")
            assert list(counts) == sorted(counts) and counts[-1] == one["count"]


def test_the_port_keeps_what_its_openapi_document_says(faults, tmp_path):
    """Some 1,100 requests made from the document, valid and invalid, the same at each run."""
    blue = {"version": "v1", "instances": [faults.address]}
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    with Snapback(tmp_path, [{"name": "chat", "blue": blue}]) as proxy:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{proxy.admin}/v1/openapi.json", "--url", proxy.admin]
        # Sequences of requests ("stateful") are left out: they depend on the ids that the proxy makes, and so differ at each run.
        made = ["--phases", "examples,coverage,fuzzing", "--max-examples", "20", "--generation-deterministic"]
        # The tool cannot write Amazon's media types; test_sagemaker_model.py and test_cloudwatch.py hold those operations against botocore.
        left_out = ["--exclude-path-regex", "^/v1/(events|live)$", "--exclude-operation-id", "aws", "--exclude-operation-id", "awsCbor"]
        options = [*left_out, "--checks", checks, "--no-color"]
        done = subprocess.run([*command, *made, *options], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout
        assert proxy.stop() == 0, proxy.errors()
