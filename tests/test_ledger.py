"""The Ledger: bans at once, history for escalation, exemptions, bounds."""

import math
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper import ledger as ledger_module
from gatekeeper.abc import BanChange, Lift
from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.ledger import Ledger, bannable
from gatekeeper.prefix import Prefix, entity
from gatekeeper.settings import PolicySettings
from gatekeeper.verdict import Reason

START = 1_700_000_000.0
DAY_S = 86_400.0
HOST = entity("203.0.113.9")
NEVER = (Prefix.parse("192.0.2.0/28"), Prefix.parse("2001:db8:2::53"))


class UnixClock:
    """Unix time that moves when told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> UnixClock:
    return UnixClock()


@pytest.fixture
def ledger(clock: UnixClock) -> Ledger:
    return Ledger(PolicySettings(), NEVER, clock)


def rule_ban(ledger: Ledger, prefix: Prefix = HOST, scope: Scope = Scope.AUTH) -> Ban:
    ban = ledger.ban(prefix, scope, Reason.AUTH_FAILURES)
    assert ban is not None
    return ban


def recorded(ledger: Ledger) -> list[BanChange]:
    changes: list[BanChange] = []
    ledger.subscribe(changes.append)
    return changes


def test_ban_is_found_until_it_ends(ledger: Ledger, clock: UnixClock) -> None:
    assert ledger.find(HOST, Scope.AUTH) is None
    ban = rule_ban(ledger)
    assert ban == Ban(HOST, Scope.AUTH, Reason.AUTH_FAILURES, 1, START, START + 600)
    clock.now += 599.9
    assert ledger.find(HOST, Scope.AUTH) == ban
    clock.now += 0.1
    assert ledger.find(HOST, Scope.AUTH) is None
    assert ledger.bans() == []
    assert len(ledger) == 0


def test_scopes_are_apart(ledger: Ledger) -> None:
    rule_ban(ledger, scope=Scope.MX)
    assert ledger.find(HOST, Scope.AUTH) is None
    assert ledger.find(HOST, Scope.MX) is not None


def test_neighbours_are_not_banned(ledger: Ledger) -> None:
    rule_ban(ledger)
    assert ledger.find(entity("203.0.113.8"), Scope.AUTH) is None


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("203.0.113.0/24", "203.0.113.77", "203.0.114.77"),
        ("2001:db8:9::/48", "2001:db8:9:77::1", "2001:db8:a::1"),
    ],
)
def test_wide_ban_covers_its_entities(
    ledger: Ledger, clock: UnixClock, network: str, inside: str, outside: str
) -> None:
    ban = rule_ban(ledger, Prefix.parse(network))
    assert ledger.find(entity(inside), Scope.AUTH) == ban
    assert ledger.find(entity(inside), Scope.MX) is None
    assert ledger.find(entity(outside), Scope.AUTH) is None
    clock.now += 600
    assert ledger.find(entity(inside), Scope.AUTH) is None


def test_wide_ban_outlasts_an_ended_narrow_one(ledger: Ledger, clock: UnixClock) -> None:
    rule_ban(ledger)
    wide = ledger.ban(HOST.widen(24), Scope.AUTH, Reason.OPERATOR, seconds=DAY_S)
    clock.now += 700
    assert ledger.find(HOST, Scope.AUTH) == wide


def test_lifted_wide_ban_no_longer_covers(ledger: Ledger) -> None:
    rule_ban(ledger, HOST.widen(24))
    ledger.lift(HOST.widen(24), Scope.AUTH)
    assert ledger.find(HOST, Scope.AUTH) is None


def test_parallel_bans_do_not_escalate(ledger: Ledger) -> None:
    """Sixteen connections reach the threshold together; one offence is one ban."""
    changes = recorded(ledger)
    first = rule_ban(ledger)
    assert all(rule_ban(ledger) == first for _ in range(15))
    assert changes == [first]


def test_bans_double_up_to_seven_days(ledger: Ledger, clock: UnixClock) -> None:
    lasted = []
    for level in range(1, 14):
        ban = rule_ban(ledger)
        assert ban.level == level
        lasted.append(ban.until - ban.since)
        clock.now = ban.until
    assert lasted[:3] == [600, 1200, 2400]
    assert lasted[-3:] == [7 * DAY_S] * 3


def test_level_is_forgotten_after_thirty_clean_days(ledger: Ledger, clock: UnixClock) -> None:
    clock.now = rule_ban(ledger).until
    clock.now += 30 * DAY_S - 1
    ban = rule_ban(ledger)
    assert ban.level == 2
    clock.now = ban.until + 30 * DAY_S
    assert rule_ban(ledger).level == 1


def test_levels_of_scopes_are_apart(ledger: Ledger, clock: UnixClock) -> None:
    clock.now = rule_ban(ledger).until
    assert rule_ban(ledger, scope=Scope.MX).level == 1


def test_operator_says_how_long_and_may_shorten(ledger: Ledger) -> None:
    rule_ban(ledger)
    ban = ledger.ban(
        HOST, Scope.AUTH, Reason.OPERATOR, seconds=60, origin=Origin.OPERATOR, note="x" * 300
    )
    assert ban is not None
    assert ban.until == START + 60
    assert ban.note == "x" * 200
    assert ledger.find(HOST, Scope.AUTH) == ban
    assert len(ledger) == 1


def test_note_can_be_stored_whatever_the_terminal_gave(ledger: Ledger) -> None:
    ban = ledger.ban(HOST, Scope.AUTH, Reason.OPERATOR, seconds=60, note="caf\udce9")
    assert ban is not None
    assert ban.note == "caf?"


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_time_that_is_none_is_refused(ledger: Ledger, seconds: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        ledger.ban(HOST, Scope.AUTH, Reason.OPERATOR, seconds=seconds)


@pytest.mark.parametrize("origin", Origin)
@pytest.mark.parametrize(
    "text",
    ["192.0.2.3", "192.0.2.0/24", "2001:db8:2::/64", "2001:db8:2::/48", "2001:db8:2::1:2"],
)
def test_never_means_never_whoever_asks(ledger: Ledger, text: str, origin: Origin) -> None:
    """Neither what lies in an exempt prefix nor what would cover one."""
    changes = recorded(ledger)
    assert ledger.exempt(bannable(Prefix.parse(text)))
    assert ledger.ban(Prefix.parse(text), Scope.AUTH, Reason.OPERATOR, origin=origin) is None
    assert changes == []
    assert len(ledger) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::/96", "2001:db8::/64"),
        ("2001:db8::/64", "2001:db8::/64"),
        ("2001:db8::/48", "2001:db8::/48"),
    ],
)
def test_bannable_prefixes(text: str, expected: str) -> None:
    assert bannable(Prefix.parse(text)) == Prefix.parse(expected)


@pytest.mark.parametrize("text", ["203.0.113.0/25", "10.0.0.0/8", "2001:db8::/56", "::/0"])
def test_other_lengths_are_refused_with_the_possible_ones(ledger: Ledger, text: str) -> None:
    with pytest.raises(ValueError, match=r"/(32 or /24|64 or /48)"):
        ledger.ban(Prefix.parse(text), Scope.AUTH, Reason.OPERATOR)
    with pytest.raises(ValueError, match=r"/(32 or /24|64 or /48)"):
        ledger.lift(Prefix.parse(text), Scope.AUTH)


def test_lift_ends_the_ban_and_its_history(ledger: Ledger) -> None:
    ban = rule_ban(ledger)
    changes = recorded(ledger)
    assert ledger.lift(HOST, Scope.AUTH) == ban
    assert ledger.find(HOST, Scope.AUTH) is None
    assert changes == [Lift(HOST, Scope.AUTH)]
    assert rule_ban(ledger).level == 1


def test_lift_that_does_not_forget_leaves_a_ban_that_has_ended(
    ledger: Ledger, clock: UnixClock
) -> None:
    rule_ban(ledger)
    changes = recorded(ledger)
    clock.now += 60
    assert ledger.lift(HOST, Scope.AUTH, forget=False) is not None
    assert ledger.find(HOST, Scope.AUTH) is None
    assert changes == [Lift(HOST, Scope.AUTH, forget=False)]
    past = ledger.latest(HOST, Scope.AUTH)
    assert past is not None
    assert (past.level, past.until) == (1, clock.now)
    assert ledger.lift(HOST, Scope.AUTH, forget=False) is None, "it has ended"
    assert len(changes) == 1
    assert rule_ban(ledger).level == 2
    ledger.lift(HOST, Scope.AUTH, forget=False)
    clock.now += PolicySettings().ban_memory_s
    assert rule_ban(ledger).level == 1


def test_lifting_an_ended_ban_clears_the_history_of_stores_too(
    ledger: Ledger, clock: UnixClock
) -> None:
    clock.now = rule_ban(ledger).until
    changes = recorded(ledger)
    assert ledger.lift(HOST, Scope.AUTH) is None
    assert changes == [Lift(HOST, Scope.AUTH)]
    assert rule_ban(ledger).level == 1


def test_lifting_what_is_not_known_tells_nobody(ledger: Ledger) -> None:
    changes = recorded(ledger)
    assert ledger.lift(HOST, Scope.AUTH) is None
    assert changes == []


def test_lift_of_an_address_finds_its_64(ledger: Ledger) -> None:
    rule_ban(ledger, entity("2001:db8::1"))
    assert ledger.lift(Prefix.parse("2001:db8::2"), Scope.AUTH) is not None


def test_subscriber_finds_the_ban_in_force(ledger: Ledger) -> None:
    found: list[Ban | None] = []
    ledger.subscribe(lambda change: found.append(ledger.find(change.prefix, change.scope)))
    ban = rule_ban(ledger)
    ledger.lift(HOST, Scope.AUTH)
    assert found == [ban, None]


def test_subscriber_hears_no_more_after_it_left(ledger: Ledger) -> None:
    changes: list[BanChange] = []
    leave: Callable[[], None] = ledger.subscribe(changes.append)
    leave()
    rule_ban(ledger)
    assert changes == []


def stored(prefix: Prefix, until: float, *, level: int = 3, since: float = START - 100) -> Ban:
    return Ban(prefix, Scope.AUTH, Reason.AUTH_FAILURES, level, since, until)


def test_restored_bans_are_in_force_and_nobody_is_told(ledger: Ledger) -> None:
    changes = recorded(ledger)
    ban = stored(HOST, START + 50)
    ledger.restore([ban])
    assert ledger.find(HOST, Scope.AUTH) == ban
    assert changes == []


def test_restored_history_counts_for_the_next_ban(ledger: Ledger) -> None:
    ledger.restore([stored(HOST, START - 50, level=3)])
    assert ledger.find(HOST, Scope.AUTH) is None
    assert len(ledger) == 0
    assert rule_ban(ledger).level == 4


def test_restore_keeps_the_ban_made_later(ledger: Ledger) -> None:
    mine = rule_ban(ledger)
    ledger.restore([stored(HOST, START + 9_999, since=START - 1)])
    assert ledger.bans() == [mine]
    other = stored(HOST, START + 9_999, since=START + 1)
    ledger.restore([other])
    assert ledger.bans() == [other]
    assert len(ledger) == 1


def test_restore_takes_a_ban_of_the_future_for_one_made_now(ledger: Ledger) -> None:
    """The clock was set back, or was years ahead for a while: nobody is banned for years."""
    ledger.restore([stored(HOST, START + 9e8 + 600, since=START + 9e8)])
    (ban,) = ledger.bans()
    assert (ban.since, ban.until) == (START, START + 600)


def test_restore_leaves_out_what_can_no_longer_be_banned(ledger: Ledger) -> None:
    ledger.restore(
        [
            stored(Prefix.parse("192.0.2.3"), START + 50),
            stored(Prefix.parse("10.0.0.0/8"), START + 50),
        ]
    )
    assert ledger.bans() == []


def test_full_ledger_lifts_the_ban_that_ends_first(clock: UnixClock) -> None:
    ledger = Ledger(PolicySettings(), NEVER, clock, capacity=3)
    changes = recorded(ledger)
    hosts = [entity(f"203.0.113.{i}") for i in range(4)]
    for host, seconds in zip(hosts, (300.0, 100.0, 200.0, 50.0), strict=True):
        ledger.ban(host, Scope.AUTH, Reason.OPERATOR, seconds=seconds)
    assert len(ledger) == 3
    assert ledger.find(hosts[1], Scope.AUTH) is None
    assert changes[3:] == [Lift(hosts[1], Scope.AUTH), ledger.find(hosts[3], Scope.AUTH)]


def test_full_ledger_replaces_a_ban_without_losing_another(clock: UnixClock) -> None:
    ledger = Ledger(PolicySettings(), NEVER, clock, capacity=1)
    rule_ban(ledger)
    ledger.ban(HOST, Scope.AUTH, Reason.OPERATOR, seconds=5, origin=Origin.OPERATOR)
    assert [ban.reason for ban in ledger.bans()] == [Reason.OPERATOR]


def test_history_is_bounded(
    ledger: Ledger, clock: UnixClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "MAX_PAST_BANS", 2)
    for last_octet in range(3):
        rule_ban(ledger, entity(f"203.0.113.{last_octet}"))
        clock.now += 700
    ledger.prune()
    assert rule_ban(ledger, entity("203.0.113.0")).level == 1, "the one forgotten soonest went"
    assert rule_ban(ledger, entity("203.0.113.1")).level == 2


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ban", "operator", "lift", "wait"]),
        st.sampled_from(["203.0.113.1", "203.0.113.2", "203.0.113.0/24", "2001:db8::/64"]),
        st.sampled_from(Scope),
        st.floats(1.0, 5_000.0),
    ),
    max_size=40,
)


@settings(max_examples=80)
@given(STEPS)
def test_followers_of_the_feed_know_what_is_in_force(
    steps: list[tuple[str, str, Scope, float]],
) -> None:
    """Whatever happens, a subscriber with its own clock holds the same bans."""
    clock = UnixClock()
    ledger = Ledger(PolicySettings(), (), clock, capacity=4)
    followed: dict[tuple[Prefix, Scope], Ban] = {}

    def follow(change: BanChange) -> None:
        followed.pop((change.prefix, change.scope), None)
        if isinstance(change, Ban):
            followed[change.prefix, change.scope] = change

    ledger.subscribe(follow)
    for step, text, scope, seconds in steps:
        prefix = Prefix.parse(text)
        match step:
            case "ban":
                ledger.ban(prefix, scope, Reason.AUTH_FAILURES)
            case "operator":
                ledger.ban(prefix, scope, Reason.OPERATOR, seconds=seconds, origin=Origin.OPERATOR)
            case "lift":
                ledger.lift(prefix, scope)
            case _:
                clock.now += seconds
        in_force = {ban for ban in followed.values() if ban.until > clock.now}
        assert set(ledger.bans()) == in_force
        assert len(ledger) == len(in_force)
        for host in map(entity, ("203.0.113.1", "203.0.113.9", "2001:db8::1")):
            for where in Scope:
                keys = {(host, where), (host.widen(24 if host.version == 4 else 48), where)}
                covering = {ban for ban in in_force if (ban.prefix, ban.scope) in keys}
                found = ledger.find(host, where)
                assert found in covering if covering else found is None


def test_sparing_a_prefix_lifts_its_bans_and_tells() -> None:
    ledger = Ledger(PolicySettings(), (), lambda: 1000.0)
    spared, other = Prefix.parse("203.0.113.9"), Prefix.parse("198.51.100.7")
    for prefix in (spared, other):
        ledger.ban(prefix, Scope.AUTH, Reason.AUTH_FAILURES)
    told: list[BanChange] = []
    ledger.subscribe(told.append)
    freed = ledger.spare((Prefix.parse("203.0.113.0/24"),))
    assert [ban.prefix for ban in freed] == [spared]
    assert told == [Lift(spared, Scope.AUTH)]
    assert ledger.ban(spared, Scope.AUTH, Reason.AUTH_FAILURES) is None
    assert [ban.prefix for ban in ledger.bans()] == [other]


# -- for who compares ---------------------------------------------------------------------------


def test_remaining_time_is_that_of_just_this_prefix(ledger: Ledger, clock: UnixClock) -> None:
    rule_ban(ledger, HOST.widen(24))
    assert ledger.remaining_s(HOST, Scope.AUTH) is None
    assert ledger.remaining_s(HOST.widen(24), Scope.AUTH) == 600
    assert ledger.remaining_s(HOST.widen(24), Scope.MX) is None
    clock.now += 599
    assert ledger.remaining_s(HOST.widen(24), Scope.AUTH) == 1
    clock.now += 1
    assert ledger.remaining_s(HOST.widen(24), Scope.AUTH) is None


@pytest.mark.parametrize("text", ["203.0.113.0/25", "203.0.0.0/31", "2001:db8::/24", "2001::/32"])
def test_prefixes_no_ban_can_be_of_are_unknown(ledger: Ledger, text: str) -> None:
    """Their octets may be those of a key."""
    for each in ("203.0.113.0/24", "32.1.13.0/24", "32.1.0.0"):
        rule_ban(ledger, Prefix.parse(each))
    assert ledger.remaining_s(Prefix.parse(text), Scope.AUTH) is None
    assert ledger.latest(Prefix.parse(text), Scope.AUTH) is None


def test_slices_tell_each_ban_in_force_once(ledger: Ledger, clock: UnixClock) -> None:
    hosts = [entity(f"203.0.113.{i}") for i in range(10)]
    for host in hosts:
        rule_ban(ledger, host)
    rule_ban(ledger, entity("2001:db8::1"), Scope.MX)
    clock.now += 500
    ledger.ban(HOST.widen(24), Scope.AUTH, Reason.OPERATOR, seconds=200)
    ledger.ban(hosts[0], Scope.MX, Reason.OPERATOR, seconds=10)
    pages = list(ledger.slices(1))
    assert [len(page) for page in pages] == [1] * 13
    assert {end for page in pages for end in page} == {
        (ban.prefix, ban.scope, ban.until) for ban in ledger.bans()
    }
    clock.now += 100
    assert [end for page in ledger.slices(4) for end in page] == [
        (HOST.widen(24), Scope.AUTH, START + 700)
    ]


def test_slices_leave_out_what_was_lifted_between_two(ledger: Ledger) -> None:
    hosts = [entity(f"203.0.113.{i}") for i in range(10)]
    for host in hosts:
        rule_ban(ledger, host)
    slices = ledger.slices(5)
    seen = [prefix for prefix, _, _ in next(slices)]
    gone = next(host for host in hosts if host not in seen)
    ledger.lift(gone, Scope.AUTH)
    rule_ban(ledger, entity("198.51.100.1"))
    rest = [prefix for page in slices for prefix, _, _ in page]
    assert set(hosts) <= {*seen, *rest, gone}
    assert gone not in rest
    assert len({*seen, *rest}) == len([*seen, *rest])


def test_a_ban_that_may_be_forged_raises_no_level(ledger: Ledger, clock: UnixClock) -> None:
    def forged() -> Ban:
        ban = ledger.ban(HOST, Scope.AUTH, Reason.AUTH_FAILURES, seconds=60, escalate=False)
        assert ban is not None
        clock.now = ban.until
        return ban

    assert [forged().level for _ in range(3)] == [0, 0, 0]
    counted = rule_ban(ledger)
    assert counted.level == 1
    clock.now = counted.until
    assert forged().level == 1
    assert rule_ban(ledger).level == 2


def test_lifting_many_without_forgetting_leaves_none_in_force(
    ledger: Ledger, clock: UnixClock
) -> None:
    ban = rule_ban(ledger)
    clock.now += 5
    assert ledger.lift(HOST, Scope.AUTH, forget=False) == ban
    clock.now -= 3
    assert ledger.find(HOST, Scope.AUTH) is None, "whatever is done to the clock"
    assert len(ledger) == 0
    assert rule_ban(ledger).level == 2


def test_a_clock_put_far_back_does_not_disturb(ledger: Ledger, clock: UnixClock) -> None:
    """A board without a battery starts in the wrong year, and is told the right one later."""
    rule_ban(ledger)
    clock.now -= 5 * 365 * DAY_S
    other = entity("198.51.100.1")
    rule_ban(ledger, other.widen(24))
    assert ledger.find(other, Scope.AUTH) is not None
    assert len(ledger) == len(ledger.bans()) == 2


def test_full_ledger_lifts_none_while_one_has_just_ended(clock: UnixClock) -> None:
    ledger = Ledger(PolicySettings(), NEVER, clock, capacity=2)
    hosts = [entity(f"203.0.113.{i}") for i in range(3)]
    ledger.ban(hosts[0], Scope.AUTH, Reason.OPERATOR, seconds=1)
    ledger.ban(hosts[1], Scope.AUTH, Reason.OPERATOR, seconds=2)
    changes = recorded(ledger)
    clock.now += 1
    new = ledger.ban(hosts[2], Scope.AUTH, Reason.OPERATOR, seconds=50)
    assert changes == [new]
    assert ledger.find(hosts[1], Scope.AUTH) is not None
    assert len(ledger) == 2


def test_full_ledger_loses_nothing_for_a_ban_it_knows_better(clock: UnixClock) -> None:
    ledger = Ledger(PolicySettings(), NEVER, clock, capacity=1)
    past = rule_ban(ledger)
    clock.now = past.until + 60
    mine = rule_ban(ledger, entity("198.51.100.1"))
    changes = recorded(ledger)
    ledger.restore([stored(HOST, clock.now + 50, since=past.since - 1)])
    assert (ledger.bans(), changes) == ([mine], [])


# -- while a Store is being restored --------------------------------------------------------------


def test_what_is_lifted_meanwhile_is_not_brought_back(ledger: Ledger) -> None:
    changes = recorded(ledger)
    with ledger.restoring():
        assert ledger.lift(HOST, Scope.AUTH) is None
        ledger.restore([stored(HOST, START + 50)])
    assert ledger.bans() == []
    assert changes == [Lift(HOST, Scope.AUTH)], "the Store has it, and the kernel"
    assert rule_ban(ledger).level == 1


def test_what_is_ended_meanwhile_comes_back_as_history(ledger: Ledger) -> None:
    with ledger.restoring():
        ledger.lift(HOST, Scope.AUTH, forget=False)
        ledger.restore([stored(HOST, START + 50, level=3)])
    assert ledger.bans() == []
    assert rule_ban(ledger).level == 4


def test_what_a_rule_bans_meanwhile_stays(ledger: Ledger) -> None:
    with ledger.restoring():
        mine = rule_ban(ledger)
        ledger.restore([stored(HOST, START + 9_999)])
        assert ledger.bans() == [mine]
        ledger.lift(HOST, Scope.AUTH)
        ledger.restore([stored(HOST, START + 9_999)])
        assert ledger.bans() == []


def test_after_it_a_lift_is_told_only_of_what_is_known(ledger: Ledger) -> None:
    with ledger.restoring():
        ledger.lift(HOST, Scope.AUTH)
    changes = recorded(ledger)
    ledger.lift(HOST, Scope.AUTH)
    ledger.restore([stored(HOST, START + 50)])
    assert changes == []
    assert len(ledger) == 1


def test_what_the_configuration_blocks_is_kept_out_and_is_no_ban(clock: UnixClock) -> None:
    never = Prefix.parse("203.0.113.9")
    ledger = Ledger(PolicySettings(), (never,), clock, block=[Prefix.parse("203.0.113.0/28")])
    for scope in Scope:
        found = ledger.find(Prefix.parse("203.0.113.1"), scope)
        assert found is not None
        assert found.reason is Reason.BLOCKED
        assert ledger.find(Prefix.parse("203.0.113.16"), scope) is None
        assert ledger.find(never, scope) is None, "never wins"
    assert (ledger.bans(), len(ledger)) == ([], 0)
    ledger.block([])
    assert ledger.find(Prefix.parse("203.0.113.1"), Scope.AUTH) is None


def test_a_census_counts_what_is_in_force_by_kind(ledger: Ledger, clock: UnixClock) -> None:
    for number in range(1, 40):
        rule_ban(ledger, Prefix.parse(f"198.51.100.{number}"))
    rule_ban(ledger, Prefix.parse("198.51.100.1"), Scope.MX)
    wide = Prefix.parse("2001:db8:7::/48")
    ledger.ban(wide, Scope.MX, Reason.OPERATOR, seconds=9_999, origin=Origin.OPERATOR)
    ledger.ban(HOST, Scope.AUTH, Reason.IMPORTED, seconds=5, origin=Origin.IMPORT)

    def counted() -> dict[tuple[Origin, int, Scope], int]:
        return dict(sum(ledger.census(7), Counter()))

    rules = {(Origin.RULE, 4, Scope.AUTH): 39, (Origin.RULE, 4, Scope.MX): 1}
    by_hand = {(Origin.OPERATOR, 6, Scope.MX): 1}
    assert counted() == rules | by_hand | {(Origin.IMPORT, 4, Scope.AUTH): 1}
    clock.now += 6
    assert counted() == rules | by_hand
    clock.now += 601
    assert counted() == by_hand
    ledger.lift(wide, Scope.MX)
    assert counted() == {}


def test_a_ban_of_what_is_blocked_is_told_as_one(clock: UnixClock) -> None:
    prefix = Prefix.parse("203.0.113.1")
    ledger = Ledger(PolicySettings(), (), clock, block=[prefix])
    made = ledger.ban(prefix, Scope.AUTH, Reason.AUTH_FAILURES)
    assert ledger.find(prefix, Scope.AUTH) == made
