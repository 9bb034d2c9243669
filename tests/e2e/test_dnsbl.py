"""Port 25 with real blocklists behind a real resolver, and Postfix behind the guard."""

import datetime
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from ticket_mask import masked

from .accounts import ALICE, BOB, CAROL, PASSWORDS
from .conftest import Mail
from .dns_servers import FAILING, LONG, SILENT, Dns, dns
from .guard_process import Guard, Service, guard
from .line_client import LineClient
from .processes import free_ports, wait_until

NOT_ACCEPTED = b"554 5.7.1 Mail from your address is not accepted (ref *****)\r\n"
KEY = "abcdefghijklmnopqrstuvwxyz"
DEADLINE_S = 1.0
SLOW_S = 2.0  # what a busy host may add
FAILURES = 5  # clients without an answer that switch a list off


@pytest.fixture(scope="module")
def servers(public: Path) -> Iterator[Dns]:
    if missing := [
        name for name in ("rbldnsd", "unbound") if not shutil.which(f"/usr/sbin/{name}")
    ]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    with dns(public / "dns") as running:
        yield running


@contextmanager
def behind_balancer(
    public: Path, mail: Mail, service: Service, resolver: int, *lists: str, name: str
) -> Iterator[Guard]:
    """A guard whose one listener believes PROXY headers of 127.0.0.1, and which asks `lists`; who
    was put off may come again at once."""
    directory = public / f"dnsbl-{name}"
    (directory / "conf.d").mkdir(parents=True)
    (directory / "conf.d/balancer.toml").write_text(
        f'[[listener]]\nname = "{service.name}"\nproxy_protocol_from = ["127.0.0.1"]\n'
        "[policy]\ngreet_wait = 0\nretry_after = 0.001\n"
    )
    extra = f'[dns]\nservers = ["127.0.0.1:{resolver}"]\ndeadline = {DEADLINE_S}\n'
    extra += '[rules]\nearly-talker = "ignore"\n'  # nobody is waited for here
    extra += "".join(f"[[dnsbl]]\n{one}\n" for one in lists)
    with guard(directory, [service], mail.pairs, extra=extra) as running:
        yield running


@contextmanager
def mx(public: Path, mail: Mail, resolver: int, *lists: str, name: str) -> Iterator[Guard]:
    """A guard on port 25 before Postfix, as `behind_balancer` has it."""
    service = Service("mx", "smtp", "starttls", mail.postfix.mx_haproxy, "proxy-v1")
    with behind_balancer(public, mail, service, resolver, *lists, name=name) as running:
        yield running


def zone(name: str, more: str = "") -> str:
    return f'zone = "{name}"\n{more}'


def connect(running: Guard, source: str, service: str = "mx") -> LineClient:
    """A client from `source`, as a balancer tells of it."""
    client = LineClient(running.ports[service])
    family, to = ("TCP6", "2001:db8::25") if ":" in source else ("TCP4", "192.0.2.25")
    client.send(f"PROXY {family} {source} {to} 40000 25\r\n".encode())
    return client


def greeting(running: Guard, source: str) -> tuple[bytes, float]:
    """The first line a client from `source` hears, and the seconds until then."""
    started = time.monotonic()
    with connect(running, source) as client:
        return masked(client.line()), time.monotonic() - started


def send(running: Guard, source: str, marker: str) -> None:
    """Deliver a message to Alice."""
    with connect(running, source) as client:
        assert client.line().startswith(b"220 ")
        for line, code in (
            ("EHLO mx.example", b"250"),
            ("MAIL FROM:<a@sender.example>", b"250"),
            (f"RCPT TO:<{ALICE}>", b"250"),
            ("DATA", b"354"),
            (f"Subject: {marker}\r\n\r\n{marker}\r\n.", b"250"),
            ("QUIT", b"221"),
        ):
            answer = client.command(line.encode())
            assert answer.startswith(code), answer


def lists_of(running: Guard) -> dict[str, str]:
    """The lists and their states, as `status` has them."""
    report = json.loads(running.command("status", "-o", "json"))["dnsbl"]
    assert isinstance(report, dict)
    return report


def test_listed_clients_are_refused_and_cost_the_backend_nothing(
    public: Path, mail: Mail, servers: Dns
) -> None:
    lists = (
        zone("bl.rbl.example"),
        zone("v6.rbl.example"),
        zone("wl.rbl.example", 'kind = "allow"\nweight = 5'),
    )
    with mx(public, mail, servers.resolver, *lists, name="listed") as running:
        assert greeting(running, "203.0.113.2")[0] == NOT_ACCEPTED
        assert greeting(running, "2001:db8:0:1::9")[0] == NOT_ACCEPTED
        send(running, "203.0.113.3", "from-nowhere-listed")
        send(running, "203.0.113.9", "from-listed-and-allowed")
        send(running, "2001:db8:0:2::9", "from-ipv6")
        wait_until(lambda: "dns-listed" in running.log(), "the refusal is logged")
        assert 'listed="bl.rbl.example=127.0.0.2" rip=203.0.113.2' in running.log()
        told = running.command("explain", "203.0.113.2")
        assert "bl.rbl.example=127.0.0.2" in told
        assert set(lists_of(running).values()) == {"on"}
    for marker in (b"from-nowhere-listed", b"from-listed-and-allowed", b"from-ipv6"):
        mail.delivered(ALICE, marker)
    seen = mail.postfix.log()
    assert "[203.0.113.3]" in seen
    assert "[203.0.113.2]" not in seen


def test_an_answer_that_does_not_fit_a_datagram_is_read(
    public: Path, mail: Mail, servers: Dns
) -> None:
    wanted = zone(LONG, 'codes = "127.0.199.2"')
    with mx(public, mail, servers.resolver, wanted, name="long") as running:
        assert greeting(running, "203.0.113.2")[0] == NOT_ACCEPTED
        assert greeting(running, "203.0.113.3")[0].startswith(b"220 ")


def test_errors_refuse_nobody_and_switch_the_list_off(
    public: Path, mail: Mail, servers: Dns
) -> None:
    why = {
        "mistyped.rbl.example": "mistyped",
        "refused.rbl.example": "public resolver",
        "flooded.rbl.example": "too many queries",
        "uribl.rbl.example": "127.0.0.1",
        "rewritten.rbl.example": "outside 127.0.0.0/8",
    }
    with mx(public, mail, servers.resolver, *map(zone, why), name="errors") as running:
        for number in range(3, 6):
            assert greeting(running, f"203.0.113.{number}")[0].startswith(b"220 ")
        wait_until(lambda: running.log().count("zone-off") == len(why), "all are switched off")
        states = lists_of(running)
    assert running.log().count("zone-off") == len(why)  # told once each
    for name, words in why.items():
        assert states[name].startswith("off (")
        assert words in states[name]


@pytest.mark.parametrize("name", [SILENT, FAILING])
def test_a_list_that_does_not_answer_delays_nobody_for_long_and_loses_no_mail(
    public: Path, mail: Mail, servers: Dns, name: str
) -> None:
    with mx(public, mail, servers.resolver, zone(name), name=name) as running:
        for number in range(3, 3 + FAILURES):
            line, took_s = greeting(running, f"203.0.113.{number}")
            assert line.startswith(b"220 ")
            assert took_s < DEADLINE_S + SLOW_S
        wait_until(lambda: "zone-off" in running.log(), "the list is switched off")
        started = time.monotonic()
        send(running, "203.0.113.100", f"past-{name}")
        assert time.monotonic() - started < DEADLINE_S + SLOW_S
    mail.delivered(ALICE, f"past-{name}".encode())


@pytest.mark.parametrize("kind", ["silent", "not running"])
def test_a_dead_resolver_refuses_nobody(public: Path, mail: Mail, servers: Dns, kind: str) -> None:
    at = servers.black_hole if kind == "silent" else free_ports(1)[0]
    name = f"resolver-{kind.replace(' ', '-')}"
    lists = (zone("bl.rbl.example"), zone("everybody.rbl.example"))
    with mx(public, mail, at, *lists, name=name) as running:
        line, took_s = greeting(running, "203.0.113.2")
        assert line.startswith(b"220 ")
        assert took_s < DEADLINE_S + SLOW_S
        if kind == "silent":
            assert took_s >= DEADLINE_S
        send(running, "203.0.113.2", name)
    mail.delivered(ALICE, name.encode())


def log_in(running: Guard, mail: Mail, source: str, account: str, password: str) -> bytes:
    """What a client from `source` hears of its LOGIN."""
    with connect(running, source, "imaps") as client:
        client.start_tls(mail.authority.client_context())
        assert client.line().startswith(b"* OK ")
        return client.ask(f"a LOGIN {account} {password}".encode())


def test_strangers_whom_a_list_of_guessers_names_are_put_off_and_people_at_home_are_not(
    public: Path, mail: Mail, servers: Dns, tmp_path: Path
) -> None:
    """Nobody with the right password is refused for good, and Dovecot hears of no guess."""
    listed, other, mine = "203.0.113.2", "203.0.113.3", PASSWORDS[BOB]
    log = tmp_path / "mail.log"
    at = datetime.datetime.now(datetime.UTC).isoformat()
    log.write_text(
        f"{at} mx dovecot: imap-login: Login: user=<{CAROL}>, method=PLAIN, rip={listed},"
        " lip=192.0.2.1, mpid=1, TLS, session=<x>\n"
    )
    service = Service("imaps", "imap", "implicit", mail.dovecot.imap_haproxy, "proxy-v2")
    guessers = zone("bl.rbl.example", 'on = "auth"')
    with behind_balancer(
        public, mail, service, servers.resolver, guessers, name="authbl"
    ) as running:
        running.command("import", "dovecot-log", str(log))
        assert b"a OK " in log_in(running, mail, other, ALICE, PASSWORDS[ALICE])
        assert b"a OK " in log_in(running, mail, listed, CAROL, PASSWORDS[CAROL])
        before = len(mail.dovecot.log())
        with ThreadPoolExecutor() as both:  # each is answered as late as Dovecot refuses
            heard = both.map(lambda word: log_in(running, mail, listed, BOB, word), (mine, "guess"))
            assert [line[:20] for line in heard] == [b"a NO [UNAVAILABLE] T"] * 2
        assert BOB not in mail.dovecot.log()[before:]
        assert b"a OK " in log_in(running, mail, listed, BOB, mine)  # as mail programs do
        wait_until(lambda: "auth-listed" in running.log(), "it is logged")
        assert "bl.rbl.example=127.0.0.2" in running.command("explain", listed)


def test_check_tells_which_lists_work(public: Path, mail: Mail, servers: Dns) -> None:
    lists = (
        zone("bl.rbl.example"),
        zone(LONG),
        zone("everybody.rbl.example"),
        zone("refused.rbl.example"),
        zone(FAILING),
        zone("v6.rbl.example"),
        zone("zen.dq.spamhaus.net", f'key = "{KEY}"\npolicy = "observe"'),
    )
    with mx(public, mail, servers.resolver, *lists, name="check") as running:
        found = {
            line.split(": ")[1]: line.split(": ", 2)[2]
            for line in running.command("check", "--dns").splitlines()
            if line.startswith("warning: dnsbl")
        }
        assert "warning: dnsbl" not in running.command("check")
        assert greeting(running, "203.0.113.77")[0] == NOT_ACCEPTED
        assert KEY not in running.log() + running.command("status") + str(found)
    assert set(found) == {
        "dnsbl everybody.rbl.example",
        "dnsbl refused.rbl.example",
        f"dnsbl {FAILING}",
        "dnsbl v6.rbl.example",
        "dnsbl KEY.zen.dq.spamhaus.net",
    }
    assert "127.0.0.1" in found["dnsbl everybody.rbl.example"]
    assert "public resolver" in found["dnsbl refused.rbl.example"]
    assert "SERVFAIL" in found[f"dnsbl {FAILING}"]
    assert "127.0.0.2" in found["dnsbl v6.rbl.example"]
