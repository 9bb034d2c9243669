"""Who attacks, and who is attacked, of late."""

import pytest
from guard_bench import Bench, client

from gatekeeper.lately import MOST_ENTRIES, WITHIN_S, AttackedAccount, Lately, lately
from gatekeeper.prefix import Prefix


@pytest.fixture
def bench() -> Bench:
    return Bench()


def looked(bench: Bench, most: int = 10) -> Lately:
    return lately(bench.guard.journal.refusals(), bench.now, most)


async def guess(bench: Bench, address: str, account: str, word: str) -> None:
    await bench.outcome(client(address), word, account)


def test_nothing_happened(bench: Bench) -> None:
    assert looked(bench) == Lately((), (), 0, bench.now)


async def test_networks_are_told_busiest_first_with_what_they_tried(bench: Bench) -> None:
    for number in range(3):
        await guess(bench, f"198.51.100.{number}", "ann", f"word {number}")
    await guess(bench, "2001:db8:7:1::1", "ann", "another")
    await guess(bench, "2001:db8:7:2::1", "bob", "another one")
    found = looked(bench)
    assert [(one.network, one.refusals, one.sources, one.accounts) for one in found.networks] == [
        (Prefix.parse("198.51.100.0/24"), 3, 3, 1),
        (Prefix.parse("2001:db8:7::/48"), 2, 2, 2),
    ]
    assert {one.reason for one in found.networks} == {"login: failure"}
    assert found.accounts == (AttackedAccount("ann", 4, 2), AttackedAccount("bob", 1, 1))
    assert found.refusals == 5
    assert len(looked(bench, most=1).networks) == len(looked(bench, most=1).accounts) == 1


async def test_what_is_long_ago_does_not_count(bench: Bench) -> None:
    await guess(bench, "198.51.100.1", "ann", "old")
    since = bench.now
    bench.now += WITHIN_S
    await guess(bench, "203.0.113.1", "bob", "new")
    assert (looked(bench).refusals, looked(bench).since) == (2, since)
    bench.now += 1
    assert [one.account for one in looked(bench).accounts] == ["bob"]


async def test_the_walk_is_bounded(bench: Bench) -> None:
    await guess(bench, "198.51.100.1", "ann", "wrong")
    [entry] = bench.guard.journal.refusals()
    found = lately((entry for _ in range(MOST_ENTRIES + 1)), bench.now, 10)
    assert found.refusals == MOST_ENTRIES
