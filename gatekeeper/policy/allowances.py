"""How many doubtful credentials may go on, and how many right ones may be asked to wait.

Two allowances, one on each side of a mistake. *Proofs*: a password that is surely not the account's
may be a changed one, an account never seen a new one, so a few may be tried on the backend: few for
each account, and few for all, which a guesser of many accounts shares with himself. *Patience*:
asking people with the right password to come again costs them, so it is earned by good logins, a
set share of them, and spent on those first that something speaks against.
"""

from enum import IntEnum
from typing import Final

from gatekeeper.policy.accounts import Knowledge
from gatekeeper.policy.rates import Rate, RateTable


class Pool(IntEnum):
    """Who shares a number of doubtful credentials."""

    PLAIN = 0  # of which nothing is known
    GUESSED = 1  # as guessers of many accounts make them: surely wrong, or of an unseen account
    PERSISTENT = 2  # the same, but as persistent as a mail program


PROOFS: Final = Rate(2, 3600.0)  # of one account
ALL_PROOFS: Final = {  # of all accounts together
    Pool.PLAIN: Rate(1_000, 1.0),
    Pool.GUESSED: Rate(20, 120.0),
    Pool.PERSISTENT: Rate(20, 60.0),
}
PERSISTENT_S: Final = 600.0  # a guesser who comes again at all mostly does so sooner
MAX_ACCOUNTS: Final = 20_000  # about 3 MB
FIRST_PATIENCE: Final = 3.0  # before the first good logins are counted
MOST_PATIENCE: Final = 12.0  # saved up
MOST_DEBT: Final = 6.0
HASTE_COST: Final = 0.5
_EVERYBODY: Final = 0


def pool_of(
    knowledge: Knowledge, asked_ago_s: float | None, *, known: bool, repeated: bool
) -> Pool:
    """From which a doubtful credential is let through; `known` is its account. A repetition weighs
    nothing, so it takes nothing from others: else a few pairs, sent over and over, would use up
    what all share."""
    if repeated or (known and knowledge is not Knowledge.WRONG):
        return Pool.PLAIN
    if asked_ago_s is not None and asked_ago_s >= PERSISTENT_S:
        return Pool.PERSISTENT
    return Pool.GUESSED


class Doubt(IntEnum):
    """What speaks against a right password from a stranger's place, besides the times."""

    NONE = 0
    SLIGHT = 1  # strangers have guessed at its account
    CLEAR = 2  # they have guessed from this address, or sprayed this password


# How much must be saved up for one to be asked, by what speaks against it.
NEEDED: Final = {Doubt.NONE: 2.0, Doubt.SLIGHT: 1.0, Doubt.CLEAR: -MOST_DEBT}


class Allowances:
    """Both, for the whole guard."""

    __slots__ = ("_pools", "_proofs", "patience")

    def __init__(self) -> None:
        self.patience = FIRST_PATIENCE
        self._proofs: RateTable[int] = RateTable(PROOFS, MAX_ACCOUNTS)
        self._pools: dict[Pool, RateTable[int]] = {
            pool: RateTable(rate, 1) for pool, rate in ALL_PROOFS.items()
        }

    def proof_left(self, account: int, pool: Pool, now: float) -> bool:
        """Whether one more doubtful credential of the account may go to the backend."""
        if not self._pools[pool].allows(_EVERYBODY, now):
            return False
        return pool is Pool.PERSISTENT or self._proofs.allows(account, now)

    def use_proof(self, account: int, pool: Pool, now: float) -> None:
        """One has gone."""
        self._proofs.use(account, now)
        self._pools[pool].use(_EVERYBODY, now)

    def patience_left(self, doubt: Doubt) -> bool:
        """Whether one more right password may be asked to come again."""
        return self.patience >= NEEDED[doubt]

    def earn_patience(self, share: float) -> None:
        """One more good login; `share` of them may be asked."""
        self.patience = min(MOST_PATIENCE, self.patience + share)

    def spend_patience(self, *, again: bool) -> None:
        """One was asked; `again` says that it came again in haste, which costs less and makes no
        debts: else one client could spend what is kept for others."""
        floor = min(self.patience, 0.0) if again else -MOST_DEBT
        self.patience = max(floor, self.patience - (HASTE_COST if again else 1.0))
