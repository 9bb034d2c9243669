"""EHLO and MAIL on port 25 with real DNS, and Postfix behind the guard."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ticket_mask import masked

from .accounts import ALICE
from .conftest import Mail
from .dns_servers import FAILING, SILENT, Dns, dns
from .guard_process import Guard, Service, guard
from .line_client import LineClient
from .processes import wait_until

INSIDE, OUTSIDE, ALLOWED = "203.0.113.40", "198.51.100.40", "198.51.100.41"
DEADLINE_S = 1.0
SLOW_S = 2.0  # what a busy host may add
ZONE = "names.test"
MX = "60 IN MX 10 mx.names.test."
RECORDS = (
    f"sender.{ZONE}. {MX}",
    f'sender.{ZONE}. 60 IN TXT "v=spf1 include:_spf.{ZONE} -all"',
    f'_spf.{ZONE}. 60 IN TXT "v=spf1 ip4:203.0.113.0/24 " "ip6:2001:db8::/32 ?all"',
    f"soft.{ZONE}. {MX}",
    f'soft.{ZONE}. 60 IN TXT "v=spf1 ~all"',
    f"unsure.{ZONE}. {MX}",
    f'unsure.{ZONE}. 60 IN TXT "v=spf1 a:host.{FAILING} -all"',
    f"null.{ZONE}. 60 IN MX 0 .",
    f"host.{ZONE}. 60 IN A 203.0.113.41",
    f"xn--bcher-kva.{ZONE}. {MX}",
    f'xn--bcher-kva.{ZONE}. 60 IN TXT "v=spf1 ip4:{INSIDE} -all"',
    f'helo.{ZONE}. 60 IN TXT "v=spf1 ip4:{INSIDE} -all"',
)
ENFORCING = """
[policy]
greet_wait = 0
[rules]
hello = "enforce"
sender-domain = "enforce"
spf-fail = "enforce"
"""
OK = b"250 2.1.0 Ok\r\n"
FORGED = b"550 5.7.23 SPF validation failed (ref *****)\r\n"
NOT_FOUND = b"550 5.1.8 Sender domain not found (ref *****)\r\n"
NULL_MX = b"550 5.7.27 Sender address has null MX (ref *****)\r\n"


@pytest.fixture(scope="module")
def servers(public: Path) -> Iterator[Dns]:
    if missing := [
        name for name in ("rbldnsd", "unbound") if not shutil.which(f"/usr/sbin/{name}")
    ]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    with dns(public / "dns-senders", RECORDS) as running:
        yield running


@pytest.fixture(scope="module")
def mx(public: Path, mail: Mail, servers: Dns) -> Iterator[Guard]:
    """A guard on port 25 that believes PROXY headers of 127.0.0.1."""
    directory = public / "senders"
    (directory / "conf.d").mkdir(parents=True)
    (directory / "conf.d/balancer.toml").write_text(
        f'allow = ["{ALLOWED}"]\n[[listener]]\nname = "mx"\nproxy_protocol_from = ["127.0.0.1"]\n'
    )
    extra = f'[dns]\nservers = ["127.0.0.1:{servers.resolver}"]\ndeadline = {DEADLINE_S}\n'
    service = Service("mx", "smtp", "starttls", mail.postfix.mx_haproxy, "proxy-v1")
    with guard(directory, [service], mail.pairs, extra=extra + ENFORCING) as running:
        yield running


@contextmanager
def session(running: Guard, source: str, hello: str = f"helo.{ZONE}") -> Iterator[LineClient]:
    """A client from `source`, as a balancer tells of it, after its EHLO."""
    with LineClient(running.ports["mx"]) as client:
        client.send(f"PROXY TCP4 {source} 192.0.2.25 40000 25\r\n".encode())
        assert client.line().startswith(b"220 ")
        assert client.command(f"EHLO {hello}".encode()).startswith(b"250")
        yield client


def answer(running: Guard, source: str, sender: str) -> bytes:
    """What the client hears to MAIL."""
    with session(running, source) as client:
        return masked(client.command(f"MAIL FROM:<{sender}>".encode()))


@pytest.mark.parametrize(
    ("sender", "inside", "outside"),
    [
        (f"ann@sender.{ZONE}", OK, FORGED),
        (f'"ann@soft.{ZONE}"@sender.{ZONE}', OK, FORGED),
        (f"ann@xn--bcher-kva.{ZONE}", OK, FORGED),
        ("", OK, FORGED),
        (f"ann@soft.{ZONE}", OK, OK),
        (f"ann@unsure.{ZONE}", OK, OK),
        (f"ann@host.{ZONE}", OK, OK),
        (f"ann@sender.{FAILING}", OK, OK),
        (f"ann@nowhere.{ZONE}", NOT_FOUND, NOT_FOUND),
        (f"ann%sender.{ZONE}", NOT_FOUND, NOT_FOUND),  # which Postfix takes for ann@sender
        (f">ann@sender.{ZONE}", NOT_FOUND, NOT_FOUND),  # and this, behind a null sender
        (f"ann@null.{ZONE}", NULL_MX, NULL_MX),
    ],
)
def test_senders(mx: Guard, sender: str, inside: bytes, outside: bytes) -> None:
    assert answer(mx, INSIDE, sender) == inside
    assert answer(mx, OUTSIDE, sender) == outside
    assert answer(mx, ALLOWED, sender) == OK


def test_a_resolver_that_is_silent_delays_mail_by_the_deadline(mx: Guard) -> None:
    started = time.monotonic()
    assert answer(mx, OUTSIDE, f"ann@sender.{SILENT}") == OK
    assert DEADLINE_S <= time.monotonic() - started < DEADLINE_S + SLOW_S


def test_mail_is_delivered_and_refusals_are_told(mx: Guard, mail: Mail, marker: bytes) -> None:
    for sender in ("", f"ann@sender.{ZONE}"):
        with session(mx, INSIDE) as client:
            assert client.command(f"MAIL FROM:<{sender}>".encode()) == OK
            assert client.command(f"RCPT TO:<{ALICE}>".encode()).startswith(b"250 ")
            assert client.command(b"DATA").startswith(b"354 ")
            words = marker + (b"-report" if not sender else b"-letter")
            client.send(b"Subject: a sender's\r\n\r\n" + words + b"\r\n")
            assert client.command(b".").startswith(b"250 ")
    before = mail.postfix.log()
    with session(mx, OUTSIDE) as client:
        text = b"550 5.7.1 EHLO with a domain of your own is needed (ref *****)\r\n"
        for name in (b"localhost", b"guard.example.test", b"[127.0.0.1]"):
            assert masked(client.command(b"EHLO " + name)) == text
        assert masked(client.command(f"MAIL FROM:<ann@sender.{ZONE}>".encode())) == FORGED
    for kind in (b"-report", b"-letter"):
        mail.delivered(ALICE, marker + kind)
    wait_until(lambda: f"<ann@sender.{ZONE}>" in told(mx), "it can be explained")
    assert f"sender: spf=fail <ann@sender.{ZONE}>" in told(mx)
    assert "hello: other-address [127.0.0.1]" in told(mx)
    log = mx.log()
    assert f"domain=found spf=fail sender=ann@sender.{ZONE} rip={OUTSIDE}" in log
    assert f"fault=ours hello=guard.example.test rip={OUTSIDE}" in log
    assert "localhost" not in mail.postfix.log()[len(before) :]
    report = json.loads(mx.command("status", "-o", "json"))["senders"]
    assert report["asked"] > 0
    assert (report["spf_faults"], report["spf_stuck"]) == (0, 0)


def told(running: Guard) -> str:
    return running.command("explain", OUTSIDE)
