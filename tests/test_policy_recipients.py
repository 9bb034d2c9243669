"""What recipients teach: harvesters by distinct unknown ones and their share, senders by rate."""

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy import recipients as module
from gatekeeper.policy.accounts import Account
from gatekeeper.policy.keys import mixed
from gatekeeper.policy.recipients import Harvest, Sending
from gatekeeper.settings import AccountSettings, PolicySettings

NOW = 1_700_000_000.0
DAY_S = 86_400.0
SOURCE = 9
POLICY = PolicySettings(
    recipients_per_address_day=48, recipients_burst=5, recipients_10m=10, recipients_day=24
)


# -- harvesters ----------------------------------------------------------------------------------


def asked(harvest: Harvest, names: int, share: float = 1.0, first: int = 0) -> Harvest:
    for name in range(first, first + names):
        harvest.unknown(SOURCE, mixed(name, 3), share, NOW)
    return harvest


def test_nothing_is_known_of_a_stranger() -> None:
    known = Harvest().known(SOURCE, NOW)
    assert (known.unknown, known.mostly_unknown, known.none_accepted) == (0, False, False)


def test_sender_of_unknown_ones_alone_has_none_accepted() -> None:
    harvest = asked(Harvest(), 1)
    assert harvest.known(SOURCE, NOW).none_accepted
    harvest.accepted(SOURCE, NOW)
    assert not harvest.known(SOURCE, NOW).none_accepted


def test_recipients_accepted_before_the_first_unknown_one_speak_for_it() -> None:
    harvest = Harvest()
    for _ in range(10):
        harvest.accepted(SOURCE, NOW)
    known = asked(harvest, 9).known(SOURCE, NOW)
    assert not known.mostly_unknown
    assert not known.none_accepted


def test_harvest_that_is_forgotten_leaves_what_was_accepted() -> None:
    harvest = asked(Harvest(), 100)
    for _ in range(3):
        harvest.accepted(SOURCE, NOW)
    harvest.forget(SOURCE)
    harvest.forget(SOURCE + 1)
    assert harvest.known(SOURCE, NOW).unknown == 0
    known = asked(harvest, 2).known(SOURCE, NOW)
    assert (known.unknown, known.mostly_unknown) == (2, False)


def test_flood_of_senders_with_accepted_recipients_is_bounded_and_harms_no_harvester() -> None:
    harvest = asked(Harvest(capacity=10), 50)
    for sender in range(1000, 1100):
        harvest.accepted(sender, NOW)
    assert harvest.known(SOURCE, NOW).unknown > 40
    harvest.unknown(1000, 1, 1.0, NOW)
    assert harvest.known(1000, NOW).none_accepted, "pushed out"
    harvest.unknown(1099, 1, 1.0, NOW)
    assert not harvest.known(1099, NOW).none_accepted


def test_different_unknown_recipients_are_counted_to_within_a_tenth() -> None:
    for names in (10, 50, 200, 500):
        unknown = asked(Harvest(), names).known(SOURCE, NOW).unknown
        assert 0.9 * names <= unknown <= 1.1 * names


def test_the_same_recipient_again_is_one() -> None:
    """An honest server repeats its message."""
    harvest = Harvest()
    for _ in range(500):
        harvest.unknown(SOURCE, 5, 1.0, NOW)
    assert harvest.known(SOURCE, NOW).unknown == 1


def test_share_of_unknown_ones_tells_a_harvester_from_a_stale_list() -> None:
    harvest = asked(Harvest(), 10)
    assert harvest.known(SOURCE, NOW).mostly_unknown
    for _ in range(9):
        harvest.accepted(SOURCE, NOW)
    assert harvest.known(SOURCE, NOW).mostly_unknown
    harvest.accepted(SOURCE, NOW)
    known = harvest.known(SOURCE, NOW)
    assert not known.mostly_unknown
    assert not known.none_accepted


def test_recipients_put_off_unheard_raise_the_count_and_not_the_share() -> None:
    harvest = asked(asked(Harvest(), 2), 100, share=0.0, first=50)
    known = harvest.known(SOURCE, NOW)
    assert known.unknown > 80
    for _ in range(2):
        harvest.accepted(SOURCE, NOW)
    assert not harvest.known(SOURCE, NOW).mostly_unknown


def test_harvest_is_forgotten_in_two_days() -> None:
    harvest = asked(Harvest(), 200)
    assert harvest.known(SOURCE, NOW + 2 * DAY_S).unknown == 0


def test_probe_is_lent_once_in_a_while_and_to_harvesters_only() -> None:
    harvest = asked(Harvest(), 1)
    assert not harvest.take_probe(SOURCE + 1, NOW)
    assert harvest.take_probe(SOURCE, NOW)
    assert not harvest.take_probe(SOURCE, NOW + module.PROBE_S - 1)
    assert harvest.take_probe(SOURCE, NOW + module.PROBE_S)


def test_only_unknown_recipients_make_an_entry() -> None:
    harvest = Harvest()
    harvest.accepted(SOURCE, NOW)
    harvest.take_probe(SOURCE, NOW)
    assert len(harvest) == 0


def test_flood_of_addresses_does_not_push_out_a_harvester_at_work() -> None:
    harvest = Harvest(capacity=10)
    for step in range(500):
        harvest.unknown(SOURCE, mixed(step, 3), 1.0, NOW)
        harvest.unknown(1000 + step, 1, 1.0, NOW)
        assert len(harvest) <= 10
    assert harvest.known(SOURCE, NOW).unknown > 400
    assert harvest.known(1000, NOW).unknown == 0


@given(st.integers(0, 5000))
def test_estimate_is_finite_for_any_number(names: int) -> None:
    harvest = Harvest()
    for name in range(0, names, 7):
        harvest.unknown(SOURCE, mixed(name, 3), 1.0, NOW)
    assert 0 <= harvest.known(SOURCE, NOW).unknown < 2000


# -- senders -------------------------------------------------------------------------------------


def sent_until_over(sending: Sending, account: Account | None, now: float) -> int:
    """How many recipients an account, or an address alone, has at once."""
    for sent in range(10_000):
        over = sending.address_over(SOURCE, now)
        if account is not None:
            over = sending.account_over(account, now)
        if over:
            return sent
        sending.use(SOURCE, account, now)
    return 10_000


def test_address_has_its_recipients_for_the_day() -> None:
    sending = Sending(POLICY)
    per_day = POLICY.recipients_per_address_day
    assert sent_until_over(sending, None, NOW) == per_day
    assert not sending.address_over(SOURCE + 1, NOW)
    assert not sending.address_over(SOURCE, NOW + DAY_S / per_day)
    assert sent_until_over(sending, None, NOW + 2 * DAY_S) == per_day


def test_account_has_a_burst_and_a_rate_behind_it() -> None:
    sending, account = Sending(POLICY), Account(1)
    assert sent_until_over(sending, account, NOW) == POLICY.recipients_burst
    more = sent_until_over(sending, account, NOW + 120.0)
    assert more == 120 * POLICY.recipients_10m // 600


def test_account_has_a_day_as_well() -> None:
    sending, account = Sending(POLICY), Account(1)
    sent = sum(sent_until_over(sending, account, NOW + hour * 600.0) for hour in range(12))
    assert POLICY.recipients_day <= sent <= POLICY.recipients_day * 1.5


def test_account_of_its_own_has_its_own_numbers() -> None:
    sending, newsletter, other = Sending(POLICY), Account(1), Account(2)
    sending.overrides = {1: AccountSettings(recipients_burst=20)}
    assert sent_until_over(sending, newsletter, NOW) == 20
    assert sent_until_over(sending, other, NOW) == POLICY.recipients_burst
