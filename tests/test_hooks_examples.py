"""The hooks in docs/hooks/ do what they say: each is loaded from there, with paths of a test."""

import re
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from guard_bench import attempt, client
from hooks_rig import HooksRig, hooks_rig, write

from gatekeeper.events import (
    Client,
    ConnectionOpened,
    HelloAttempt,
    MailAttempt,
    MailProtocol,
    RcptAttempt,
)
from gatekeeper.hooking import LOAD_S
from gatekeeper.hooks import answers, containing, health
from gatekeeper.hooks.function import EVENTS
from gatekeeper.hooks.loading import HooksError
from gatekeeper.hooks.words import MAX_TAGS
from gatekeeper.records import RecordType
from gatekeeper.settings import HookSettings
from gatekeeper.verdict import PASS, Action, Verdict

EXAMPLES = Path(__file__).parent.parent / "docs" / "hooks"
PEER = client("192.0.2.7", MailProtocol.SMTP)
MINUTE_S, DAY_S = 60.0, 86400.0


def install(rig: HooksRig, name: str, **constants: object) -> None:
    """Have an example asked, with other values for its constants."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    for constant, value in constants.items():
        text, count = re.subn(rf"(?m)^{constant} = .*$", f"{constant} = {value!r}", text)
        assert count == 1, f"{name} has no {constant}"
    rig.install(text, name, deadline_s=20.0)


def no_faults(rig: HooksRig) -> bool:
    return rig.said == [] and not any(row["failed"] for row in rig.judge.rows())


# -- greylisting ---------------------------------------------------------------------------------


def rcpt(sender: str = "bob@elsewhere.example", recipient: str = "ann@example.org") -> RcptAttempt:
    return RcptAttempt(recipient, "", sender)


async def test_greylisting(tmp_path: Path) -> None:
    async with hooks_rig(tmp_path) as rig:
        install(rig, "greylisting.py", DATABASE=str(tmp_path / "greylist.db"))

        async def put_off(event: RcptAttempt, who: Client = PEER) -> bool:
            verdict = await rig.ask(event, who)
            assert verdict.action in {Action.PASS, Action.DEFER}
            assert verdict.action is Action.PASS or verdict.text.startswith("4.2.0 Greylisted")
            return verdict.action is Action.DEFER

        assert await put_off(rcpt())
        assert await put_off(rcpt()), "too soon"
        rig.bench.now += 6 * MINUTE_S
        neighbour = client("192.0.2.99", MailProtocol.SMTP)
        assert not await put_off(rcpt("BOB@elsewhere.example"), neighbour)
        assert not await put_off(rcpt()), "it is known now"
        assert await put_off(rcpt("eve@elsewhere.example")), "another sender"
        assert await put_off(rcpt(recipient="eve@example.org")), "another recipient"
        assert await put_off(rcpt(), client("192.0.3.7", MailProtocol.SMTP)), "another network"
        assert not await put_off(rcpt("")), "a bounce"
        assert not await put_off(rcpt(), client("198.51.100.1")), "whoever submits"
        for _ in range(40):  # what comes every day is known for ever
            rig.bench.now += 1.5 * DAY_S
            assert not await put_off(rcpt())
        rig.bench.now += 36 * DAY_S
        assert await put_off(rcpt()), "it was forgotten"
        rig.bench.now += 3 * DAY_S
        assert await put_off(rcpt()), "it came again too late"
        assert no_faults(rig)


async def test_greylisting_knows_lists_and_outlives_a_restart(tmp_path: Path) -> None:
    async with hooks_rig(tmp_path) as rig:
        v6 = client("2001:db8:1:2::7", MailProtocol.SMTP)
        for expected in (Action.DEFER, Action.PASS):
            install(rig, "greylisting.py", DATABASE=str(tmp_path / "greylist.db"))
            number = 17 if expected is Action.DEFER else 18
            event = rcpt(f"list-bounces+{number}=ann@lists.example")
            assert (await rig.ask(event, v6)).action is expected
            rig.bench.now += 6 * MINUTE_S
            v6 = client("2001:db8:1:2:ffff::8", MailProtocol.SMTP)
        assert no_faults(rig)


async def test_greylisting_is_bounded_and_many_at_once_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "greylist.db"
    async with hooks_rig(tmp_path) as rig:
        install(rig, "greylisting.py", DATABASE=str(path), MAX_ROWS=10, PRUNE_EACH=50)

        async def one(number: int) -> None:
            name = chr(ord("a") + number % 10) * (1 + number // 10)
            assert (await rig.ask(rcpt(f"{name}@x.example"), PEER)).action is Action.DEFER

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(one, number)
        assert no_faults(rig)
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM seen").fetchone()[0] < 70
    database.close()


# -- countries -----------------------------------------------------------------------------------


async def test_countries_by_account(tmp_path: Path) -> None:
    prefixes = write(
        tmp_path / "prefixes.csv",
        "# registries\n198.51.0.0/16,FR\n198.51.100.0/24,de\n2001:db8::/32,AT\n\n",
    )
    accounts = write(tmp_path / "accounts.csv", "Ann@example.org,DE AT\nbob@example.org,\n")
    async with hooks_rig(tmp_path) as rig:
        install(rig, "country.py", PREFIXES=str(prefixes), ACCOUNTS=str(accounts))

        async def login(account: str, address: str) -> tuple[Action, str, frozenset[str]]:
            who = client(address)
            verdict = await rig.ask(attempt("secret", account), who)
            return verdict.action, verdict.text, who.marks.tags

        home, passed = frozenset[str](), Action.PASS
        assert await login("ann@example.org", "198.51.100.9") == (passed, "", home)
        assert await login("ANN@example.org", "2001:db8::9") == (passed, "", home)
        refused = (Action.REJECT, "", frozenset({"country.FR"}))
        assert await login("ann@EXAMPLE.org", "198.51.7.9") == refused
        assert await login("ann@example.org", "203.0.113.9") == (passed, "", home)
        assert await login("carol@example.org", "198.51.7.9") == (passed, "", home)
        assert (await login("bob@example.org", "198.51.7.9"))[0] is Action.REJECT
        assert no_faults(rig)


def test_a_table_of_countries_with_a_slip_is_named(tmp_path: Path) -> None:
    prefixes = write(tmp_path / "prefixes.csv", "198.51.100.7/24,DE\n")
    rig = HooksRig(tmp_path)

    with pytest.raises(HooksError, match=r"country.py:\d+: ValueError: 198.51.100.7/24 has"):
        install(rig, "country.py", PREFIXES=str(prefixes), ACCOUNTS="/dev/null")


# -- HELO ----------------------------------------------------------------------------------------


async def test_the_helo_allow_list(tmp_path: Path) -> None:
    names = write(tmp_path / "names", "# ours\nMX1.partner.example\n*.other.example\n")
    partner = replace(PEER, listener="partners")
    async with hooks_rig(tmp_path) as rig:
        install(rig, "helo_allow_list.py", NAMES=str(names))
        for name in ("mx1.partner.example", "a.b.other.example", "mx2.partner.example"):
            rig.resolver.put(name, "192.0.2.7")
        rig.resolver.failures["c.other.example"] = "SERVFAIL"

        async def said(name: str, who: Client = partner) -> Verdict:
            return await rig.ask(HelloAttempt(name, True), who)

        assert await said("mx1.Partner.example.") == PASS
        assert await said("a.b.other.example") == PASS
        assert (await said("mx2.partner.example")).action is Action.REJECT
        assert (await said("other.example")).action is Action.REJECT
        stranger = replace(client("192.0.2.8", MailProtocol.SMTP), listener="partners")
        spoofed = await said("mx1.partner.example", stranger)
        assert (spoofed.action, spoofed.text) == (
            Action.REJECT,
            "5.7.1 Your EHLO is not the name of your address",
        )
        assert (await said("c.other.example")).action is Action.DEFER
        assert await said("anything.example", PEER) == PASS, "another listener"
        assert (await said("[192.0.2.7]")).action is Action.REJECT
        assert no_faults(rig)


# -- tagging -------------------------------------------------------------------------------------


async def test_tagging(tmp_path: Path) -> None:
    async with hooks_rig(tmp_path) as rig:
        install(rig, "tagging.py")
        rig.resolver.put("good.example", "10 mx.good.example", type_=RecordType.MX)
        rig.resolver.failures["silent.example"] = "SERVFAIL"

        async def session(helo: str, sender: str, name: str | None) -> tuple[set[str], Verdict]:
            who = replace(client("192.0.2.7", MailProtocol.SMTP), reverse_name=name)
            assert await rig.ask(HelloAttempt(helo, True), who) == PASS
            assert await rig.ask(MailAttempt(sender), who) == PASS
            return set(who.marks.tags), await rig.ask(rcpt(sender), who)

        assert await session("mx.good.example", "bob@good.example", None) == (set(), PASS)
        tags, verdict = await session("[192.0.2.7]", "bob@bad.example", "mx.good.example")
        assert tags == {"helo.address", "sender.no-mx"}
        assert (verdict.action, verdict.delay_s) == (Action.DELAY, 3.0)
        tags, verdict = await session("dsl.x.example", "a@bad.example", "7-2-0-192.isp.example")
        assert tags == {"helo.line", "name.line", "sender.no-mx"}
        assert verdict.action is Action.DEFER
        assert (await session("mx.good.example", "bob@silent.example", None))[0] == set()
        assert (await session("mx.good.example", "", None))[0] == set()
        assert no_faults(rig)


# -- a blocklist ---------------------------------------------------------------------------------


async def test_the_blocklist_in_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "blocklist.db"
    text = (EXAMPLES / "blocklist.py").read_text(encoding="utf-8")
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript(
        "\n".join(re.findall(r"^    ((?:CREATE|INSERT) .*;)$", text, re.MULTILINE))
    )
    database.execute("INSERT INTO blocked VALUES ('2001:db8:1:2::/64', 'a house')")
    async with hooks_rig(tmp_path) as rig:
        install(rig, "blocklist.py", DATABASE=str(path))

        async def refused(address: str) -> bool:
            who = client(address)
            verdict = await rig.ask(ConnectionOpened(), who)
            assert who.marks.tags == ({"blocklist"} if verdict is not PASS else set())
            return verdict.action is Action.REJECT

        assert await refused("192.0.2.77")
        assert await refused("2001:db8:1:2::9")
        assert not await refused("2001:db8:1:3::9")
        assert not await refused("198.51.100.7")
        database.execute("INSERT INTO blocked VALUES ('198.51.100.7/32', 'asks for it')")
        assert await refused("198.51.100.7"), "a new row counts at once"
        assert no_faults(rig)
        database.execute("BEGIN EXCLUSIVE")  # somebody writes, for longer than a client waits
        assert not await refused("192.0.2.77")
        assert "OperationalError: database is locked" in rig.report(
            "blocklist.py:connection_opened"
        )
    database.close()


# -- docs/hooks.md -------------------------------------------------------------------------------

DOCUMENT = (EXAMPLES.parent / "hooks.md").read_text(encoding="utf-8")


async def test_the_first_example_of_the_document_works(tmp_path: Path) -> None:
    (text,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    async with hooks_rig(tmp_path) as rig:
        rig.install(text)
        verdict = await rig.ask(HelloAttempt("MAIL.example.org", True), PEER)
        assert (verdict.action, verdict.text) == (Action.REJECT, "5.7.1 That is our own name")
        assert await rig.ask(HelloAttempt("mx.example.net", True), PEER) == PASS


def test_the_document_names_every_function_and_example_and_the_bounds() -> None:
    functions = re.findall(r"^\| `(\w+)` \| [^|]* \| [^|]* \| [^|]* \|$", DOCUMENT, re.MULTILINE)
    assert functions[: len(EVENTS)] == list(EVENTS)
    linked = re.findall(r"\]\(hooks/(\w+\.py)\)", DOCUMENT)
    assert sorted(linked) == sorted(path.name for path in EXAMPLES.glob("*.py"))
    for text in (
        f"{answers.MAX_TEXT_CHARACTERS} characters at most",
        f"{answers.MAX_DELAY_S:g} seconds at most",
        f"{MAX_TAGS} of up to 64 letters",
        f"{containing.MAX_THREADS} of a hook at once",
        f"with {containing.MAX_STUCK} of these a hook is off",
        f"with {containing.MAX_STUCK_ALL} of all hooks",
        f"takes more than {containing.QUICK_S * 1000:g} ms three times within a hundred calls",
        f"for {LOAD_S:g} seconds at most on a reload",
        f"`deadline`, {HookSettings().deadline_s:g} seconds",
    ):
        assert text in DOCUMENT
    assert (containing.SLOW_ONES, containing.SLOW_AMONG) == (3, 100)
    assert (health.LATE_IN_A_ROW, health.REST_S) == (10, 30)
