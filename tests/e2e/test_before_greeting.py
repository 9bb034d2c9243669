"""Before the greeting of port 25, with a real resolver, and Postfix behind the guard."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ticket_mask import masked

from .conftest import Mail
from .dns_servers import LYING, NAME_FAILS, NAME_SILENT, NAMED, NAMED_V6, Dns, dns
from .guard_process import Guard, Service, guard
from .line_client import LineClient
from .processes import wait_until

NAMELESS, ALLOWED, WHITE = "203.0.113.30", "203.0.113.31", "203.0.113.32"
NO_NAME = b"554 5.7.25 Your address lacks a name that leads back (ref *****)\r\n"
TOO_EARLY = b"554 5.5.0 SMTP protocol synchronization (ref *****)\r\n"
PUT_OFF = b"421 4.7.0 Service closing transmission channel (ref *****)\r\n"
WAIT_S = 1.5
DEADLINE_S = 1.0
SLOW_S = 2.0  # what a busy host may add
ENFORCING = '[rules]\nreverse-dns = "enforce"\n'


@pytest.fixture(scope="module")
def servers(public: Path) -> Iterator[Dns]:
    if missing := [
        name for name in ("rbldnsd", "unbound") if not shutil.which(f"/usr/sbin/{name}")
    ]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    with dns(public / "dns-greeting") as running:
        yield running


@contextmanager
def mx(public: Path, mail: Mail, servers: Dns, name: str, extra: str) -> Iterator[Guard]:
    """A guard on port 25 that believes PROXY headers of 127.0.0.1."""
    directory = public / f"greeting-{name}"
    white = directory / "domains/_global_/whitelisted/ips"
    (directory / "conf.d").mkdir(parents=True)
    white.mkdir(parents=True)
    (white / WHITE).touch()
    (directory / "conf.d/balancer.toml").write_text(
        f'allow = ["{ALLOWED}"]\n[[listener]]\nname = "mx"\nproxy_protocol_from = ["127.0.0.1"]\n'
    )
    extra += f'[dns]\nservers = ["127.0.0.1:{servers.resolver}"]\ndeadline = {DEADLINE_S}\n'
    extra += f'[domains]\nroot = "{directory / "domains"}"\n'
    service = Service("mx", "smtp", "starttls", mail.postfix.mx_haproxy, "proxy-v1")
    with guard(directory, [service], mail.pairs, extra=extra) as running:
        yield running


def connect(running: Guard, source: str, early: bytes = b"") -> LineClient:
    """A client from `source`, as a balancer tells of it, that says `early` at once."""
    client = LineClient(running.ports["mx"])
    family, to = ("TCP6", "2001:db8::25") if ":" in source else ("TCP4", "192.0.2.25")
    client.send(f"PROXY {family} {source} {to} 40000 25\r\n".encode() + early)
    return client


def greeting(running: Guard, source: str, early: bytes = b"") -> tuple[bytes, float]:
    """The first line a client from `source` hears, and the seconds until then."""
    started = time.monotonic()
    with connect(running, source, early) as client:
        line = masked(client.line())
        took_s = time.monotonic() - started
        if line.startswith(b"220"):
            client.command(b"QUIT")
        return line, took_s


def test_names_are_confirmed_by_dns_and_doubts_refuse_nobody(
    public: Path, mail: Mail, servers: Dns
) -> None:
    extra = ENFORCING + "[policy]\ngreet_wait = 0\n"
    with mx(public, mail, servers, "names", extra) as running:
        for source in (NAMED, NAMED_V6, ALLOWED, WHITE):
            assert greeting(running, source)[0].startswith(b"220 "), source
        for source in (LYING, NAMELESS):
            assert greeting(running, source)[0] == NO_NAME, source
        for source in (NAME_FAILS, NAME_SILENT):
            line, took_s = greeting(running, source)
            assert line.startswith(b"220 "), source
            assert took_s < DEADLINE_S + SLOW_S
        wait_until(lambda: f"rip={NAME_SILENT}" in running.log(), "its session is logged")
        log = running.log()
        assert "name=mx.names.test end=logout" in log
        assert f"reverse=unconfirmed name=mx.names.test rip={LYING}" in log
        assert f'reverse=missing name="" rip={NAMELESS}' in log
        told = running.command("explain", LYING)
        assert "reverse DNS: unconfirmed mx.names.test" in told
    backend = mail.postfix.log()
    assert f"[{NAMED}]" in backend
    assert f"[{LYING}]" not in backend


def test_early_talkers_and_crowds_are_turned_away_and_who_has_waited_is_known(
    public: Path, mail: Mail, servers: Dns
) -> None:
    extra = f"[policy]\ngreet_wait = {WAIT_S}\nmx_connections_per_address = 2\n"
    with mx(public, mail, servers, "early", extra) as running:
        line, took_s = greeting(running, NAMED, early=b"EHLO bot\r\nMAIL FROM:<a@b.example>\r\n")
        assert (line, took_s < WAIT_S) == (TOO_EARLY, True)
        for source in (ALLOWED, WHITE):
            line, took_s = greeting(running, source, early=b"NOOP\r\n")
            assert line.startswith(b"220 ")
        assert greeting(running, NAMED)[1] >= WAIT_S
        line, took_s = greeting(running, NAMED)
        assert line.startswith(b"220 ")
        assert took_s < WAIT_S, "it has waited once"
        with connect(running, NAMED) as one, connect(running, NAMED) as two:
            assert one.line().startswith(b"220 ")
            assert two.line().startswith(b"220 ")
            assert greeting(running, NAMED)[0] == PUT_OFF
        assert json.loads(running.command("status", "-o", "json"))["entrance"]["passed"] >= 1
        told = running.command("explain", NAMED)
        assert "early talk: 35 octets" in told
        assert "3 of its address" in told
        assert " action=reject reason=early-talker " in running.log()
    assert f"rip={NAMELESS}" not in running.log()
