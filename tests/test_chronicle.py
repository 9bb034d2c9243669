"""The lines operators and scripts read: what each says, and what no user name can make of it."""

import shlex
from dataclasses import replace

import pytest
import trio

from gatekeeper.abc import Lift
from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.chronicle import Chronicle
from gatekeeper.errors import EnforcerError
from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    AuthResult,
    Client,
    ClientListed,
    ConnectionOpened,
    EarlyTalk,
    HelloAttempt,
    JudgedEvent,
    Listing,
    MailAttempt,
    MailProtocol,
    RcptAttempt,
    ReverseDns,
    ReverseState,
    Violation,
    ViolationKind,
)
from gatekeeper.findings import HelloFault, SenderDomain, SpfResult
from gatekeeper.log import Log
from gatekeeper.prefix import Prefix, entity
from gatekeeper.secret import Secret
from gatekeeper.sessions import End, Session
from gatekeeper.verdict import Action, Reason, Verdict

PASSWORD = b"planted-Zq7"
FORGED = "ann rip=192.0.2.1\n2026-01-01 session end=forged rip=192.0.2.2"
CLIENT = Client(
    "203.0.113.9", 50_000, "192.0.2.25", 993, entity("203.0.113.9"), "imaps", MailProtocol.IMAP
)
BAN = Ban(CLIENT.entity, Scope.AUTH, Reason.AUTH_FAILURES, 2, 1000.0, 2200.0, Origin.RULE)


class Lines:
    """A chronicle and the lines it has written."""

    def __init__(self) -> None:
        self._octets = b""
        self._log = Log(self._write, clock=lambda: 0.0)
        self.chronicle = Chronicle(self._log)

    def _write(self, octets: bytes) -> None:
        self._octets += octets

    async def one(self) -> tuple[str, dict[str, str]]:
        """The name and fields of the only line."""
        await self._log.aclose()
        assert self._octets.count(b"\n") == 1
        _, name, *fields = shlex.split(self._octets.decode("ascii"))
        return name, dict(field.split("=", 1) for field in fields)

    async def raw(self) -> bytes:
        await self._log.aclose()
        return self._octets


@pytest.fixture
def lines() -> Lines:
    return Lines()


async def test_a_session_tells_who_how_long_and_why(lines: Lines) -> None:
    session = Session(CLIENT)
    session.authcid, session.end, session.tls_version = "ann", End.UNAVAILABLE, "TLSv1.3"
    session.detail = "127.0.0.1:10143: ECONNREFUSED"
    session.since = trio.current_time() - 2.5
    lines.chronicle.session(session)
    name, fields = await lines.one()
    assert name == "session"
    assert 2.5 <= float(fields.pop("secs")) < 10
    assert fields == {
        "id": session.id,
        "listener": "imaps",
        "user": "ann",
        "tls": "TLSv1.3",
        "end": "backend-unavailable",
        "detail": "127.0.0.1:10143: ECONNREFUSED",
        "rip": "203.0.113.9",
        "rport": "50000",
    }


async def test_a_user_name_forges_neither_a_key_nor_a_line(lines: Lines) -> None:
    outcome = AuthOutcome(AuthAttempt("PLAIN", FORGED, secret=Secret(PASSWORD)), AuthResult.FAILURE)
    verdict = Verdict(Action.DELAY, Reason.TARPIT, 2.04)
    lines.chronicle.verdict(CLIENT, outcome, verdict, True)
    raw = await lines.raw()
    assert raw.count(b"\n") == 1
    assert raw.endswith(b" rip=203.0.113.9\n")
    assert b" rip=192.0.2.1" not in raw.replace(b'"ann rip=192.0.2.1', b"")
    assert PASSWORD not in raw


async def test_a_verdict_tells_whether_it_was_carried_out(lines: Lines) -> None:
    violation = Violation(ViolationKind.BARE_LF, b"500 5.5.2 no\r\n")
    lines.chronicle.verdict(CLIENT, violation, Verdict(Action.CLOSE, Reason.PROTOCOL_ABUSE), False)
    name, fields = await lines.one()
    assert name == "would-verdict"
    assert (fields["action"], fields["reason"], fields["violation"], fields["user"]) == (
        "close",
        "protocol-abuse",
        "bare-lf",
        "",
    )


async def test_a_verdict_is_found_by_its_ticket(lines: Lines) -> None:
    attempt = AuthAttempt("PLAIN", "ann ref=22222", secret=Secret(PASSWORD))
    verdict = Verdict(Action.DEFER, Reason.SUSPECT_SOURCE, ticket="7f3k2")
    lines.chronicle.verdict(CLIENT, attempt, verdict, enforced=True)
    raw = await lines.raw()
    assert b" ref=7f3k2 " in raw
    assert b'user="ann ref=22222"' in raw


async def test_a_session_that_would_have_ended_is_told_with_why(lines: Lines) -> None:
    session = Session(CLIENT)
    session.authcid = FORGED
    lines.chronicle.would_end(session, End.IDLE_LIMIT)
    name, fields = await lines.one()
    assert name == "would-end"
    assert (fields["id"], fields["end"]) == (session.id, "idle-limit")
    assert (fields["listener"], fields["rip"]) == ("imaps", "203.0.113.9")


async def test_a_ban_tells_its_level_time_and_what_it_ended(lines: Lines) -> None:
    lines.chronicle.ban(BAN, 3)
    assert await lines.one() == (
        "ban",
        {
            "reason": "auth-failures",
            "level": "2",
            "for_s": "1200",
            "origin": "rule",
            "sessions_ended": "3",
            "scope": "auth",
            "prefix": "203.0.113.9",
        },
    )


async def test_a_lifted_ban_is_told(lines: Lines) -> None:
    lines.chronicle.ban(Lift(Prefix.parse("2001:db8::/64"), Scope.MX), 0)
    assert await lines.one() == ("ban-lifted", {"scope": "mx", "prefix": "2001:db8::/64"})


async def test_a_fault_is_told_by_place_and_type_but_never_by_its_text(lines: Lines) -> None:
    def work_on(octets: bytes) -> None:
        raise ValueError(octets)

    try:
        work_on(PASSWORD)
    except ValueError as error:
        lines.chronicle.fault(Session(CLIENT), error)
    raw = await lines.raw()
    assert b"session-fault" in raw
    assert b"error=ValueError" in raw
    assert b"work_on:" in raw
    assert PASSWORD not in raw


async def test_health_is_told_in_both_directions(lines: Lines) -> None:
    lines.chronicle.health("store", EnforcerError("the disk is full"))
    assert (await lines.one())[1] == {"part": "store", "state": "the disk is full"}
    again = Lines()
    again.chronicle.health("store", None)
    assert (await again.one())[1] == {"part": "store", "state": "ok"}


async def test_what_the_kernel_will_not_ban_is_told(lines: Lines) -> None:
    lines.chronicle.refused(BAN.prefix, BAN.scope)
    assert await lines.one() == (
        "ban-refused-by-kernel",
        {"scope": "auth", "prefix": "203.0.113.9"},
    )


async def test_overload_is_told(lines: Lines) -> None:
    lines.chronicle.overload("EMFILE")
    assert await lines.one() == ("overload", {"error": "EMFILE"})


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (ConnectionOpened(51, 60), {"of_address": "51", "of_network": "60"}),
        (EarlyTalk(0.25, 14), {"octets": "14", "after_s": "0.200"}),
        (ReverseDns(ReverseState.MISSING), {"reverse": "missing", "name": ""}),
        (
            ReverseDns(ReverseState.UNCONFIRMED, "mx.example"),
            {"reverse": "unconfirmed", "name": "mx.example"},
        ),
    ],
    ids=lambda one: type(one).__name__,
)
async def test_what_failed_before_the_greeting_is_told(
    lines: Lines, event: JudgedEvent, told: dict[str, str]
) -> None:
    verdict = Verdict(Action.REJECT, Reason.EARLY_TALKER)
    lines.chronicle.verdict(CLIENT, event, verdict, enforced=True)
    _, fields = await lines.one()
    assert told.items() <= fields.items()
    assert list(fields)[-1] == "rip"


async def test_a_session_tells_the_clients_name_where_it_is_known(lines: Lines) -> None:
    session = Session(replace(CLIENT, reverse_name="mx.sender.example"))
    lines.chronicle.session(session)
    assert (await lines.one())[1]["name"] == "mx.sender.example"


async def test_a_listed_client_is_told_with_zones_and_codes(lines: Lines) -> None:
    listings = (
        Listing("KEY.zen.dq.spamhaus.net", ("127.0.0.2", "127.0.0.4"), 1.0, name="SBL+XBL"),
        Listing("bl.example", ("127.0.0.9",), 0.5, observed=True),
    )
    verdict = Verdict(Action.REJECT, Reason.DNS_LISTED)
    lines.chronicle.verdict(CLIENT, ClientListed(listings), verdict, enforced=True)
    name, fields = await lines.one()
    assert name == "verdict"
    assert fields["reason"] == "dns-listed"
    assert fields["listed"] == (
        "KEY.zen.dq.spamhaus.net=127.0.0.2,127.0.0.4(SBL+XBL) bl.example=127.0.0.9"
    )
    assert list(fields)[-1] == "rip"


async def test_a_login_from_a_listed_address_is_told_with_it(lines: Lines) -> None:
    listings = (Listing("KEY.authbl.dq.spamhaus.net", ("127.0.0.20",), 1.0, name="AuthBL"),)
    attempt = AuthAttempt("PLAIN", "ann", secret=Secret(PASSWORD), listings=listings)
    lines.chronicle.verdict(CLIENT, attempt, Verdict(Action.DEFER, Reason.AUTH_LISTED), True)
    _, fields = await lines.one()
    assert fields["listed"] == "KEY.authbl.dq.spamhaus.net=127.0.0.20(AuthBL)"
    assert fields["user"] == "ann"


@pytest.mark.parametrize(
    ("why", "name", "told"),
    [("too many queries", "zone-off", "too many queries"), ("", "zone-on", "")],
)
async def test_a_list_that_is_switched_off_and_on(
    lines: Lines, why: str, name: str, told: str
) -> None:
    lines.chronicle.zone("zen.spamhaus.org", why)
    found, fields = await lines.one()
    assert (found, fields["zone"], fields.get("why", "")) == (name, "zen.spamhaus.org", told)


async def test_a_recipient_refused_by_the_files_of_his_domain_is_told(lines: Lines) -> None:
    attempt = RcptAttempt("eve@example.org rip=1", reverse_path="bob@elsewhere.example")
    verdict = Verdict(Action.REJECT, Reason.UNKNOWN_USER)
    lines.chronicle.verdict(CLIENT, attempt, verdict, enforced=True)
    _, fields = await lines.one()
    assert (fields["sender"], fields["recipient"]) == (
        "bob@elsewhere.example",
        "eve@example.org rip=1",
    )
    assert list(fields)[-1] == "rip"


async def test_others_recipients_are_not_in_the_log(lines: Lines) -> None:
    verdict = Verdict(Action.DEFER, Reason.RECIPIENT_RATE)
    lines.chronicle.verdict(CLIENT, RcptAttempt("eve@example.org"), verdict, enforced=True)
    _, fields = await lines.one()
    assert not {"sender", "recipient"} & fields.keys()


@pytest.mark.parametrize(
    ("why", "told"), [("permission denied", "permission denied"), ("", "mended")]
)
async def test_a_part_of_the_domains_files_is_of_no_use_and_mended(
    lines: Lines, why: str, told: str
) -> None:
    lines.chronicle.domains("/etc/gatekeeper/domains/example.org/users", why)
    path = "/etc/gatekeeper/domains/example.org/users"
    assert await lines.one() == ("domains", {"why": told, "path": path})


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (
            HelloAttempt("[127.0.0.1] rip=1", extended=True, fault=HelloFault.OTHER_ADDRESS),
            {"fault": "other-address", "hello": "[127.0.0.1] rip=1"},
        ),
        (
            MailAttempt("a b@c.example", "x", "", SenderDomain.FOUND, SpfResult.FAIL),
            {"domain": "found", "spf": "fail", "sender": "a b@c.example"},
        ),
        (
            MailAttempt("a@c.example", "x"),
            {"domain": "-", "spf": "-", "sender": "a@c.example"},
        ),
    ],
)
async def test_what_is_wrong_with_ehlo_or_a_sender_is_told(
    lines: Lines, event: JudgedEvent, told: dict[str, str]
) -> None:
    lines.chronicle.verdict(CLIENT, event, Verdict(Action.REJECT, Reason.HELLO), enforced=True)
    _, fields = await lines.one()
    assert fields.pop("rip") == "203.0.113.9"
    names = ("fault", "hello", "domain", "spf", "sender")
    assert {name: fields[name] for name in names if name in fields} == told
