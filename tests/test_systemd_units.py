"""The units of `systemd/`: they fit the program, and give away nothing that it does not need."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatekeeper.app import STOP_S
from gatekeeper.cli import cli
from gatekeeper.cli.exits import BAD_CONFIGURATION, NO_PERMISSION
from gatekeeper.enforce.spawn import KERNEL
from gatekeeper.server import BACKLOG
from gatekeeper.settings import LimitSettings, Settings

UNITS = Path(__file__).parent.parent / "systemd"
GUARD, KERNEL_UNIT = UNITS / "gatekeeper.service", UNITS / "gatekeeper-kernel.service"
SERVICES = [GUARD, KERNEL_UNIT]
PORTS = {"smtp": 25, "submission": 587, "submissions": 465, "imaps": 993}
EXPOSURE_MOST = 2.0

Unit = dict[str, list[str]]


def read(path: Path) -> Unit:
    """All values of each key, in order; sections do not matter, for no key is in two."""
    found: Unit = {}
    for line in path.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def commands(unit: Unit) -> Iterator[list[str]]:
    """The words of every command of `gatekeeper` in a unit, from its verb on."""
    for key in ("ExecStartPre", "ExecStart", "ExecReload"):
        for line in unit.get(key, []):
            _, found, words = line.partition("/bin/gatekeeper ")
            if found:
                yield words.split()


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_exposure_is_low(path: Path) -> None:
    threshold = f"--threshold={EXPOSURE_MOST * 10:.0f}"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", threshold, path],
        capture_output=True,
        text=True,
        check=False,
    )
    said = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert said, done.stderr
    assert float(said[1]) <= EXPOSURE_MOST
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", PORTS)
def test_a_port_has_a_socket_for_each_family_with_room_for_a_restart(name: str) -> None:
    unit = read(UNITS / f"gatekeeper-{name}.socket")
    assert unit["ListenStream"] == [f"0.0.0.0:{PORTS[name]}", f"[::]:{PORTS[name]}"]
    assert unit["BindIPv6Only"] == ["ipv6-only"]
    assert unit["FileDescriptorName"] == [name]
    assert unit["Service"] == [GUARD.name]
    assert int(unit["Backlog"][0]) == BACKLOG


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_every_command_is_one_there_is(path: Path) -> None:
    verbs = [words[0] for words in commands(read(path))]
    assert verbs
    for words in commands(read(path)):
        command = cli.commands[words[0]]
        known = {flag for parameter in command.params for flag in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known


def test_the_guard_has_no_right_at_all() -> None:
    unit = read(GUARD)
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == [""]
    assert unit["NoNewPrivileges"] == ["yes"]
    assert unit["User"] == [Settings.__dataclass_fields__["user"].default]


def test_the_kernel_process_has_one_right_and_is_another_user() -> None:
    unit = read(KERNEL_UNIT)
    assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == ["CAP_NET_ADMIN"]
    assert unit["DynamicUser"] == ["yes"]


def test_the_kernel_process_is_started_with_nothing_but_the_standard_library() -> None:
    (start,) = read(KERNEL_UNIT)["ExecStart"]
    words = start.split()
    assert words[1:4] == list(KERNEL[:-1])
    assert words[4:] == ["${GATEKEEPER_KERNEL_ENTRY}", "--fd=3", "$GATEKEEPER_KERNEL_OPTIONS"]


def test_what_reads_the_configuration_for_it_has_no_right() -> None:
    (before,) = read(KERNEL_UNIT)["ExecStartPre"]
    words = before.split()
    assert words[:3] == ["/usr/bin/setpriv", "--ambient-caps=-all", "--inh-caps=-all"]


def test_a_configuration_that_is_no_use_is_not_tried_again() -> None:
    (codes,) = read(GUARD)["RestartPreventExitStatus"]
    assert set(map(int, codes.split())) == {NO_PERMISSION, BAD_CONFIGURATION}


def test_the_manager_waits_for_a_drain() -> None:
    (most,) = read(GUARD)["TimeoutStopSec"]
    assert int(most.removesuffix("s")) >= LimitSettings().drain_s + STOP_S


def test_directories_are_those_of_the_settings() -> None:
    unit = read(GUARD)
    fields = Settings.__dataclass_fields__
    assert f"/var/lib/{unit['StateDirectory'][0]}" == str(fields["state_dir"].default)
    assert f"/run/{unit['RuntimeDirectory'][0]}" == str(fields["run_dir"].default)


def test_systemd_itself_has_no_objection(tmp_path: Path) -> None:
    """Programs that are not installed here are the one thing it may not look at."""
    for path in UNITS.glob("*.s*"):
        text = re.sub(r"/opt/gatekeeper/current/bin/\w+", "/bin/true", path.read_text())
        (tmp_path / path.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *tmp_path.iterdir()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
