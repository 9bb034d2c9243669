"""`gatekeeper kernel-options`: what the unit of the kernel process is started with."""

import os
import pwd
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gatekeeper.cli import cli
from gatekeeper.enforce.spawn import KERNEL
from gatekeeper.kernel.main import _options

ME = pwd.getpwuid(os.getuid()).pw_name
CONFIG = """\
hostname = "mail.example.org"
user = {user}
allow = ["203.0.113.0/24", "2001:db8::/32"]
block = ["198.51.100.0/24"]
[enforce]
{enforce}
syn_rate = 7
[[listener]]
name = "mx"
protocol = "smtp"
bind = ["0.0.0.0:25", "[::]:25"]
tls = "none"
backend = "b"
[[listener]]
name = "imap"
protocol = "imap"
bind = "0.0.0.0:143"
tls = "none"
backend = "b"
[backend.b]
address = "192.0.2.25:1"
announce = "{announce}"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "gatekeeper.toml"


def options(
    config: Path, *more: str, user: str = ME, enforce: str = "nft = true", announce: str = "none"
) -> Result:
    config.write_text(CONFIG.format(user=f'"{user}"', enforce=enforce, announce=announce))
    return CliRunner().invoke(cli, ["kernel-options", "-c", str(config), *more])


def test_the_kernel_process_understands_it(config: Path) -> None:
    result = options(config)
    assert result.exit_code == 0, result.output
    entry, told = result.stdout.splitlines()
    assert entry == f"GATEKEEPER_KERNEL_ENTRY={KERNEL[-1]}"
    # As systemd makes words of $GATEKEEPER_KERNEL_OPTIONS.
    words = told.removeprefix("GATEKEEPER_KERNEL_OPTIONS=").split()
    assert words == shlex.split(" ".join(words)), "nothing to be quoted"
    where, read = _options(["--fd=3", *words])
    assert where.peer_uid == os.getuid()
    assert (read.ports_auth, read.ports_mx, read.syn_rate) == ((143,), (25,), 7)
    never = {each.address for each in read.never}
    assert never >= {"127.0.0.0", "::1", "192.0.2.25", "203.0.113.0", "2001:db8::"}
    assert [each.address for each in read.block] == ["198.51.100.0"]


def test_it_can_take_the_place_of_a_file(config: Path, tmp_path: Path) -> None:
    output = tmp_path / "environment"
    output.write_text("GATEKEEPER_KERNEL_OPTIONS=--never=0.0.0.0/0\n")
    result = options(config, "-o", str(output))
    assert (result.exit_code, result.output) == (0, "")
    assert output.read_text() == options(config).stdout
    assert {path.name for path in tmp_path.iterdir()} == {config.name, output.name}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (
            {"user": "nobody-of-that-name"},
            "user: there is no account 'nobody-of-that-name' on this host",
        ),
        ({"enforce": "nft = false"}, "[enforce] nft = false: there is nothing for it to do"),
        ({"announce": "transparent"}, 'announce = "transparent" takes a guard started as root'),
    ],
    ids=["no such user", "switched off", "transparent"],
)
def test_what_cannot_be_a_unit_is_one_line_and_78(
    config: Path, wrong: dict[str, str], why: str
) -> None:
    result = options(config, **wrong)
    assert result.exit_code == 78
    assert result.output == f"gatekeeper: {config}: {why}\n"


def test_a_file_that_cannot_be_written_is_one_line(config: Path, tmp_path: Path) -> None:
    result = options(config, "-o", str(tmp_path / "none" / "environment"))
    assert result.exit_code == 1
    assert result.output.startswith("gatekeeper: [Errno 2] No such file or directory")
