"""The journal: what is worth telling, bounded, and without a secret."""

from dataclasses import replace

import pytest
from guard_bench import MX_PEER, POLICY, SETTINGS, Bench, client

from gatekeeper import journal as module
from gatekeeper.events import (
    AuthAttempt,
    AuthResult,
    ConnectionOpened,
    HelloAttempt,
    JudgedEvent,
    Listing,
    MailAttempt,
    RcptResult,
    Violation,
    ViolationKind,
)
from gatekeeper.findings import HelloFault, SenderDomain, SpfResult
from gatekeeper.journal import Entry
from gatekeeper.policy.accounts import Knowledge, Standing
from gatekeeper.policy.keys import place
from gatekeeper.secret import Secret
from gatekeeper.settings import Mode, Treatment
from gatekeeper.verdict import PASS, Action, Reason

PASSWORD = "correct horse battery staple"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def told(bench: Bench) -> list[Entry]:
    return bench.guard.journal.of(lambda _: True)


async def test_timeline_tells_failures_refusals_and_successes_in_order(bench: Bench) -> None:
    await bench.outcome(client(), "wrong")
    bench.now += 1
    await bench.attempt(client(), "wrong")
    bench.now += 1
    await bench.outcome(client(), "right", result=AuthResult.SUCCESS)
    assert [entry.what for entry in told(bench)] == ["login: failure", "login", "login: success"]
    assert [entry.verdict.reason for entry in told(bench)] == [
        Reason.NONE,
        Reason.REPEATED_PASSWORD,
        Reason.NONE,
    ]
    assert [entry.at for entry in told(bench)] == [bench.now - 2, bench.now - 1, bench.now]


async def test_a_login_from_a_listed_address_is_told_with_what_lists_say(bench: Bench) -> None:
    listings = (Listing("KEY.authbl.dq.spamhaus.net", ("127.0.0.20",), 1.0, name="AuthBL"),)
    attempt = AuthAttempt("PLAIN", "ann", secret=Secret(b"guess"), listings=listings)
    verdict = await bench.guard.judge(attempt, client())
    assert (verdict.action, verdict.reason) == (Action.DEFER, Reason.AUTH_LISTED)
    [entry] = told(bench)
    assert entry.what == "login, listed: KEY.authbl.dq.spamhaus.net=127.0.0.20(AuthBL)"


async def test_what_happened_at_one_instant_is_told_in_the_order_it_happened(
    bench: Bench,
) -> None:
    for number in range(3):
        await bench.outcome(client(), f"tpyo {number}")
        await bench.outcome(client(), "right", result=AuthResult.SUCCESS)
    whats = [entry.what for entry in told(bench)]
    assert whats == ["login: failure", "login: success"] * 3
    assert len({entry.at for entry in told(bench)}) == 1


async def test_entry_tells_who_where_and_what_it_weighed(bench: Bench) -> None:
    await bench.outcome(client(), "right", "Ann", AuthResult.SUCCESS)
    bench.now += 1
    await bench.outcome(client("198.51.100.7"), "wrong", "Ann")
    entry = told(bench)[-1]
    assert entry.source == place(client("198.51.100.7").entity).source
    assert entry.account == bench.guard.evidence.logins.account_key("ann")
    assert entry.name == "Ann"
    assert entry.listener == "test"
    assert entry.weight == pytest.approx(POLICY.auth_failure_weight)
    assert (entry.score, entry.ban_score) == (entry.weight, POLICY.auth_ban_score)
    assert (entry.standing, entry.knowledge) == (Standing.STRANGER, Knowledge.WRONG)


async def test_what_passes_and_says_nothing_is_not_kept(bench: Bench) -> None:
    await bench.guard.judge(ConnectionOpened(), client())
    assert await bench.attempt(client(), "anything") == PASS
    await bench.outcome(client(), "anything", result=AuthResult.UNAVAILABLE)
    await bench.rcpt(MX_PEER, RcptResult.ACCEPTED)
    assert told(bench) == []


async def test_recipients_violations_and_bans_are_told(bench: Bench) -> None:
    await bench.guard.judge(Violation(ViolationKind.NUL, b""), client())
    for number in range(12):
        await bench.rcpt(MX_PEER, RcptResult.UNKNOWN, f"name{number}")
    bench.ledger.ban(client().entity, client().scope, Reason.OPERATOR)
    await bench.guard.judge(ConnectionOpened(), client())
    whats = [entry.what for entry in told(bench)]
    assert whats[0] == "violation: nul"
    assert "recipient: unknown" in whats
    assert (whats[-1], told(bench)[-1].verdict.action) == ("connection", Action.CLOSE)


async def test_only_what_is_wanted_is_given(bench: Bench) -> None:
    for account in ("ann", "bob", "ann"):
        await bench.outcome(client(), "right", account, AuthResult.SUCCESS)
    ann = bench.guard.evidence.logins.account_key("ann")
    assert len(bench.guard.journal.of(lambda entry: entry.account == ann)) == 2


async def test_flood_of_guesses_does_not_wash_away_what_a_person_did(bench: Bench) -> None:
    await bench.outcome(client(), "right", result=AuthResult.SUCCESS)
    bench.now += 1
    violation = Violation(ViolationKind.PROXY_HEADER, b"")
    for _ in range(module.MAX_REFUSALS + 100):
        await bench.guard.judge(violation, client())
    assert len(told(bench)) == module.MAX_REFUSALS + 1
    assert told(bench)[0].what == "login: success"


@pytest.mark.parametrize("name", ["x" * 65_536, "\r\nann", "\ud800\0"])
async def test_names_are_as_they_came_but_cut(bench: Bench, name: str) -> None:
    await bench.outcome(client(), "wrong", name)
    assert told(bench)[0].name == name[: module.MAX_NAME_CHARACTERS]


async def test_no_secret_and_no_key_of_one_is_in_it(bench: Bench) -> None:
    event = AuthAttempt("PLAIN", "ann", secret=Secret(PASSWORD.encode()))
    credential = bench.guard.evidence.logins.credential(event)
    await bench.outcome(client(), PASSWORD)
    await bench.attempt(client(), PASSWORD)
    await bench.outcome(client(), PASSWORD, result=AuthResult.SUCCESS)
    text = repr(told(bench))
    assert PASSWORD not in text
    assert str(credential.password) not in text
    assert str(credential.pair) not in text


async def test_what_is_only_watched_is_told_as_it_was_carried_out() -> None:
    bench = Bench(replace(SETTINGS, mode=Mode.OBSERVE))
    await bench.guesses(client())
    assert {entry.verdict for entry in told(bench)} == {PASS}


@pytest.mark.parametrize(
    ("event", "what"),
    [
        (
            HelloAttempt("localhost", extended=True, fault=HelloFault.NO_DOT),
            "hello: no-dot localhost",
        ),
        (
            MailAttempt("a@b.example", "x", "", SenderDomain.FOUND, SpfResult.FAIL),
            "sender: spf=fail <a@b.example>",
        ),
        (
            MailAttempt("a@b.example", "x", "", SenderDomain.NULL_MX, SpfResult.NONE),
            "sender: domain=null-mx spf=none <a@b.example>",
        ),
    ],
)
async def test_ehlo_and_senders_are_told_with_what_is_wrong(event: JudgedEvent, what: str) -> None:
    names = (Reason.HELLO, Reason.SENDER_DOMAIN, Reason.SPF_FAIL)
    bench = Bench(replace(SETTINGS, rules=dict.fromkeys(names, Treatment.ENFORCE)))
    await bench.guard.judge(event, MX_PEER)
    [entry] = told(bench)
    assert entry.what == what


async def test_a_long_sender_is_cut() -> None:
    names = (Reason.SENDER_DOMAIN,)
    bench = Bench(replace(SETTINGS, rules=dict.fromkeys(names, Treatment.ENFORCE)))
    sender = "a" * 2000 + "@b.example"
    await bench.guard.judge(MailAttempt(sender, "x", domain=SenderDomain.MISSING), MX_PEER)
    [entry] = told(bench)
    assert len(entry.what) == module.MAX_LISTED_CHARACTERS
