"""`gatekeeper account`: what operators read and script against, over a real guard."""

import csv
import io
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from control_rig import DEFAULTS, HOME, Rig, served
from guard_bench import client

from gatekeeper.sessions import End
from gatekeeper.settings import Mode


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


async def guessed_at(rig: Rig, number: int, account: str = "ann") -> None:
    for each in range(number):
        await rig.bench.outcome(client(f"203.0.{each}.9"), f"guess {each}", account)


async def test_lock_list_and_unlock(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right")
        session = rig.session("ann")
        locked = await rig.run("account", "lock", "Ann", "--for", "4h", "--reason", "stolen phone")
        assert (locked.output, locked.exit_code) == ("locked ann for 4h, ended 1 session\n", 0)
        assert session.end is End.LOCKED
        listed = await rig.run("account", "list")
        assert listed.output.splitlines() == [
            "ACCOUNT  LOCKS        GUESSES  NETS  LAST LOGIN  NOTE",
            "ann      operator 4h  0        1     10s ago     stolen phone",
        ]
        unlocked = await rig.run("account", "unlock", "ann")
        assert (unlocked.output, unlocked.exit_code) == ("unlocked ann: lifted operator\n", 0)
        again = await rig.run("account", "unlock", "ann")
        assert (again.stderr, again.exit_code) == ("gatekeeper: ann is not locked\n", 3)


async def test_lock_of_an_account_never_seen_asks_for_a_look_at_its_spelling(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as rig:
        result = await rig.run("account", "lock", "bbo")
    assert result.stdout == "locked bbo until you unlock it, ended 0 sessions\n"
    assert result.stderr == (
        "gatekeeper: nobody has logged in as bbo yet: is it written as people log in?\n"
    )
    assert result.exit_code == 0


async def test_lock_that_only_watches_says_so(tmp_path: Path) -> None:
    async with served(tmp_path, replace(DEFAULTS, mode=Mode.OBSERVE)) as rig:
        await rig.login(HOME, "right")
        result = await rig.run("account", "lock", "ann")
    assert result.stderr == (
        "gatekeeper: logins are not refused: the configuration has the rule account-locked only"
        " observe\n"
    )


async def test_unlock_tells_what_it_forgot(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right")
        await guessed_at(rig, 1)
        assert (await rig.run("account", "unlock", "ann")).output == (
            "unlocked ann: forgot 1 guess\n"
        )
        await guessed_at(rig, DEFAULTS.policy.lane_guesses + 3)
        output = (await rig.run("account", "unlock", "ann")).output
    assert output.startswith("unlocked ann: lifted lane, forgot 2")


async def test_list_has_the_locked_first_then_the_most_attacked(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        for account in ("ann", "bob", "carol", "dave"):
            await rig.login(HOME, "right", account)
        await guessed_at(rig, 9, "ann")
        await guessed_at(rig, 12, "bob")
        await rig.ask("account-lock", account="dave")
        output = (await rig.run("account", "list")).output
        everybody = (await rig.run("account", "list", "--all")).output
    assert [line.split()[0] for line in output.splitlines()[1:]] == ["dave", "bob", "ann"]
    assert "12 attacked" in output
    assert len(everybody.splitlines()) == 5


async def test_empty_list_says_that_all_is_well(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right")
        result = await rig.run("account", "list")
        assert result.stderr == "gatekeeper: no account is locked or attacked\n"
        assert result.exit_code == 0
        assert json.loads((await rig.run("account", "list", "-o", "json")).output) == []


async def test_list_for_scripts(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right")
        await guessed_at(rig, DEFAULTS.policy.lane_guesses + 3)
        await rig.ask("account-lock", account="ann", note="my words")
        (row,) = json.loads((await rig.run("account", "list", "-o", "json")).output)
        text = (await rig.run("account", "list", "-o", "csv")).output
        (line,) = csv.DictReader(io.StringIO(text))
    assert [lock["kind"] for lock in row["locks"]] == ["operator", "lane"]
    lane_until = row["locks"][1]["until"]
    assert (line["locks"], line["until"]) == ("operator;lane", f";{lane_until}")
    assert (line["account"], line["attacked"], line["note"]) == ("ann", "True", "my words")
    assert int(line["guesses"]) == row["guesses"]


async def test_show_reads_well(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right")
        await guessed_at(rig, 3)
        await rig.ask("account-lock", account="ann", seconds=3 * 3600, note="stolen")
        rig.bench.now += 600
        result = await rig.run("account", "show", "ann")
    assert result.output.splitlines() == [
        "ann is locked until 2023-11-15 01:13:30, 2h50m more: no login at all",
        "",
        "lock         operator, since 22:13:30, until 2023-11-15 01:13:30, 2h50m more",
        "             no login at all: stolen",
        "guesses      3 wrong passwords by strangers in a day; attacked from 8, strangers kept off"
        " from 25",
        "last login   22:13:20, 10m10s ago",
        "",
        "At home in",
        "  NETWORK          FIRST LOGIN  LAST LOGIN",
        "  198.51.100.0/24  22:13:20     22:13:20, 10m10s ago",
    ]


@pytest.mark.parametrize(
    ("guesses", "said"),
    [
        (0, "ann is not locked; 0 guesses by strangers in a day, 8 would be many"),
        (1, "ann is not locked; 1 guess by strangers in a day, 8 would be many"),
        (9, "ann is not locked, but under attack: 9 guesses by strangers in a day, 8 are many"),
        (30, "ann is not locked, but strangers are kept off until 23:13:30, 1h more: "),
    ],
)
async def test_first_line_of_show_is_the_answer(tmp_path: Path, guesses: int, said: str) -> None:
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right")
        await guessed_at(rig, guesses)
        output = (await rig.run("account", "show", "ann")).output
    assert output.splitlines()[0].startswith(said)


async def test_held_account_is_told_why(tmp_path: Path) -> None:
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right")
        logins = rig.bench.guard.evidence.logins
        account = logins.accounts.get(logins.account_key("ann"))
        assert account is not None
        logins.hold(account, "new-networks", rig.bench.now)
        output = (await rig.run("account", "show", "ann")).output
    assert output.startswith("ann is held until 2023-11-15 22:13:30, 1d more: it may not send\n")
    assert "it logged in from several networks it was never seen in within an hour" in output


@pytest.mark.parametrize("name", ["eve\x1b[2J\n", "\u202eeve", "x" * 500])
async def test_names_play_no_tricks(tmp_path: Path, name: str) -> None:
    async with served(tmp_path) as rig:
        await rig.login(HOME, "right", name)
        outputs = [
            (await rig.run("account", *words)).output
            for words in (["list", "--all"], ["show", name], ["lock", name], ["unlock", name])
        ]
    for output in outputs:
        assert "eve" in output or "xxx" in output
        assert output.replace("\n", "").isprintable()
    assert max(map(len, outputs[0].splitlines())) < 150


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["show", "nobody"], 3, "nobody has not logged in and is not locked"),
        (["unlock", "nobody"], 3, "nobody is not locked"),
        (["lock", "x" * 1025], 2, "at most 1024 octets"),
        (["lock", "ann", "--for", "soon"], 2, 'not a duration: "soon"'),
        (["lock", "ann", "--for", "900d"], 2, "at most a year"),
        (["lock", ""], 2, "account must be a string"),
        (["nonsense"], 2, "No such command"),
    ],
)
async def test_what_cannot_be_done_has_its_exit_code(
    tmp_path: Path, arguments: list[str], code: int, text: str
) -> None:
    async with served(tmp_path) as rig:
        result = await rig.run("account", *arguments)
        assert (await rig.ask("account-list"))["accounts"] == []
    assert text in result.stderr
    assert result.exit_code == code
