"""BanTable against a plain dictionary: whatever happens, and whatever the clock does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.policy import ban_table
from gatekeeper.policy.ban_table import BanTable
from gatekeeper.policy.end_buckets import SPAN_S
from gatekeeper.prefix import Prefix
from gatekeeper.verdict import Reason

NOW = 1_700_000_000.0
TEXTS = ("203.0.113.1", "203.0.113.2", "203.0.113.0/24", "2001:db8::/64", "2001:db8::/48")
PREFIXES = [Prefix.parse(text) for text in TEXTS]
HOSTS = [prefix for prefix in PREFIXES if prefix.length in {32, 64}]


def ban(
    number: int = 0, until: float = NOW + 60, *, scope: Scope = Scope.AUTH, note: str = ""
) -> Ban:
    """A ban of the host of this number."""
    prefix = Prefix(number.to_bytes(4, "big"), 32)
    return Ban(prefix, scope, Reason.AUTH_FAILURES, 1, NOW, until, Origin.RULE, note)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put-later", "take", "wait", "back"]),
        st.sampled_from(PREFIXES),
        st.sampled_from(Scope),
        st.floats(-20.0, 100.0),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(STEPS)
def test_it_is_a_dictionary(steps: list[tuple[str, Prefix, Scope, float]]) -> None:
    table, plain, now = BanTable(), dict[tuple[Prefix, Scope], Ban](), NOW
    ended: set[Ban] = set()  # when they were put in, whatever the clock says later
    for step, prefix, scope, seconds in steps:
        key = (prefix, scope)
        match step:
            case "put" | "put-later":
                new = Ban(prefix, scope, Reason.OPERATOR, 1, now, now + seconds, note=str(seconds))
                if_later = step == "put-later"
                table.put(new, now, if_later=if_later)
                if not (if_later and key in plain and plain[key].since >= now):
                    plain[key] = new
                    ended.discard(new)
                    if new.until <= now:
                        ended.add(new)
            case "take":
                assert table.take(*key) == plain.pop(key, None)
            case "wait":
                now += abs(seconds)
            case _:
                now -= abs(seconds)
        in_force = {one for one in plain.values() if one.until > now and one not in ended}
        assert set(table.bans(now)) == in_force
        assert table.in_force(now) == len(in_force)
        assert table.ends.coming + table.ends.over == len(plain)
        ends = [end for portion in table.keys(2) for end in table.ends_at(*portion, now)]
        assert sorted(ends, key=repr) == sorted(
            ((one.prefix, one.scope, one.until) for one in in_force), key=repr
        )
        for host in HOSTS:
            around = [p for p in PREFIXES if p.covers(host)]
            expected = {one for one in in_force if one.prefix in around and one.scope is scope}
            found = table.covering(host, scope, now)
            assert found in expected if expected else found is None
        assert table.latest(*key) == plain.get(key)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 9), st.floats(1.0, 100.0)), min_size=1, max_size=40))
def test_the_soonest_goes_first(puts: list[tuple[int, float]]) -> None:
    """Also when bans come in and are put off while others are taken."""
    table, plain = BanTable(), dict[int, Ban]()
    for number, seconds in puts:
        plain[number] = ban(number, NOW + seconds)
        table.put(plain[number], NOW)
        if len(plain) > 4:
            soonest = table.take_soonest()
            assert soonest is not None
            assert soonest.until == min(one.until for one in plain.values())
            del plain[int.from_bytes(soonest.prefix.packed)]
    assert table.in_force(NOW) == len(plain)


def test_an_empty_table_has_no_soonest() -> None:
    assert BanTable().take_soonest() is None


def test_many_soonest_are_sorted_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ban_table, "LOOK_AHEAD", 3)
    table = BanTable()
    for number in range(40):
        table.put(ban(number, NOW + 1 + (number * 7) % 40), NOW)
    taken = []
    for number in range(40, 60):
        soonest = table.take_soonest()
        assert soonest is not None
        taken.append(soonest.until - NOW)
        table.put(ban(number, NOW + 20.5 + number), NOW)
    assert taken == [float(second) for second in range(1, 21)]


def test_history_is_forgotten_in_portions_and_never_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ban_table, "FORGET_STEP", 4)
    table = BanTable()
    for number in range(10):
        table.put(ban(number, NOW + 1), NOW)
    later = NOW + 1 + 3 * SPAN_S
    table.advance(later)
    table.forget(NOW + 0.5, 1_000)
    assert table.ends.over == 10
    for left in (6, 2, 0):
        table.forget(later, 1_000)
        assert table.ends.over == left


def test_history_beyond_the_bound_loses_its_oldest() -> None:
    table = BanTable()
    for number in range(10):
        table.put(ban(number, NOW + number * SPAN_S), NOW)
    now = NOW + 20 * SPAN_S
    table.advance(now)
    table.forget(NOW - 1, 4)
    left = [number for number in range(10) if table.latest(ban(number).prefix, Scope.AUTH)]
    assert left == [6, 7, 8, 9]


def test_what_had_ended_when_it_was_put_in_is_not_counted() -> None:
    table = BanTable()
    for number in range(5):
        table.put(ban(number, NOW), NOW)
    table.advance(NOW)
    assert (table.ends.coming, table.ends.over) == (0, 5)


def test_a_note_goes_with_its_ban() -> None:
    table = BanTable()
    table.put(ban(note="mine"), NOW)
    table.put(ban(scope=Scope.MX), NOW)
    assert sorted(one.note for one in table.bans(NOW)) == ["", "mine"]
    table.put(ban(), NOW)
    assert [one.note for one in table.bans(NOW)] == ["", ""]
    table.put(ban(note="other"), NOW)
    table.take(ban().prefix, Scope.AUTH)
    assert table._notes == {}


def test_a_walk_goes_on_while_the_table_changes() -> None:
    table = BanTable()
    for number in range(0, 3_000, 3):
        table.put(ban(number), NOW)
    portions = table.keys(5)
    seen: list[int] = []
    gone: list[int] = []
    for portion in portions:
        seen += [int.from_bytes(end[0].packed) for end in table.ends_at(*portion, NOW)]
        if len(seen) > 100 and not gone:
            gone = [number for number in range(0, 3_000, 3) if number not in set(seen)][:300]
            for number in gone:
                table.take(ban(number).prefix, Scope.AUTH)
            for number in range(1, 3_000, 3):
                table.put(ban(number), NOW)
    assert len(seen) == len(set(seen))
    assert set(seen).isdisjoint(gone)
    assert set(seen) >= set(range(0, 3_000, 3)) - set(gone)
