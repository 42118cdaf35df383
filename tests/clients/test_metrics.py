"""Metrics as Prometheus has them: Debian's `promtool` and `prometheus`, against the running binary, the rules and the dashboard."""

import itertools
import json
import pathlib
import re
import shutil
import subprocess
import urllib.parse

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard
from test_traces import Server
from workbench import Process, Snapback, ask, free_addresses, wait_for

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = ROOT / "config/prometheus"
RULES = CONFIG / "rules.yml"
DASHBOARDS = sorted((ROOT / "config/grafana/dashboards").glob("*.json"))
# What the conventions ask for and this program has a reason against.
ACCEPTED = set()


def promtool(*arguments, text=None):
    command = shutil.which("promtool")
    assert command, "promtool is missing: install Debian's package prometheus"
    done = subprocess.run([command, *arguments], input=text, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def panels(board):
    return [panel for panel in board["panels"] if panel.get("targets")]


def queries(board):
    """Each query of a dashboard as Grafana would send it."""
    for panel, target in ((panel, target) for panel in panels(board) for target in panel["targets"]):
        yield panel["title"], target["expr"].replace("$endpoint", ".*").replace("$__rate_interval", "10s")


@pytest.fixture(scope="module")
def shifting(tmp_path_factory):
    """A proxy in the middle of a shift whose green fails now and then, after one that was rolled back, with everything that it can tell of."""
    answers = itertools.cycle([200, 500])
    folder = tmp_path_factory.mktemp("metrics")
    with Server(lambda: 200) as blue, Server(lambda: next(answers)) as green:
        sections = {"access_log": {"to": str(folder / "access.jsonl")}, "traces": {"url": f"http://{blue.address}/v1/traces"}}
        endpoint = {"name": "chat", "blue": {"version": "v1", "instances": [blue.address]}}
        with Snapback(folder, [endpoint], sections=sections) as proxy:
            call = lambda: ask("POST", f"http://{proxy.address}/v1/completions", {"prompt": "x"})
            fleet = {"version": "v2", "instances": [green.address]}
            strategy = {"type": "canary", "share": "50%", "bake": "1h", "final_bake": "30m"}
            plan = {"guard": [{"metric": "error_rate", "below": "90%"}], "max_failures": 1_000_000}

            def begin():
                shift, seen = proxy.start_shift("chat", fleet, strategy, **plan), len(green.seen)
                wait_for("green has requests", lambda: call() and len(green.seen) > seen + 3)
                return shift

            first = begin()
            proxy.api("POST", f"/v1/shifts/{first}/abort", {})
            proxy.wait_for_shift(first, state="rolled_back")
            begin()
            yield proxy, call


@pytest.fixture(scope="module")
def prometheus(shifting, tmp_path_factory):
    """A Prometheus that scrapes it and has the shipped rules: its query function."""
    command = shutil.which("prometheus")
    assert command, "prometheus is missing: install Debian's package of this name"
    proxy, call = shifting
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
    assert config["rule_files"] == ["rules.yml"]
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"] = [{"targets": [proxy.admin.split("//")[1]]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config | {"rule_files": [str(RULES)]}))
    [address] = free_addresses(1)
    flags = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"]
    with Process(command, *flags):
        def api(path, **parameters):
            try:
                status, _, body = ask("GET", f"http://{address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
            except OSError:
                return None
            return json.loads(body) if body.startswith(b"{") else None

        series = lambda: (api("query", query="count_over_time(up[1m])") or {"data": {"result": []}})["data"]["result"]
        wait_for("five scrapes", lambda: call() and (found := series()) and float(found[0]["value"][1]) >= 5)
        yield api


def test_promtool_finds_nothing_in_the_running_binary(shifting):
    proxy, _ = shifting
    text = ask("GET", f"{proxy.admin}/metrics")[2].decode()
    code, said = promtool("check", "metrics", text=text)
    assert set(said.splitlines()) <= ACCEPTED and code == 0, said


def test_every_metric_of_the_binary_is_in_the_catalogue_with_its_type(shifting):
    proxy, _ = shifting
    text = ask("GET", f"{proxy.admin}/metrics")[2].decode()
    page = (ROOT / "src/docs/metrics.md").read_text()
    listed = dict(re.findall(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \|", page, re.M))
    told = dict(re.findall(r"^# TYPE ([a-z_]+) (\w+)$", text, re.M))
    assert len(told) > 50 and told.items() <= listed.items()


def test_the_rules_are_rules_and_do_what_they_say():
    for arguments in (["check", "rules", RULES], ["test", "rules", ROOT / "tests/clients/rules.yml"]):
        code, said = promtool(*map(str, arguments))
        assert code == 0, said


def test_the_page_on_operating_says_what_every_alert_means_and_what_to_do():
    page = (ROOT / "src/docs/operating.md").read_text()
    groups = yaml.safe_load(RULES.read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert alerts == set(re.findall(r"`(Snapback\w+)`", page))


def test_prometheus_evaluates_every_rule_and_no_alert_fires_that_should_not(prometheus, shifting):
    rules = lambda: [rule for group in prometheus("rules")["data"]["groups"] for rule in group["rules"]]
    wait_for("every rule was looked at", lambda: all(rule["health"] != "unknown" for rule in rules()))
    assert [rule for rule in rules() if rule["health"] != "ok"] == []
    assert {rule["name"] for rule in rules() if rule["type"] == "alerting" and rule["state"] == "firing"} == set()
    ratio = wait_for("a recorded series", lambda: shifting[1]() and prometheus(
        "query", query='endpoint_fleet:snapback_failures:ratio_rate1m{fleet="green"}')["data"]["result"])
    assert 0 < float(ratio[0]["value"][1]) <= 1


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_query_of_a_dashboard_has_data_during_a_shift(path, prometheus, shifting):
    for title, query in queries(json.loads(path.read_text())):
        def answer():
            shifting[1]()
            found = prometheus("query", query=query)
            assert found["status"] == "success", (title, query, found)
            return found["data"]["result"]

        wait_for(f"data for {title}: {query}", answer)


def left_out(given, kept, place=""):
    """What a schema's types have not kept of a document."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            yield from left_out(value, kept[key], f"{place}.{key}") if key in kept else [f"{place}.{key}"]
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, pair in enumerate(zip(given, kept)):
            yield from left_out(*pair, f"{place}[{number}]")
    elif given != kept:
        yield place


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_fits_grafanas_own_types(path):
    plugins.register_default_plugins()
    board = json.loads(path.read_text())
    kept = json.loads(JSONEncoder(sort_keys=True).encode(dashboard.Dashboard.from_json(board)))
    assert list(left_out(board, kept)) == []
