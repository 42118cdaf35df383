"""The examples for CI systems and the Python client, run as they stand against the real binary."""

import ast
import os
import pathlib
import subprocess
import sys
import threading

import pytest
import yaml
from workbench import BIN, HERE, Script, Snapback, ask, toml

EXAMPLES = HERE.parents[1] / "config/examples"
sys.path.insert(0, str(EXAMPLES / "python"))
from snapback_client import Client, Refused, TimedOut, Unreachable  # noqa: E402

BAKE = {"type": "linear", "step": "50%", "bake": "300ms", "final_bake": "300ms"}
GUARD = [{"metric": "error_rate", "below": "5%"}]


@pytest.fixture(scope="module")
def other():
    with Script("faults.py") as server:
        yield server


@pytest.fixture
def proxy(faults, tmp_path):
    blue = {"version": "v1", "instances": [faults.address]}
    with Snapback(tmp_path, [{"name": "chat", "blue": blue}]) as proxy:
        yield proxy


@pytest.fixture
def client(proxy):
    return Client(proxy.admin, actor="tests")


@pytest.fixture
def failing(proxy):
    """Traffic that every fleet fails."""
    over = threading.Event()

    def traffic():
        while not over.is_set():
            ask("POST", f"{proxy.url}/tgi-424", {})

    thread = threading.Thread(target=traffic)
    thread.start()
    yield
    over.set()
    thread.join()


def plan(green, **changes):
    return {"green": {"version": "v2", "instances": [green.address]}, "strategy": BAKE} | changes


def shell(command, proxy, folder, **variables):
    (folder / "bin").mkdir(exist_ok=True)
    if not (folder / "bin/snapback").exists():
        (folder / "bin/snapback").symlink_to(pathlib.Path(BIN).resolve())
    env = os.environ | {"PATH": f"{folder}/bin:{os.environ['PATH']}", "SNAPBACK_ADMIN": proxy.admin} | variables
    return subprocess.run(["sh", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=90)


def write(path, document):
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in document.items()))


def declare(folder, version, server, guard=()):
    """A folder for `apply`: an endpoint, and the plan that belongs to it."""
    folder.mkdir(exist_ok=True)
    endpoint = {"name": "chat", "blue": {"version": version, "instances": [server.address]}}
    (folder / "chat.toml").write_text(f"endpoint = [{toml(endpoint)}]\n")
    write(folder / "chat.plan.toml", {"strategy": BAKE} | ({"guard": list(guard)} if guard else {}))


def test_the_shell_script_ships_a_good_model(proxy, other, tmp_path):
    write(tmp_path / "plan.toml", plan(other))
    done = shell(f"{EXAMPLES}/ci/shift.sh chat plan.toml 40s", proxy, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "v2 is promoted" in done.stdout


def test_the_shell_script_fails_the_job_of_a_bad_model_and_says_why(proxy, other, tmp_path, failing):
    write(tmp_path / "plan.toml", plan(other, guard=GUARD, strategy=BAKE | {"bake": "1h"}))
    done = shell(f"{EXAMPLES}/ci/shift.sh chat plan.toml 40s", proxy, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "olled back" in done.stdout and "error_rate" in done.stdout


def test_the_shell_script_can_abort_what_takes_too_long(proxy, other, tmp_path, client):
    write(tmp_path / "plan.toml", plan(other, strategy=BAKE | {"bake": "1h"}))
    done = shell(f"{EXAMPLES}/ci/shift.sh chat plan.toml 300ms", proxy, tmp_path, ON_TIMEOUT="abort")
    assert done.returncode == 3, done.stdout + done.stderr
    assert client.wait(client.shifts("chat")[0]["id"], timeout=40)["cause"]["kind"] == "aborted"


def test_the_steps_for_github_ship_a_folder_and_change_nothing_the_second_time(proxy, other, faults, tmp_path):
    steps = yaml.safe_load((EXAMPLES / "ci/github-actions.yml").read_text())["jobs"]["ship"]["steps"]
    dry, ship, why = [step["run"] for step in steps if "run" in step]
    declare(tmp_path / "deploy", "v1", faults)
    assert "1 endpoint to change" not in shell(dry, proxy, tmp_path).stdout
    declare(tmp_path / "deploy", "v2", other)
    shown = shell(dry, proxy, tmp_path)
    assert shown.returncode == 0 and "a shift brings v2 in for v1" in shown.stdout, shown.stdout + shown.stderr
    assert proxy.endpoint("chat")["running_shift"] is None
    for word in ("1 changed", "nothing to change"):
        done = shell(ship, proxy, tmp_path, GITHUB_SHA="4f2a91c")
        assert done.returncode == 0 and word in done.stdout, done.stdout + done.stderr
    assert proxy.endpoint("chat")["blue"]["version"] == "v2"
    assert "promoted" in shell(why, proxy, tmp_path).stdout


def test_an_application_that_was_rolled_back_fails_and_is_not_tried_again_by_itself(proxy, other, tmp_path, failing):
    declare(tmp_path / "deploy", "v2", other, GUARD)
    plan = tmp_path / "deploy/chat.plan.toml"
    plan.write_text(plan.read_text().replace('"bake": "300ms"', '"bake": "1h"').replace('bake = "300ms"', 'bake = "1h"', 1))
    apply = "snapback apply deploy --yes --wait --timeout 40s"
    assert shell(apply, proxy, tmp_path).returncode == 1
    again = shell(apply, proxy, tmp_path)
    assert again.returncode == 1 and "went back" in again.stdout, again.stdout + again.stderr
    assert len(proxy.api("GET", "/v1/endpoints/chat/shifts")[1]["shifts"]) == 1


def test_the_job_for_argo_cd_applies_what_is_mounted(proxy, other, faults, tmp_path):
    (container,) = yaml.safe_load((EXAMPLES / "ci/argo-cd.yml").read_text())["spec"]["template"]["spec"]["containers"]
    (mount,) = container["volumeMounts"]
    declare(tmp_path / "deploy", "v2", other)
    words = [str(tmp_path / "deploy") if word == mount["mountPath"] else word for word in container["command"] + container["args"]]
    done = shell(" ".join(words), proxy, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert proxy.endpoint("chat")["blue"]["version"] == "v2"


def test_an_application_tells_changed_from_unchanged_by_its_exit_status_and_prunes_only_when_told(proxy, other, tmp_path):
    deploy = tmp_path / "deploy"
    deploy.mkdir()
    endpoint = {"name": "extra", "match": {"host": "extra.test"}, "blue": {"version": "e1", "instances": [other.address]}}
    (deploy / "extra.toml").write_text(f"endpoint = [{toml(endpoint)}]\n")
    for flags, status in [("--dry-run", 4), ("--yes", 4), ("--yes", 0), ("--dry-run", 0)]:
        done = shell(f"snapback apply deploy {flags} --detailed-exitcode", proxy, tmp_path)
        assert done.returncode == status, (flags, done.stdout, done.stderr)
    nobody = shell("snapback apply deploy --prune < /dev/null", proxy, tmp_path)
    assert nobody.returncode == 0, nobody.stderr
    (deploy / "extra.toml").rename(deploy / "extra.off")
    endpoint["name"] = "more"
    endpoint["match"] = {"host": "more.test"}
    (deploy / "more.toml").write_text(f"endpoint = [{toml(endpoint)}]\n")
    refused = shell("snapback apply deploy --prune < /dev/null", proxy, tmp_path)
    assert refused.returncode == 1 and "--yes" in refused.stderr, "nobody is there to agree"
    assert shell("snapback apply deploy --yes", proxy, tmp_path).returncode == 0
    assert proxy.api("GET", "/v1/endpoints/extra")[0] == 200, "not without --prune"
    assert shell("snapback apply deploy --yes --prune", proxy, tmp_path).returncode == 0
    assert proxy.api("GET", "/v1/endpoints/extra")[0] == 404
    assert proxy.api("GET", "/v1/endpoints/chat")[0] == 200, "the configuration file's own stays"


def test_the_steps_for_gitlab_name_commands_that_there_are(proxy, other, tmp_path):
    jobs = yaml.safe_load((EXAMPLES / "ci/gitlab-ci.yml").read_text())
    write(tmp_path / "plan.toml", plan(other))
    for line in jobs["check the plan"]["script"]:
        done = shell(line, proxy, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "shift.sh").write_text((EXAMPLES / "ci/shift.sh").read_text())
    (tmp_path / "shift.sh").chmod(0o755)
    (line,) = jobs["ship the model"]["script"]
    assert shell(line, proxy, tmp_path).returncode == 0


def test_the_client_starts_waits_and_tells_every_change(client, other, faults):
    assert [endpoint["name"] for endpoint in client.endpoints()] == ["chat"]
    dry = client.start("chat", plan(other), dry_run=True)
    assert dry["id"] is None and client.shifts("chat") == []
    shift = client.start("chat", plan(other), reason="a test")
    queued = client.start("chat", plan(faults) | {"green": {"version": "v3", "instances": [faults.address]}}, if_running="queue")
    seen = []
    ended = client.wait(shift["id"], timeout=40, on_change=lambda shift: seen.append(shift["share"]))
    assert ended["state"] == "promoted" and "100%" in seen
    assert client.wait(queued["id"], timeout=40)["green_version"] == "v3"
    first = next(client.events(endpoint="chat"))
    assert first["id"] >= 1 and next(client.events(after=first["id"]))["id"] > first["id"]


def test_the_client_steers_and_says_no_as_the_admin_port_does(client, other):
    shift = client.start("chat", plan(other, strategy=BAKE | {"bake": "1h"}))
    with pytest.raises(TimedOut) as still:
        client.wait(shift["id"], timeout=0)
    assert still.value.shift["id"] == shift["id"]
    with pytest.raises(Refused, match=shift["id"]) as refused:
        client.start("chat", plan(other))
    assert refused.value.kind == "urn:snapback:shift-running"
    client.abort(shift["id"], "seen enough")
    assert client.wait(shift["id"], timeout=40)["state"] == "rolled_back"
    with pytest.raises(Refused) as missing:
        client.endpoint("caht")
    assert missing.value.status == 404 and "did you mean chat" in str(missing.value)
    with pytest.raises(Unreachable):
        Client("http://127.0.0.1:1").endpoints()


def test_the_client_is_small_typed_and_needs_the_standard_library_alone():
    text = (EXAMPLES / "python/snapback_client.py").read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= 300
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert all(name.partition(".")[0] in sys.stdlib_module_names for name in names), names
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.args, *node.args.kwonlyargs]
            assert node.returns is not None, node.name
            assert all(argument.annotation or argument.arg == "self" for argument in arguments), node.name
