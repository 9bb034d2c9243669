"""EndBuckets: counts without walks, bounds on what is stale."""

from gatekeeper.policy.ban_rows import PLACE_OCTETS
from gatekeeper.policy.end_buckets import SPAN_S, EndBuckets, bucket_number


class Desk:
    """Buckets and the truth they ask."""

    def __init__(self) -> None:
        self.truth: dict[bytes, int] = {}
        self.buckets = EndBuckets(lambda place, number: self.truth.get(place) == number)

    def put(self, name: int, span: int, *, wide: bool = False, ended: bool = False) -> bytes:
        number = bucket_number(span * SPAN_S, ended=ended)
        place = name.to_bytes(PLACE_OCTETS, "big")
        if (old := self.truth.pop(place, None)) is not None:
            self.buckets.remove(old, wide=wide)
        self.truth[place] = number
        self.buckets.add(number, place, wide=wide)
        return place

    def take(self, place: bytes, *, wide: bool = False) -> None:
        self.buckets.remove(self.truth.pop(place), wide=wide)

    @property
    def octets(self) -> int:
        return sum(len(bucket.places) for bucket in self.buckets._buckets.values())


def test_a_bucket_turns_as_a_whole() -> None:
    desk = Desk()
    for name in range(100):
        desk.put(name, 5, wide=name < 3)
    desk.put(100, 6)
    desk.buckets.advance(5 * SPAN_S)
    assert (desk.buckets.coming, desk.buckets.over, desk.buckets.wide) == (101, 0, 3)
    desk.buckets.advance(6 * SPAN_S)
    assert (desk.buckets.coming, desk.buckets.over, desk.buckets.wide) == (1, 100, 0)


def test_a_clock_put_back_brings_them_back() -> None:
    desk = Desk()
    desk.put(1, 5, wide=True)
    desk.put(2, 3)
    desk.buckets.advance(9 * SPAN_S)
    desk.buckets.advance(4 * SPAN_S)
    assert (desk.buckets.coming, desk.buckets.over, desk.buckets.wide) == (1, 1, 1)
    desk.put(3, 4)
    desk.buckets.advance(9 * SPAN_S)
    assert (desk.buckets.coming, desk.buckets.over) == (0, 3)


def test_what_is_put_into_the_past_is_past() -> None:
    desk = Desk()
    desk.buckets.advance(9 * SPAN_S)
    place = desk.put(1, 5)
    assert desk.buckets.over == 1
    assert desk.buckets.oldest(6 * SPAN_S, 10) == [place]


def test_what_had_ended_stays_so_when_the_clock_is_put_back() -> None:
    desk = Desk()
    desk.buckets.advance(5 * SPAN_S)
    place = desk.put(1, 5, wide=True, ended=True)
    desk.buckets.advance(2 * SPAN_S)
    assert (desk.buckets.coming, desk.buckets.over, desk.buckets.wide) == (0, 1, 0)
    assert desk.buckets.oldest(5.9 * SPAN_S, 10) == []
    assert desk.buckets.oldest(6 * SPAN_S, 10) == [place]


def test_the_first_and_the_current() -> None:
    desk = Desk()
    desk.put(1, 7)
    early = [desk.put(2, 5), desk.put(3, 5)]
    assert sorted(desk.buckets.first()) == early
    assert desk.buckets.current() == set()
    desk.buckets.advance(5 * SPAN_S)
    assert desk.buckets.current() == set(early)
    for place in early:
        desk.take(place)
    assert list(desk.buckets.first()) == [(1).to_bytes(PLACE_OCTETS, "big")]


def test_the_oldest_come_in_portions() -> None:
    desk = Desk()
    places = {desk.put(name, name % 2) for name in range(10)}
    desk.buckets.advance(2 * SPAN_S)
    assert desk.buckets.oldest(0 * SPAN_S, 99) == []
    seen = []
    while portion := desk.buckets.oldest(2 * SPAN_S, 3):
        assert len(portion) <= 3
        seen += portion
        for place in portion:
            desk.take(place)
    assert len(seen) == 10
    assert set(seen) == places
    assert desk.octets == 0


def test_what_is_put_off_again_and_again_costs_no_memory() -> None:
    """A list imported each hour with bans of a week leaves little behind."""
    desk = Desk()
    for turn in range(50):
        for name in range(100):
            desk.put(name, 1_000 + turn % 7)
    assert desk.buckets.coming == 100
    assert desk.octets <= PLACE_OCTETS * (2 * 100 + 7 * 65)


def test_one_that_comes_and_goes_leaves_nothing() -> None:
    desk = Desk()
    for turn in range(1_000):
        desk.take(desk.put(1, turn % 3, wide=True), wide=True)
    assert (desk.buckets.coming, desk.buckets.over, desk.buckets.wide, desk.octets) == (0, 0, 0, 0)
    assert len(desk.buckets._coming) <= 65
