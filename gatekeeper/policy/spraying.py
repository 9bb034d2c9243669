"""One password on many accounts: seen without keeping a password, or a key of one for long.

Theory of operation. A sketch of `ROWS` x `CELLS` cells of 64 bits. A password names one cell in
each row, an account one bit; each failed pair sets its bit in the cells of its password. Other
passwords share a cell with it, but hardly all three: the bits set in every one are the accounts the
password was tried on, never too few but for accounts that share a bit. The cost is constant and
nothing can be pushed out; a flood of passwords fills cells and makes the answer too high, which
`MOST_PAIRS` prevents: beyond it nothing more is noted.

Two epochs cover a day each. Each has a salt of its own and dies with it: after two days nobody can
tell which passwords the bits were for, the holder of the password key included.
"""

from array import array
from typing import Final

from gatekeeper.policy.keys import mixed

ROWS: Final = 3
CELLS: Final = 1 << 16  # 1.5 MiB for the three rows of an epoch
EPOCH_S: Final = 86_400.0
MOST_PAIRS: Final = 1_000_000  # an epoch; here a cell is a fifth full, three of them a hundredth


class _Epoch:
    __slots__ = ("last", "number", "pairs", "rows", "salt")

    def __init__(self, number: int, salt: int) -> None:
        self.number = number
        self.salt = salt
        self.pairs = 0
        self.last = (-1, (0, 0, 0))
        self.rows: tuple[array[int], ...] = ()  # made when first needed

    def cells(self, password: int) -> tuple[int, int, int]:
        """Mostly of the password looked at last: a guess is asked about, then noted."""
        if self.last[0] != password:
            name = mixed(password, self.salt)
            self.last = password, (name % CELLS, (name >> 16) % CELLS, (name >> 32) % CELLS)
        return self.last[1]

    def add(self, password: int, bit: int) -> None:
        if self.pairs >= MOST_PAIRS:
            return
        if not self.rows:
            self.rows = tuple(array("Q", bytes(8 * CELLS)) for _ in range(ROWS))
        self.pairs += 1
        for row, cell in zip(self.rows, self.cells(password), strict=True):
            row[cell] |= bit

    def accounts(self, password: int) -> int:
        if not self.rows:
            return 0
        (first, second, third), (one, two, three) = self.rows, self.cells(password)
        return (first[one] & second[two] & third[three]).bit_count()


class SpraySketch:
    """On how many accounts a password failed, today or yesterday.

    `salt` is random, of this process alone; each epoch's is drawn from it and the epoch's number.
    """

    __slots__ = ("_current", "_previous", "_salt")

    def __init__(self, salt: int) -> None:
        self._salt = salt
        self._current = _Epoch(0, salt)
        self._previous = _Epoch(-1, salt)

    def add(self, password: int, account: int, now: float) -> None:
        """A pair that failed, or was refused unseen."""
        self._turn(now)
        self._current.add(password, 1 << (mixed(account, self._current.salt) % 64))

    def accounts(self, password: int, now: float) -> int:
        """On how many accounts, at least; at most 64."""
        self._turn(now)
        return max(self._current.accounts(password), self._previous.accounts(password))

    def _turn(self, now: float) -> None:
        number = int(now / EPOCH_S)
        if number == self._current.number:
            return
        follows = number == self._current.number + 1
        # The salt moves on one way: who learns today's cannot tell yesterday's.
        self._salt = mixed(self._salt, number)
        self._previous = self._current if follows else _Epoch(number - 1, self._salt)
        self._current = _Epoch(number, self._salt)
