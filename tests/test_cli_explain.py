"""`gatekeeper explain`: the words a tired operator reads, over a real guard."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from control_rig import DEFAULTS, HOME, Rig, served
from guard_bench import MX_PEER, client

from gatekeeper.ban import Origin, Scope
from gatekeeper.cli.explain_text import FIRST_LINES, MOST_LINES
from gatekeeper.cli.reasons import HELD_BECAUSE, ORIGINS, SCOPES, WHY, done, what, whose, why
from gatekeeper.events import RcptResult, Violation, ViolationKind
from gatekeeper.policy.accounts import Knowledge, Standing
from gatekeeper.prefix import Prefix
from gatekeeper.settings import Mode, Treatment
from gatekeeper.verdict import Action, Reason

ATTACKER = client()


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


async def explained(rig: Rig, word: str) -> list[str]:
    result = await rig.run("explain", word)
    assert result.exit_code == 0, result.stderr
    return result.output.splitlines()


async def guess_until_banned(rig: Rig) -> None:
    for number in range(30):
        if rig.bench.bans():
            return
        await rig.login(ATTACKER, f"guess {number}")
    raise AssertionError("a guesser is banned")


async def test_banned_address_is_explained_whole(tmp_path: Path) -> None:
    """All of it: what an operator gets, word by word."""
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right")
        await guess_until_banned(rig)
        await rig.hold()
        rig.bench.now += 158
        lines = await explained(rig, ATTACKER.address)
    assert lines[:12] == [
        "203.0.113.9 is banned from the login ports for 7m12s more: auth-failures, level 1",
        "",
        "Bans",
        "  203.0.113.9 from the login ports, by a rule, level 1",
        "    from 22:15:00 until 22:25:00, 7m12s more; the kernel holds it for 7m12s more",
        "    auth-failures: too many wrong passwords came from this address",
        "",
        "Scores",
        "  OF               SCORE  BANNED AT  SUSPECT AT",
        "  the login ports  5      10         6",
        "  port 25          0      20         -",
        "  203.0.113.0/24   9.9    -          40",
    ]
    timeline = lines[lines.index("What happened, oldest first") + 1 :]
    assert [" ".join(line.split()) for line in timeline[:4]] == [
        "TIME WHAT ACCOUNT SCORE WHOSE RULE DONE",
        "22:13:30 test: wrong password ann +1 → 1 of 10 stranger, not its password - passed on",
        "22:13:40 test: wrong password ann +1 → 2 of 10 stranger, not its password - passed on",
        "22:13:50 test: wrong password ann +1 → 3 of 10 stranger, not its password tarpit"
        " passed on, 1s late",
    ]
    assert " ".join(timeline[10].split()) == (
        "22:15:00 test: login ann +1 → 10 of 10 stranger, not its password auth-failures banned"
    )
    assert lines[-3:] == [
        "To undo it",
        "  gatekeeper ban del 203.0.113.9",
        "To leave it alone for good: put 203.0.113.9 into allow and send SIGHUP",
    ]


async def test_address_at_home_is_explained(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        for account in ("ann", "bob"):
            await rig.login(HOME, "right", account)
        for number in range(8):
            await rig.login(client(HOME.address), f"wrong {number}", "carol")
        lines = await explained(rig, HOME.address)
    assert lines[0] == ("198.51.100.7 is not banned; score 8 of 16 (2 accounts at home there)")
    assert "guesses make no ban here" in "\n".join(lines)


async def test_suspect_address_is_told_to_be_one(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        for number in range(7):
            await rig.login(ATTACKER, f"guess {number}")
        first, *rest = await explained(rig, ATTACKER.address)
    assert re.fullmatch(
        r"203\.0\.113\.9 is not banned; score \S+ of 10; strangers there are put off", first
    )
    assert any(line.startswith("  suspect-source: ") for line in rest)


async def test_bans_of_both_scopes_and_of_a_network_are_in_the_answer(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        ledger = rig.bench.ledger
        network = Prefix.parse("203.0.113.0/24")
        ledger.ban(ATTACKER.entity, Scope.AUTH, Reason.AUTH_FAILURES, seconds=60)
        ledger.ban(network, Scope.MX, Reason.OPERATOR, origin=Origin.OPERATOR, note="a\x1b[2J")
        lines = await explained(rig, ATTACKER.address)
        of_network = await explained(rig, "203.0.113.0/24")
    assert lines[0] == (
        "203.0.113.9 is banned from the login ports for 1m more: auth-failures, level 1;"
        " from port 25 as part of 203.0.113.0/24 for 10m more: operator, level 1"
    )
    assert "    a\\x1b[2J" in lines
    assert of_network[0] == (
        "203.0.113.0/24 is banned from port 25 for 10m more: operator, level 1"
    )


async def test_past_ban_and_what_the_kernel_says_are_told(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await guess_until_banned(rig)
        assert any(
            "the kernel does not hold it" in line for line in await explained(rig, "203.0.113.9")
        )
        rig.enforcer.fails = True
        text = "\n".join(await explained(rig, ATTACKER.address))
        assert "what the kernel holds is not known: the kernel process is gone" in text
        rig.enforcer.fails = False
        rig.bench.now = rig.bench.bans()[0].until
        lines = await explained(rig, ATTACKER.address)
    (over,) = [line for line in lines if line.startswith("    from ")]
    assert over.endswith(", over; the next one lasts longer")
    assert "To undo it" not in lines


async def test_ban_only_the_kernel_holds_is_told(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        rig.bench.ledger.ban(ATTACKER.entity, Scope.AUTH, Reason.OPERATOR, seconds=60)
        await rig.hold()
        rig.bench.ledger.lift(ATTACKER.entity, Scope.AUTH)
        lines = await explained(rig, ATTACKER.address)
    assert lines[0] == (
        "203.0.113.9 is banned from the login ports for 1m more: only the kernel knows"
    )
    assert "To undo it" in lines


async def test_peer_on_port_25_is_explained(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.bench.guard.judge(Violation(ViolationKind.SMUGGLING, b""), MX_PEER)
        for number in range(12):
            await rig.bench.rcpt(MX_PEER, RcptResult.UNKNOWN, f"name{number}")
        lines = await explained(rig, MX_PEER.address)
    assert lines[0] == "203.0.113.9 is not banned; score 5 of 20 on port 25"
    text = "\n".join(lines)
    assert "test: smuggling" in text
    assert "test: unknown recipient" in text
    assert re.search(r"unknown recipients within a day: 1\d, most of all it asked for", text)


async def test_account_is_explained(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right")
        await rig.login(ATTACKER, "guess")
        await rig.ask("account-lock", account="ann")
        lines = await explained(rig, "ANN")
        nobody = await rig.run("explain", "nobody")
    assert lines[0] == "ann is locked until somebody unlocks it: no login at all"
    heading = next(line for line in lines if line.startswith("  TIME"))
    assert "ADDRESS" in heading
    assert lines[-2:] == ["To undo it", "  gatekeeper account unlock ann"]
    assert (nobody.stderr, nobody.exit_code) == (
        "gatekeeper: nothing is known of nobody\n",
        3,
    )


async def test_trap_and_account_that_nobody_has_are_explained(tmp_path: Path) -> None:
    async with served(tmp_path, replace(DEFAULTS, trap_accounts=("trap",))) as rig:
        await rig.login(ATTACKER, "guess", "nobody")
        await rig.login(client("192.0.2.1"), "guess", "trap")
        assert (await explained(rig, "nobody"))[0] == (
            "nobody is not locked; nobody has logged in as it"
        )
        assert (await explained(rig, "trap"))[0] == (
            "trap is a trap (trap_accounts): every login is refused"
        )


@pytest.mark.parametrize("number", [MOST_LINES, MOST_LINES + 1, 400])
async def test_long_timeline_is_cut_in_the_middle(tmp_path: Path, number: int) -> None:
    violation = Violation(ViolationKind.PROXY_HEADER, b"")
    async with served(tmp_path) as rig:
        for _ in range(number):
            await rig.bench.guard.judge(violation, ATTACKER)
        lines = await explained(rig, ATTACKER.address)
    start = lines.index("What happened, oldest first") + 2
    timeline = lines[start : lines.index("", start)]
    left_out = [line for line in timeline if "left out" in line]
    if number == MOST_LINES:
        assert (len(timeline), left_out) == (MOST_LINES, [])
    else:
        assert len(timeline) == MOST_LINES + 1
        assert timeline[FIRST_LINES] == f"  … {number - MOST_LINES} left out …"


async def test_climate_is_in_words(tmp_path: Path) -> None:
    async with served(tmp_path, replace(DEFAULTS, mode=Mode.OBSERVE)) as rig:
        await rig.login(ATTACKER, "guess")
        observed = "\n".join(await explained(rig, ATTACKER.address))
    assert "  observe mode: rules only watch, nothing is refused" in observed
    assert "attack level low: strangers guessed 0 times and logged in 0 times lately" in observed
    assert "still learning who is at home where" in observed
    one = replace(DEFAULTS, rules={Reason.ATTACK_LEVEL: Treatment.OBSERVE})
    async with served(tmp_path, one) as rig:
        rig.bench.guard.evidence.logins.familiarity.learned = True
        await rig.login(ATTACKER, "guess")
        text = "\n".join(await explained(rig, ATTACKER.address))
    assert "  rules that only watch: attack-level" in text
    assert "  who is at home where is known" in text


async def test_outage_is_told(tmp_path: Path) -> None:
    accounts = ["ann", "bob", "carol", "dave", "eve"]
    async with served(tmp_path) as rig:
        for account in accounts:
            await rig.login(HOME, "right", account)
        for account in accounts:
            await rig.login(HOME, "right", account, right="nothing is right today")
        text = "\n".join(await explained(rig, HOME.address))
    assert "the mail server refuses everybody: an outage, no guess counts" in text


async def test_names_play_no_tricks_and_lines_stay_short(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        for name in ("eve\x1b[2J\n", "\u202e" * 70_000, "x" * 70_000, "\ud800"):
            await rig.login(ATTACKER, "guess", name)
        output = (await rig.run("explain", ATTACKER.address)).output
        of_account = (await rig.run("explain", "eve\x1b[2J\n")).output
    for text in (output, of_account):
        assert text.replace("\n", "").isprintable()
        assert max(map(len, text.splitlines())) < 200
    assert "eve\\x1b[2J\\n" in output


async def test_json_is_what_the_guard_said(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.login(ATTACKER, "guess")
        for word, kind in ((ATTACKER.address, "address"), ("ann", "account")):
            shown = json.loads((await rig.run("explain", word, "-o", "json")).output)
            assert shown == (await rig.ask("explain", what=word))[kind]


# -- the words -------------------------------------------------------------------------------------


def test_every_reason_has_one_plain_sentence() -> None:
    assert set(WHY) == set(Reason)
    for sentence in WHY.values():
        assert 10 < len(sentence) < 140
        assert not sentence.endswith(".")
    assert len(set(WHY.values())) == len(WHY)


def test_every_word_of_the_guard_has_its_own() -> None:
    assert set(SCOPES) == {scope.value for scope in Scope}
    assert set(ORIGINS) == {origin.value for origin in Origin} | {"kernel-only"}
    assert set(HELD_BECAUSE) == {"new-networks", "new-network-burst"}
    for standing in Standing:
        for knowledge in Knowledge:
            words = whose({"standing": standing.value, "knowledge": knowledge.value})
            assert standing is Standing.STRANGER or standing.value not in words
            assert f", {knowledge.value}" not in words.split(" password")[-1]
    for action in Action:
        line = {"action": action.name.lower(), "what": "login", "delay_s": 0, "ban": False}
        assert done(line) != action.name.lower()


def test_words_of_a_newer_guard_are_shown_as_they_are() -> None:
    assert why("some-new-rule") == "some-new-rule"
    line = {"what": "dream", "listener": "imaps", "action": "sing", "delay_s": 0, "ban": False}
    assert (what(line), done(line)) == ("imaps: dream", "sing")
