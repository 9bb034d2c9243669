"""The guard with hooks around it: their opinions are a Rule's, and nothing else is changed."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing
from guard_bench import GUESSES, OFFICE, SETTINGS, Bench, attempt, client
from hooks_rig import hooks_rig

from gatekeeper.ban import Scope
from gatekeeper.events import (
    AuthOutcome,
    AuthResult,
    ConnectionOpened,
    HelloAttempt,
    JudgedEvent,
    MailAttempt,
    MailProtocol,
    MessageEnd,
    RcptAttempt,
    Violation,
    ViolationKind,
)
from gatekeeper.hooks.function import EVENTS
from gatekeeper.prefix import Prefix
from gatekeeper.settings import Mode, OnError, Treatment
from gatekeeper.verdict import PASS, Action, Reason, Verdict

PEER = client(protocol=MailProtocol.SMTP)
WHO = client()
HELLO = HelloAttempt("client.example", True)
RCPT = RcptAttempt("ann@example.org", "", "bob@elsewhere.example")
EACH: dict[str, JudgedEvent] = {
    "connection_opened": ConnectionOpened(),
    "helo": HELLO,
    "mail": MailAttempt("bob@elsewhere.example", "client.example"),
    "rcpt": RCPT,
    "auth_attempt": attempt("secret"),
    "auth_outcome": AuthOutcome(attempt("secret"), AuthResult.SUCCESS),
    "message_end": MessageEnd("bob@elsewhere.example", 1, 100),
}
REFUSES = "from gatekeeper.hooks import *\ndef {name}(event, facts): return refuse('no: {name}')"


@pytest.mark.parametrize("name", EVENTS)
async def test_each_hook_is_asked_about_its_own_events(tmp_path: Path, name: str) -> None:
    async with hooks_rig(tmp_path) as rig:
        rig.install(REFUSES.format(name=name))
        for other, event in EACH.items():
            verdict = await rig.ask(event, WHO)
            wanted = (Action.REJECT, f"no: {name}") if other == name else (Action.PASS, "")
            assert (verdict.action, verdict.text) == wanted


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("None", PASS),
        ("delay(1.5)", Verdict(Action.DELAY, Reason.HOOK, 1.5, source="hooks.py:helo")),
        ("delay(1e9)", Verdict(Action.DELAY, Reason.HOOK, 60.0, source="hooks.py:helo")),
        ("defer('x')", Verdict(Action.DEFER, Reason.HOOK, text="x", source="hooks.py:helo")),
        ("refuse()", Verdict(Action.REJECT, Reason.HOOK, source="hooks.py:helo")),
        ("close('x')", Verdict(Action.CLOSE, Reason.HOOK, text="x", source="hooks.py:helo")),
        ("Verdict(Action.PASS, None)", PASS),
        (
            "Verdict(Action.DECOY, 'mine')",
            Verdict(Action.DECOY, Reason.HOOK, source="hooks.py:helo"),
        ),
    ],
)
async def test_an_answer_is_the_verdict(tmp_path: Path, answer: str, verdict: Verdict) -> None:
    async with hooks_rig(tmp_path) as rig:
        rig.install(f"from gatekeeper.hooks import *\ndef helo(e, f): return {answer}")
        assert await rig.ask(HELLO, PEER) == verdict


async def test_a_ban_is_made_as_a_rules_is(tmp_path: Path) -> None:
    async with hooks_rig(tmp_path) as rig:
        rig.install(
            "from gatekeeper.hooks import *\ndef helo(e, f): return close(ban=True, ban_s=99)"
        )
        assert (await rig.ask(HELLO, PEER)).ban
        (ban,) = rig.bench.bans()
        assert (ban.prefix, ban.scope, ban.reason) == (PEER.entity, Scope.MX, Reason.HOOK)
        assert ban.until - ban.since == 99
        assert (await rig.ask(HELLO, PEER)).reason is Reason.BANNED
        assert rig.report("hooks.py:helo") == "thread, ok, 1 calls", "the banned are not shown"


async def test_allowed_clients_are_not_shown(tmp_path: Path) -> None:
    settings = replace(SETTINGS, allow=(Prefix.parse("203.0.113.0/24"),))
    async with hooks_rig(tmp_path, settings) as rig:
        rig.install(REFUSES.format(name="helo"))
        assert await rig.ask(HELLO, PEER) == PASS


@pytest.mark.parametrize(
    "changes", [{"mode": Mode.OBSERVE}, {"rules": {Reason.HOOK: Treatment.OBSERVE}}]
)
async def test_hooks_only_watch_where_they_are_to(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    async with hooks_rig(tmp_path, settings) as rig:
        rig.install(REFUSES.format(name="helo"))
        assert await rig.ask(HELLO, PEER) == PASS
        assert rig.bench.guard.would_have == {Reason.HOOK: 1}
        assert [(verdict.text, done) for verdict, done in rig.bench.heard] == [("no: helo", False)]


async def test_one_opinion_may_only_watch(tmp_path: Path) -> None:
    async with hooks_rig(tmp_path) as rig:
        text = "from dataclasses import replace\nfrom gatekeeper.hooks import *\n"
        rig.install(text + "def helo(e, f): return replace(refuse(), watched=True)")
        assert await rig.ask(HELLO, PEER) == PASS
        assert rig.bench.guard.would_have == {Reason.HOOK: 1}


async def test_hooks_that_are_ignored_say_nothing(tmp_path: Path) -> None:
    settings = replace(SETTINGS, rules={Reason.HOOK: Treatment.IGNORE})
    async with hooks_rig(tmp_path, settings) as rig:
        rig.install(REFUSES.format(name="helo"))
        assert await rig.ask(HELLO, PEER) == PASS
        assert not rig.bench.guard.would_have
        assert rig.report("hooks.py:helo") == "thread, ok, 0 calls", "nor are they waited for"


@pytest.mark.parametrize("answer", ["defer()", "refuse('no')", "close()"])
async def test_a_refused_login_counts_as_a_rules_does(tmp_path: Path, answer: str) -> None:
    async with hooks_rig(tmp_path) as rig:
        rig.install(f"from gatekeeper.hooks import *\ndef auth_attempt(e, f): return {answer}")
        for number in range(4 * GUESSES):
            last = await rig.ask(attempt(f"guess {number}"), WHO)
        assert rig.bench.bans(), "whoever guesses on is banned, though the backend hears nothing"
        assert last.reason is Reason.BANNED


async def test_a_login_put_off_for_a_hooks_fault_is_no_guess(tmp_path: Path) -> None:
    async with hooks_rig(tmp_path) as rig:
        rig.install("def auth_attempt(e, f): 1/0", on_error=OnError.DEFER)
        for number in range(4 * GUESSES):
            verdict = await rig.ask(attempt(f"guess {number}"), WHO)
            assert (verdict.action, verdict.reason) == (Action.DEFER, Reason.HOOK_FAILED)
        assert rig.bench.score(WHO) == 0


async def test_what_a_hook_sees_counts_nothing_and_is_no_secret(tmp_path: Path) -> None:
    text = """
        from gatekeeper.hooks import *
        seen = []

        async def auth_attempt(event, facts, context):
            seen.append((event, facts, context))
        auth_outcome = rcpt = auth_attempt
    """
    plain = Bench()
    async with hooks_rig(tmp_path) as rig:
        rig.install(text)
        for number in range(GUESSES - 1):
            for event in (
                attempt(f"guess {number}"),
                AuthOutcome(attempt(f"guess {number}"), AuthResult.FAILURE),
                RcptAttempt(f"{number}@example.org", "ann", "x@example.org"),
            ):
                assert await rig.ask(event, WHO) == await plain.guard.judge(event, WHO)
        assert rig.bench.score(WHO) == plain.score(WHO) > 0
        hook = rig.judge._by_kind[RcptAttempt][0].function.call
        seen = hook.__globals__["seen"]
        assert len(seen) == 3 * (GUESSES - 1)
        events = [event for event, _, _ in seen]
        secrets = [getattr(getattr(event, "attempt", event), "secret", None) for event in events]
        assert set(secrets) == {None}
        facts = seen[-2][1]
        assert facts.score == facts.score_before == GUESSES - 2
        assert facts.login is not None
        assert seen[-1][2].client is WHO
        assert seen[-1][2].now == rig.bench.now


async def test_tags_live_with_the_session(tmp_path: Path) -> None:
    one = """
        from gatekeeper.hooks import *
        def helo(event, facts, context):
            context.tag("odd.helo")
            context.tag("odd.helo")
    """
    two = """
        from gatekeeper.hooks import *
        @quick
        def helo(event, facts):
            return delay(1) if "odd.helo" in facts.tags else None
        async def rcpt(event, facts):
            return refuse(",".join(sorted(facts.tags)))
    """
    async with hooks_rig(tmp_path) as rig:
        rig.install(one, "one.py")
        rig.install(two, "two.py")
        rig.install_file(tmp_path / "one.py", tmp_path / "two.py")
        assert (await rig.ask(HELLO, PEER)).action is Action.DELAY, "the second sees the first's"
        renamed = replace(PEER, reverse_name="mx.example")  # a session learns it on its way
        assert (await rig.ask(RCPT, renamed)).text == "odd.helo"
        assert (await rig.ask(RCPT, client(protocol=MailProtocol.SMTP))).text == ""


@pytest.mark.parametrize(
    "body",
    [
        "context.tag('a b')",
        "context.tag('')",
        "context.tag('-')",
        "context.tag('x' * 65)",
        "context.tag('a\\n')",
        "context.tag(None)",
        "for each in range(17): context.tag(f't{each}')",
    ],
)
async def test_tags_are_bounded_and_those_of_a_failed_call_are_not_kept(
    tmp_path: Path, body: str
) -> None:
    async with hooks_rig(tmp_path) as rig:
        who = client()
        text = f"def helo(event, facts, context):\n    context.tag('fine')\n    {body}"
        rig.install(text)
        assert await rig.ask(HELLO, who) == PASS
        assert "Error: " in rig.report("hooks.py:helo")
        assert who.marks.tags == frozenset()


async def test_dns_is_asked_through_the_shared_resolver(tmp_path: Path) -> None:
    text = """
        from gatekeeper.hooks import *
        async def helo(event, facts, context):
            try:
                found = await context.resolve(event.domain + ".", "txt")
            except ResolverError as error:
                return defer(str(error))
            return refuse(repr(found))
    """
    async with hooks_rig(tmp_path) as rig:
        rig.install(text)
        from gatekeeper.records import RecordType

        rig.resolver.put("client.example", "one", "two", type_=RecordType.TXT)
        assert (await rig.ask(HelloAttempt("CLIENT.example", True), PEER)).text == "['one', 'two']"
        assert (await rig.ask(HelloAttempt("other.example", True), PEER)).text == "[]"
        rig.resolver.failures["bad.example"] = "SERVFAIL"
        assert (await rig.ask(HelloAttempt("bad.example", True), PEER)).text == "SERVFAIL"


@pytest.mark.parametrize("type_", ["A", "ANY", "x\\r\\n"])
async def test_a_plain_hook_cannot_wait_for_dns(tmp_path: Path, type_: str) -> None:
    async with hooks_rig(tmp_path) as rig:
        rig.install(f"def helo(e, f, context): context.resolve('a.example', '{type_}')")
        assert await rig.ask(HELLO, PEER) == PASS
        assert "context.resolve is for async hooks: write async def" in rig.report("hooks.py:helo")


async def test_a_silent_resolver_costs_the_deadline_and_no_more(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with hooks_rig(tmp_path) as rig:
        rig.resolver.silent.add("a.example")
        text = "async def helo(e, f, context): await context.resolve('a.example')"
        rig.install(text, deadline_s=0.5)
        began = trio.current_time()
        assert await rig.ask(HELLO, PEER) == PASS
        assert trio.current_time() - began == pytest.approx(0.5)


async def test_after_one_that_closes_the_others_are_not_asked(tmp_path: Path) -> None:
    async with hooks_rig(tmp_path) as rig:
        rig.install("from gatekeeper.hooks import *\ndef helo(e, f): return close()", "one.py")
        rig.install("def helo(e, f): 1/0", "two.py")
        rig.install_file(tmp_path / "one.py", tmp_path / "two.py")
        assert (await rig.ask(HELLO, PEER)).action is Action.CLOSE
        assert rig.report("two.py:helo") == "thread, ok, 0 calls"


async def test_the_strongest_opinion_wins_and_keeps_its_words(tmp_path: Path) -> None:
    async with hooks_rig(tmp_path) as rig:
        rig.install("from gatekeeper.hooks import *\ndef helo(e, f): return refuse('two')", "b.py")
        rig.install("from gatekeeper.hooks import *\ndef helo(e, f): return delay(3)", "a.py")
        rig.install_file(tmp_path / "a.py", tmp_path / "b.py")
        verdict = await rig.ask(HELLO, PEER)
        assert (verdict.action, verdict.delay_s, verdict.text) == (Action.REJECT, 3, "two")
        assert verdict.source == "b.py:helo"


async def test_what_no_hook_is_about_never_yields(tmp_path: Path) -> None:
    async with hooks_rig(tmp_path) as rig:
        rig.install(REFUSES.format(name="helo"))
        with trio.testing.assert_no_checkpoints():
            await rig.ask(attempt("x"), OFFICE)
            await rig.ask(Violation(ViolationKind.NUL, b""), OFFICE)
