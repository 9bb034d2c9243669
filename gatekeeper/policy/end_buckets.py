"""Which bans end when, to a quarter of a minute: counting them must not cost a walk.

Theory of operation. A bucket holds the places of what ends within `SPAN_S`, end to end in one
bytearray, and how many of them are so still. What is put off or taken leaves its place behind,
stale; while more than half of a bucket is, each that goes sweeps a few. A bucket whose time is over
turns from coming to over as a whole: half a million bans with one end cost as much as one. Whoever
needs the instant itself reads the row. A span has two buckets, one with an even number and one,
the next odd number, for what had ended when it was put in: that is over whatever is done to the
clock.
"""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Final

from gatekeeper.policy.ban_rows import PLACE_OCTETS

SPAN_S: Final = 16.0  # seven days of them take 8 MB; shorter ones cost more than they sort
_SWEEP_FLOOR: Final = 64  # stale ones that are not worth a sweep
_SWEEP_STEPS: Final = 8  # places looked at for each one that goes stale


def bucket_number(end: float, *, ended: bool) -> int:
    """The bucket of what ends at the instant `end`, or had ended when it was put in."""
    return 2 * int(end // SPAN_S) + ended


class _Bucket:
    __slots__ = ("cursor", "found", "live", "over", "places", "wide")

    def __init__(self, over: bool) -> None:
        self.places = bytearray()
        self.live = 0
        self.wide = 0
        self.over = over
        self.cursor = 0  # of the sweep
        self.found = False  # whether it has met something stale since it began anew


class EndBuckets:
    """`is_live(place, number)` says whether what is at `place` ends in the bucket `number`."""

    __slots__ = ("_buckets", "_coming", "_front", "_is_live", "_over", "coming", "over", "wide")

    def __init__(self, is_live: Callable[[bytes, int], bool]) -> None:
        self.coming = 0  # how many are in buckets whose time is not over
        self.over = 0  # how many in the others
        self.wide = 0  # of a /24 or /48, among those coming
        self._is_live = is_live
        self._buckets: dict[int, _Bucket] = {}
        self._coming: list[int] = []  # heaps of their numbers; some are stale
        self._over: list[int] = []
        self._front = 0

    def add(self, number: int, place: bytes, *, wide: bool) -> None:
        """What is at `place` ends in the bucket `number`."""
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = _Bucket(number < self._front or number % 2 == 1)
            self._queue(number, bucket.over)
        bucket.places += place
        bucket.live += 1
        if bucket.over:
            self.over += 1
        else:
            self.coming += 1
        if wide:
            self._count_wide(bucket, 1)

    def remove(self, number: int, *, wide: bool) -> None:
        """One that was added to this bucket is live no longer."""
        bucket = self._buckets[number]
        bucket.live -= 1
        if bucket.over:
            self.over -= 1
        else:
            self.coming -= 1
        if wide:
            self._count_wide(bucket, -1)
        if not bucket.live:
            del self._buckets[number]
        elif len(bucket.places) > PLACE_OCTETS * (_SWEEP_FLOOR + 2 * bucket.live):
            self._sweep(number, bucket)

    def advance(self, now: float) -> None:
        """The time of all spans before that of `now` is over. It may lie before the last one, when
        a clock was put back; that costs a look at every bucket."""
        front = bucket_number(now, ended=False)
        if front < self._front:
            self._rewind(front)
        self._front = front
        while self._coming and self._coming[0] < front:
            number = heappop(self._coming)
            bucket = self._buckets.get(number)
            if bucket is not None and not bucket.over:
                self._turn(bucket)
                self._queue(number, over=True)

    def is_coming(self, number: int) -> bool:
        """Whether the time of this bucket, which has something in it, is not over."""
        return not self._buckets[number].over

    def first(self) -> Iterator[bytes]:
        """The places in the coming bucket that ends first; one may come twice."""
        while self._coming:
            number = self._coming[0]
            bucket = self._buckets.get(number)
            if bucket is not None and not bucket.over:
                return self._live(number, bucket)
            heappop(self._coming)
        return iter(())

    def current(self) -> set[bytes]:
        """The places in the bucket of the time it was advanced to: some have ended already."""
        bucket = self._buckets.get(self._front)
        return set() if bucket is None else set(self._live(self._front, bucket))

    def oldest(self, before: float, most: int) -> list[bytes]:
        """Up to `most` places of the span that was over first, if it was by the instant `before`.

        The caller removes those that are live. One may come twice.
        """
        while self._over:
            number = self._over[0]
            bucket = self._buckets.get(number)
            if bucket is None or not bucket.over:
                heappop(self._over)
                continue
            if (number // 2 + 1) * SPAN_S > before:
                return []
            cut = max(0, len(bucket.places) - PLACE_OCTETS * most)
            taken, bucket.places = bucket.places[cut:], bucket.places[:cut]
            live = self._is_live
            if found := [place for place in _split(taken) if live(place, number)]:
                return found
        return []

    def _sweep(self, number: int, bucket: _Bucket) -> None:
        """Look at the next few places and let the last one take the room of a stale one. More go
        than come stale, since more than half of all are; so no call ever walks a bucket, but one
        that has gone round and found nothing: what is too much there came twice."""
        places = bucket.places
        for _ in range(_SWEEP_STEPS):
            at = bucket.cursor
            if at >= len(places):
                if not bucket.found:
                    bucket.places = bytearray().join(set(self._live(number, bucket)))
                bucket.cursor, bucket.found = 0, False
                return
            if self._is_live(bytes(places[at : at + PLACE_OCTETS]), number):
                bucket.cursor += PLACE_OCTETS
            else:
                places[at : at + PLACE_OCTETS] = places[-PLACE_OCTETS:]
                del places[-PLACE_OCTETS:]
                bucket.found = True

    def _live(self, number: int, bucket: _Bucket) -> Iterator[bytes]:
        live = self._is_live
        return (place for place in _split(bucket.places) if live(place, number))

    def _count_wide(self, bucket: _Bucket, change: int) -> None:
        bucket.wide += change
        if not bucket.over:
            self.wide += change

    def _turn(self, bucket: _Bucket) -> None:
        """From coming to over, or back."""
        sign = -1 if bucket.over else 1
        bucket.over = not bucket.over
        self.coming -= sign * bucket.live
        self.over += sign * bucket.live
        self.wide -= sign * bucket.wide

    def _rewind(self, front: int) -> None:
        for number, bucket in self._buckets.items():
            if bucket.over and number >= front and number % 2 == 0:
                self._turn(bucket)
                self._queue(number, over=False)

    def _queue(self, number: int, over: bool) -> None:
        heap = self._over if over else self._coming
        heappush(heap, number)
        if len(heap) > _SWEEP_FLOOR + 2 * len(self._buckets):
            heap[:] = [number for number, it in self._buckets.items() if it.over == over]
            heapify(heap)


def _split(places: bytearray) -> Iterator[bytes]:
    whole = bytes(places)
    return (whole[at : at + PLACE_OCTETS] for at in range(0, len(whole), PLACE_OCTETS))
