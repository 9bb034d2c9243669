"""The role, by Ansible itself: it is read, its defaults are what its argument_specs say, and what
they make is a configuration. That it works on hosts takes many minutes to see: `ansible/test`."""

import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.config import load
from gatekeeper.settings import Announce

pytestmark = pytest.mark.e2e

ANSIBLE = Path(__file__).parents[2] / "ansible"
ROLE = ANSIBLE / "roles" / "gatekeeper"
CONTROLLER = "192.0.2.9"
PLAY = """
- hosts: localhost
  connection: local
  vars_files: ["{{ role }}/defaults/main.yml", "{{ role }}/vars/main.yml"]
  vars:
    gatekeeper_new: "{{ gatekeeper_texts['gatekeeper.toml'] | gatekeeper_toml }}"
    text: "{{ lookup('ansible.builtin.template', role ~ '/templates/gatekeeper.toml.j2') }}"
    specs: "{{ lookup('ansible.builtin.file', role ~ '/meta/argument_specs.yml') | from_yaml }}"
    options: "{{ specs.argument_specs.main.options }}"
    names: "{{ options.keys() | list }}"
    given: "{{ dict(names | zip(names | map('extract', vars))) }}"
  tasks:
    - ansible.builtin.validate_argument_spec:
        argument_spec: "{{ options }}"
        provided_arguments: "{{ given }}"
    - ansible.builtin.copy:
        content: "{{ seen | to_json }}"
        dest: "{{ work }}/seen.json"
        mode: "0600"
      vars:
        seen:
          toml: "{{ text }}"
          dovecot: "{{ lookup('ansible.builtin.template', role ~ '/templates/dovecot.conf.j2') }}"
          given: "{{ given }}"
          spec: "{{ options }}"
          units: "{{ gatekeeper_release_units | map('basename') | list }}"
          sockets: "{{ gatekeeper_release_sockets }}"
          elsewhere: "{{ gatekeeper_elsewhere }}"
"""


def _ansible(*arguments: str, work: Path) -> str:
    """Run ansible-playbook with nothing of this account's; what it says."""
    environment = os.environ | {
        "ANSIBLE_FILTER_PLUGINS": str(ROLE / "filter_plugins"),
        "ANSIBLE_HOME": str(work / "home"),
        "ANSIBLE_LOCAL_TEMP": str(work / "temp"),
        "ANSIBLE_REMOTE_TEMP": str(work / "temp"),
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "LC_ALL": "C.UTF-8",  # else it does not start
    }
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", *arguments],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the role's variables come to where nothing is set."""
    if shutil.which("ansible-playbook") is None:
        pytest.skip("not installed: ansible-core")
    work = tmp_path_factory.mktemp("ansible")
    (work / "release").mkdir()
    (work / "release" / "systemd").symlink_to(ANSIBLE.parent / "systemd")
    (work / "play.yml").write_text(PLAY)
    given = {
        "role": str(ROLE),
        "work": str(work),
        "gatekeeper_hostname": "mail.example.org",
        "gatekeeper_releases_dir": str(work),
        "gatekeeper_version": "release",
        "gatekeeper_allow": ["198.51.100.0/24"],
        "gatekeeper_controller_address": [CONTROLLER],
        "gatekeeper_dovecot": {"stdout": _said("dovecot", "--version")},
    }
    _ansible("play.yml", "-e", json.dumps(given), work=work)
    found: dict[str, Any] = json.loads((work / "seen.json").read_text())
    return found


def test_the_playbook_is_one(tmp_path: Path) -> None:
    if shutil.which("ansible-playbook") is None:
        pytest.skip("not installed: ansible-core")
    assert "site.yml" in _ansible("--syntax-check", str(ANSIBLE / "site.yml"), work=tmp_path)


def test_every_default_is_an_argument_and_has_the_same_default(seen: dict[str, Any]) -> None:
    named = [
        line.partition(":")[0]
        for line in (ROLE / "defaults" / "main.yml").read_text().splitlines()
        if line.startswith("gatekeeper_")
    ]
    assert sorted(named) == sorted(seen["spec"])
    for name, option in seen["spec"].items():
        if "default" in option and name != "gatekeeper_allow":
            assert seen["given"][name] == option["default"], name


def test_what_it_writes_is_a_configuration(seen: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "gatekeeper.toml"
    path.write_text(seen["toml"])
    settings = load(path)
    assert settings.hostname == "mail.example.org"
    assert sorted(map(str, settings.allow)) == [CONTROLLER, "198.51.100.0/24"]
    assert sorted(it.name for it in settings.listeners) == [
        "imaps",
        "smtp",
        "submission",
        "submissions",
    ]
    assert {it.announce for it in settings.backends.values()} == {Announce.PROXY_V2}


def test_dovecot_takes_its_settings(seen: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "dovecot.conf"
    old = _said("dovecot", "--version").startswith("2.3.")
    first = "" if old else "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n"
    path.write_text(first + seen["dovecot"])
    read = [line.strip() for line in _said("doveconf", "-c", str(path), "-n").splitlines()]
    address = f"{'address' if old else 'listen'} = 127.0.0.1"
    assert {"haproxy = yes", address, "port = 10143"} <= set(read)
    assert "unix_listener anvil-auth-penalty {" in read


def test_it_listens_where_the_units_do(seen: dict[str, Any]) -> None:
    listeners = tomllib.loads(seen["toml"])["listener"]
    assert sorted(seen["sockets"]) == sorted(f"gatekeeper-{it['name']}.socket" for it in listeners)
    with_ipv6 = any(bind.startswith("[") for it in listeners for bind in it["bind"])
    assert seen["elsewhere"] == ([] if with_ipv6 else listeners)
    for unit in seen["units"]:
        assert (ANSIBLE.parent / "systemd" / unit).is_file()


def test_the_kernel_process_is_asked_where_its_unit_listens(seen: dict[str, Any]) -> None:
    path = tomllib.loads(seen["toml"])["enforce"]["kernel_socket"]
    unit = (ANSIBLE.parent / "systemd" / "gatekeeper-kernel.socket").read_text()
    assert f"ListenSequentialPacket={path}\n" in unit


def test_the_units_use_the_folder_the_role_fills() -> None:
    for unit in ("gatekeeper.service", "gatekeeper-kernel.service"):
        text = (ANSIBLE.parent / "systemd" / unit).read_text()
        assert "/opt/gatekeeper/current/bin/" in text
        assert "/etc/gatekeeper/gatekeeper.toml" in text
