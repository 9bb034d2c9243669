"""`gatekeeper config show` and `describe`: what is in force, and what keys mean."""

import dataclasses
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from click.testing import CliRunner

from gatekeeper.cli import cli
from gatekeeper.config import load
from gatekeeper.config.describing import RECORDS
from gatekeeper.config.showing import show
from gatekeeper.settings import Settings

TEXT = """
hostname = "mail.example.org"
allow = ["192.0.2.0/24", "2001:db8::/48"]
trap_accounts = ["admin"]
[tls]
certificate = ["/tls/ecdsa.pem", "/tls/rsa.pem"]
private_key = ["/tls/ecdsa.key", "/tls/rsa.key"]
[[tls.sni]]
names = ["*.example.net"]
certificate = "/tls/net.pem"
private_key = "/tls/net.key"
[[listener]]
name = "mx"
protocol = "smtp"
bind = ["0.0.0.0:25", "[::]:25"]
tls = "starttls"
backend = "post.fix"
proxy_protocol_from = "198.51.100.7"
[backend."post.fix"]
address = ["127.0.0.1:10025", "[::1]:10025"]
tls = "starttls"
tls_name = "mx.example.org"
connect_timeout = "1500ms"
[policy]
ban_first = "90m"
asked_back_ppm = 12.5
[http]
bind = "unix:/run/gatekeeper/http.sock"
token_file = "/etc/gatekeeper/page-token"
[hooks]
files = ["/etc/gatekeeper/hooks.py"]
on_error = "defer"
[notify]
exec = "/usr/local/bin/page"
webhook = "https://example.org/hook/abcdefghijkl"
deadline = "3s"
[[dnsbl]]
zone = "zen.dq.spamhaus.net"
codes = ["127.0.0.2", "127.0.0.4-7"]
weight = 2
key = "abcdefghijkl"
[rules]
banned = "observe"
[account."news ☃@example.org"]
recipients_day = 50000
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "gatekeeper.toml"
    file.write_text(TEXT)
    return file


def comparable(settings: Settings) -> Settings:
    return dataclasses.replace(settings, files=())


@pytest.mark.parametrize("changed", [True, False])
def test_what_is_shown_means_the_same(path: Path, changed: bool) -> None:
    settings = load(path)
    shown = show(settings, changed=changed)
    path.write_text(shown)
    assert comparable(load(path)) == comparable(settings)
    assert show(load(path), changed=changed) == shown


def test_every_setting_is_shown(path: Path) -> None:
    shown = show(load(path))
    for name in ("enforce", "dns", "limits", "policy", "store", "domains"):
        record = getattr(load(path), name)
        for field in dataclasses.fields(record):
            if getattr(record, field.name) not in {None, ""} and name != "store":
                assert f"\n{field.name.removesuffix('_s')} = " in shown


# What `TEXT` leaves at its default, and names and numbers that are easily written wrongly.
ODD = r"""
mode = "observe"
block = "198.51.100.0/24"
trap_accounts = ["é☃", "a\"b"]
state_dir = "state"
run_dir = "run"
user = "mail"
bare_newlines = "reject"
[[listener]]
name = "imap_s"
protocol = "imap"
bind = "127.0.0.1:143"
tls = "none"
backend = "mail_s"
[backend.mail_s]
address = "mail.example.org:143"
announce = "proxy-v2"
proxy_tlvs = false
tls = "implicit"
tls_ca = "ca.pem"
[enforce]
syn_rate = 0
syn_burst = 7
xdp = "eth0"
kernel_socket = "/run/kernel"
[policy]
auth_ban_score = 1234567
asked_back_ppm = 12.3456789
[account.staff_s]
recipients_burst = 1
[account.'"\n']
recipients_day = 3
[domains]
root = "a \u007f \"b\" \\c"
[limits]
drain = 1234567.25
smtp_idle = "123456s"
relay_idle = 0.000001
[store]
url = "sqlite:///var/ä b.db"
[dns]
servers = ["127.0.0.1", "[::1]:5353", "2001:db8::1"]
deadline = "123ms"
[http]
bind = "[::1]:9099"
[notify]
exec = "page"
"""


@pytest.mark.parametrize("changed", [True, False])
def test_odd_names_and_numbers_mean_the_same(path: Path, changed: bool) -> None:
    path.write_text(ODD)
    settings = load(path)
    path.write_text(show(settings, changed=changed))
    assert comparable(load(path)) == comparable(settings)


def records_of(hint: object) -> set[type]:
    """The records of settings that a type speaks of, and those that they are made of."""
    found = {one for part in typing.get_args(hint) for one in records_of(part)}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        found |= {hint}
        for field in typing.get_type_hints(hint).values():
            found |= records_of(field)
    return found


def test_every_record_of_settings_is_described() -> None:
    no_tables = {"Endpoint", "CertificatePair"}  # values, and two keys of one table
    assert {one.__name__ for one in records_of(Settings)} - no_tables == {
        one.__name__ for one in RECORDS.values()
    }


def test_what_is_shown_can_be_read_from_a_pipe(path: Path) -> None:
    command = [str(Path(sys.executable).with_name("gatekeeper")), "config", "show", "-c"]
    shown = subprocess.run([*command, str(path)], capture_output=True, check=True)
    again = subprocess.run(
        [*command, "/dev/stdin"], input=shown.stdout, capture_output=True, check=True
    )
    assert again.stdout == shown.stdout


def test_only_what_was_changed(path: Path) -> None:
    shown = show(load(path), changed=True)
    assert 'ban_first = "1h30m"' in shown
    assert "connect_timeout = 1.5" in shown
    assert "ban_max" not in shown
    assert "[limits]" not in shown
    assert "[store]" not in shown


def test_keys_of_lists_are_hidden(path: Path) -> None:
    assert "abcdefghijkl" not in show(load(path))
    assert 'key = "hidden"' in show(load(path))


def said(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == code, result.output
    return result.output


def test_commands(path: Path) -> None:
    assert said("config", "show", "-c", str(path)) == show(load(path))
    assert said("config", "show", "--diff", "-c", str(path)) == show(load(path), changed=True)
    assert said("config", "describe", "policy.ban_first") == (
        "[policy] ban_first\n    duration, default 10m\n    the first ban; later ones are longer\n"
    )
    assert said("config", "describe", "certificate").count("must be written") == 1
    assert 'did you mean "ban_first"?' in said("config", "describe", "ban_frist", code=78)


def test_the_reference_is_the_document() -> None:
    document = Path(__file__).parent.parent / "docs" / "config.md"
    told = "write keys into gatekeeper/config/reference.md; docs/config.md is made of it by"
    same = said("config", "describe") == document.read_text(encoding="utf-8")
    assert same, f"{told} `gatekeeper config describe > docs/config.md`"
