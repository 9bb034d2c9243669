"""The answer of a parser of one bounded header that has not all come yet."""

from typing import NamedTuple


class NeedMore(NamedTuple):
    """The octets so far are a possible beginning.

    `wanted_octets` is a lower bound of the total needed for another answer, always more than was
    given: a caller may wait for that many (SO_RCVLOWAT, or its own count) before it asks again.
    """

    wanted_octets: int
