"""How many doubtful credentials may go on, and how many right ones may be asked to wait.

Two allowances, one on each side of a mistake. *Proofs*: a password that is surely not the account's
may be a changed one, an account never seen a new one, so a few may be tried on the backend: few for
each account, and few for all, which a guesser of many accounts shares with himself. *Patience*:
asking people with the right password to come again costs them, so it is earned by good logins, a
set share of them, and spent on those first that something speaks against.
"""

from enum import IntEnum
from typing import Final

from gatekeeper.policy.rates import Rate, RateTable

PROOFS: Final = Rate(2, 3600.0)  # of one account
ALL_PROOFS: Final = Rate(20, 120.0)  # of all
MAX_ACCOUNTS: Final = 20_000  # about 3 MB
FIRST_PATIENCE: Final = 3.0  # before the first good logins are counted
MOST_PATIENCE: Final = 10.0  # saved up, and owed
_EVERYBODY: Final = 0


class Doubt(IntEnum):
    """What speaks against a right password from a stranger's place, besides the times."""

    NONE = 0
    SLIGHT = 1  # strangers have guessed at its account
    CLEAR = 2  # they have guessed from this address, or sprayed this password


# How much must be saved up for one to be asked, by what speaks against it.
NEEDED: Final = {Doubt.NONE: 5.0, Doubt.SLIGHT: 1.0, Doubt.CLEAR: -MOST_PATIENCE}


class Allowances:
    """Both, for the whole guard."""

    __slots__ = ("_all_proofs", "_proofs", "patience")

    def __init__(self) -> None:
        self.patience = FIRST_PATIENCE
        self._proofs: RateTable[int] = RateTable(PROOFS, MAX_ACCOUNTS)
        self._all_proofs: RateTable[int] = RateTable(ALL_PROOFS, 1)

    def proof_left(self, account: int, *, shared: bool, now: float) -> bool:
        """Whether one more doubtful credential of the account may go to the backend; `shared` says
        that guessers of many accounts make such ones, so that it is one for all as well."""
        if shared and not self._all_proofs.allows(_EVERYBODY, now):
            return False
        return self._proofs.allows(account, now)

    def use_proof(self, account: int, *, shared: bool, now: float) -> None:
        """One has gone."""
        self._proofs.use(account, now)
        if shared:
            self._all_proofs.use(_EVERYBODY, now)

    def patience_left(self, doubt: Doubt) -> bool:
        """Whether one more right password may be asked to come again."""
        return self.patience >= NEEDED[doubt]

    def earn_patience(self, share: float) -> None:
        """One more good login; `share` of them may be asked."""
        self.patience = min(MOST_PATIENCE, self.patience + share)

    def spend_patience(self) -> None:
        """One was asked."""
        self.patience = max(-MOST_PATIENCE, self.patience - 1.0)
