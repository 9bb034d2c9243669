"""The search for bans: against a plain filter, and over more bans than one request walks."""

import random
from typing import Final

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.ledger import Ledger
from gatekeeper.prefix import Prefix
from gatekeeper.settings import PolicySettings
from gatekeeper.status_page import ban_search
from gatekeeper.status_page.ban_search import BanSearch, Row, Wanted, read_place
from gatekeeper.verdict import Reason

NOW = 1_700_000_000.0
PLACES: Final = (
    *("203.0.113.7", "203.0.113.8", "203.0.113.0/24", "203.0.114.7", "10.1.2.3"),
    *("2001:db8:1:2::/64", "2001:db8:1:3::/64", "2001:db8:1::/48"),
)
TEXTS: Final = (
    *("", "203.0.113.7", "203.0.113.0/24", "203.0.113.", "203.0", "10.", "10.0.0.0/8"),
    *("2001:db8:1:2::9", "2001:db8:1:2::/64", "2001:db8:", "2001:db8:1:"),
    *("operator", "WRONG", "note of 3", "fail", "no such thing"),
)


def made(number: int) -> Ledger:
    """A Ledger with bans of all kinds, always the same of one number."""
    chance = random.Random(number)
    ledger = Ledger(PolicySettings(), (), lambda: NOW)
    for place in PLACES:
        for scope in Scope:
            if chance.random() < 0.6:
                ledger.ban(
                    Prefix.parse(place),
                    scope,
                    chance.choice([Reason.AUTH_FAILURES, Reason.OPERATOR]),
                    seconds=chance.choice([60.0, 600.0]),
                    origin=chance.choice(list(Origin)),
                    note=f"Note of {chance.randrange(5)}",
                )
    return ledger


def find(ledger: Ledger, wanted: Wanted, begin: int | None = None, skip: int = 0) -> Row:
    return trio.run(BanSearch(ledger).find, wanted, begin, skip)


def prefixes(answer: Row) -> list[object]:
    rows = answer["bans"]
    assert isinstance(rows, list)
    return [row["prefix"] for row in rows]


@settings(max_examples=200)
@given(
    st.integers(0, 50),
    st.sampled_from(TEXTS),
    st.sampled_from(["", *(one.value for one in Scope)]),
    st.sampled_from(["", *(one.value for one in Origin)]),
)
def test_what_is_found_is_what_a_look_at_each_ban_finds(
    number: int, text: str, scope: str, origin: str
) -> None:
    ledger = made(number)
    wanted = Wanted.of(text, scope, "", origin)
    expected = sorted(str(ban.prefix) for ban in ledger.bans() if matches(ban, text, scope, origin))
    answer = find(ledger, wanted)
    assert sorted(map(str, prefixes(answer))) == expected
    assert answer["matching"] == len(expected)
    assert answer["next"] is None


def matches(ban: Ban, text: str, scope: str, origin: str) -> bool:
    """The same, said in another way."""
    if scope not in {"", ban.scope.value} or origin not in {"", ban.origin.value}:
        return False
    place = read_place(text)
    if place is not None:
        return place.covers(ban.prefix) or ban.prefix.covers(place)
    words = f"{ban.reason.value}\n{ban.origin.value}\n{ban.note}".lower()
    return text.lower() in words


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.", "203.0.0.0/16"),
        ("203.0", "203.0.0.0/16"),
        ("2001:db8:", "2001:db8::/32"),
        ("300.1.", None),
        ("auth", None),
        ("dead", None),
        ("", None),
    ],
)
def test_places(text: str, place: str | None) -> None:
    found = read_place(text)
    assert (found and str(found)) == place


@pytest.mark.parametrize("field", ["scope", "reason", "origin"])
def test_a_choice_that_is_none_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="nothing"):
        Wanted.of("", **{field: "nothing"})


def test_a_long_text_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 100"):
        Wanted.of("x" * 101)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Three times as many bans as one request walks, every tenth with a note."""
    monkeypatch.setattr(ban_search, "LOOK", 1000)
    monkeypatch.setattr(ban_search, "SLICE", 100)
    ledger = Ledger(PolicySettings(), (), lambda: NOW)
    for number in range(3000):
        prefix = Prefix((0x0A000000 + number).to_bytes(4, "big"), 32)
        note = "" if number % 10 else "tenth"
        ledger.ban(prefix, Scope.AUTH, Reason.OPERATOR, seconds=60.0, note=note)
    return ledger


def test_a_request_walks_a_part_and_says_where_to_go_on(many: Ledger) -> None:
    wanted, found, requests = Wanted.of("tenth"), set[object](), 0
    begin: int | None = None
    while True:
        skip, answer = 0, find(many, wanted, begin)
        requests += 1
        while answer["bans"]:
            found.update(prefixes(answer))
            skip += ban_search.PAGE
            answer = find(many, wanted, begin, skip)
        following = answer["next"]
        if following is None:
            break
        assert isinstance(following, int)
        begin = following
    assert len(found) == 300
    assert requests >= 3


def test_sessions_have_their_turn_during_a_walk(many: Ledger) -> None:
    turns = 0

    async def sessions() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sessions)
            await BanSearch(many).find(Wanted.of("tenth"), 0, 0)
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert turns >= 1000 / 100


def test_of_many_the_latest_come_first(many: Ledger) -> None:
    search = BanSearch(many)
    latest = Prefix.parse("192.0.2.1")
    many.ban(latest, Scope.MX, Reason.OPERATOR, seconds=60.0)
    answer = trio.run(search.find, Wanted(), None, 0)
    assert answer["latest"] is True
    assert prefixes(answer) == ["192.0.2.1"]
    assert answer["next"] == 0  # from the start of all


def test_instants_are_told_by_the_systems_clock() -> None:
    ledger = made(1)
    answer = trio.run(BanSearch(ledger, lambda: NOW + 3600).find, Wanted(), None, 0)
    rows = answer["bans"]
    assert isinstance(rows, list)
    assert {row["since"] for row in rows} == {NOW + 3600}
    assert {row["remaining_s"] for row in rows} <= {60.0, 600.0}


def test_an_address_among_many_is_looked_up(many: Ledger) -> None:
    answer = find(many, Wanted.of("10.0.5.9"))
    assert prefixes(answer) == ["10.0.5.9"]
    assert answer["passed"] == 0
