"""docker-compose.yml and what it mounts, checked without Docker.

The file is read by models generated from the Compose Specification's schema (compose-viz ships them); they refuse unknown keys.
"""

import json
import pathlib
import re
import tomllib

import pytest
import yaml
from compose_viz.spec.compose_spec import ComposeSpecification

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
GRAFANA = ROOT / "config/grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards/snapback.json").read_text())


def bind_mounts():
    """Every (host path, container path) of a bind mount."""
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            if source.startswith("."):
                yield ROOT / source, target


def queries():
    """Every query of the dashboard, its variables' too."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        yield variable["query"]["query"]


def metrics():
    """Every series name the proxy exposes, from the one file that holds them."""
    source = (ROOT / "src/telemetry/names.rs").read_text()
    names = set(re.findall(r'"(snapback_[a-z_]+)"', source))
    histograms = {"snapback_request_duration_seconds", "snapback_first_byte_seconds"}
    assert histograms < names
    return names | {f"{name}{suffix}" for name in histograms for suffix in ("_bucket", "_sum", "_count")}


def test_the_file_follows_the_compose_specification():
    ComposeSpecification.model_validate(COMPOSE)


def test_the_specification_refuses_a_misspelt_key():
    wrong = {"services": {"proxy": {"image": "a:1", "port": ["80:80"]}}}
    with pytest.raises(ValueError):
        ComposeSpecification.model_validate(wrong)


def test_everything_mounted_exists():
    mounts = list(bind_mounts())
    assert len(mounts) >= 4
    assert [str(source) for source, _ in mounts if not source.exists()] == []


def test_every_image_is_pinned_to_a_version():
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(r"^FROM (\S+)", SERVICES["proxy"]["build"]["dockerfile_inline"], re.MULTILINE)
    unpinned = [image for image in images if not re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", image)]
    assert unpinned == ["snapback:local"] * 3, "only what is built here has no version"


def test_ports_are_published_on_loopback_alone():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports), ports


def test_the_proxy_is_found_where_its_clients_look():
    config = tomllib.loads((ROOT / "config/compose/snapback.toml").read_text())
    prometheus = yaml.safe_load((ROOT / "config/prometheus/prometheus.yml").read_text())
    [job] = prometheus["scrape_configs"]
    admin_port = config["admin"]["listen"].rsplit(":", 1)[1]
    assert job["static_configs"][0]["targets"] == [f"proxy:{admin_port}"]
    published = {port.rsplit(":", 1)[1] for port in SERVICES["proxy"]["ports"]}
    assert published == {admin_port, config["data"]["listen"][0].rsplit(":", 1)[1]}


def test_every_instance_is_a_model_server_of_its_version():
    config = tomllib.loads((ROOT / "config/compose/snapback.toml").read_text())
    plan = tomllib.loads((ROOT / "config/compose/plan.toml").read_text())
    for fleet in [config["endpoint"][0]["blue"], plan["green"]]:
        for instance in fleet["instances"]:
            service, port = instance.split(":")
            command = SERVICES[service]["command"]
            assert command[command.index("--version") + 1] == fleet["version"]
            assert command[command.index("--listen") + 1] == f"0.0.0.0:{port}"


def test_dashboard_queries_use_only_metrics_that_exist():
    known = metrics()
    assert "snapback_requests_total" in known and "snapback_first_byte_seconds_bucket" in known
    used = {name for query in queries() for name in re.findall(r"\bsnapback_[a-z_]+", query)}
    assert len(used) >= 10 and used - known == set()


def test_the_dashboard_is_provisioned_with_its_data_source():
    [source] = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    used = {target["datasource"]["uid"] for panel in DASHBOARD["panels"] for target in panel["targets"]}
    assert used == {source["uid"]}
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/snapback.yml").read_text())["providers"]
    mounted = {target: source for source, target in bind_mounts()}
    assert mounted[provider["options"]["path"]] == GRAFANA / "dashboards"
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/snapback.json"


def test_panels_do_not_overlap():
    taken = set()
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}
        assert not cells & taken and grid["x"] + grid["w"] <= 24, panel["title"]
        taken |= cells
