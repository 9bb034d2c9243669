"""Accounts and their passwords, and the backend that knows them."""

from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Final

DOMAIN: Final = "example.org"
POPULAR: Final = 1000  # passwords that sprayers try and careless people have


def popular(rank: int) -> str:
    """The password of this rank, 0 the most frequent."""
    return f"popular-{rank:03}"


def popular_rank(rng: Random, first: int = 0) -> int:
    """A rank as people choose: the share of each falls with its rank (Zipf), from `first` on."""
    return first + int((POPULAR - first + 1.0) ** rng.random()) - 1


@dataclass(slots=True)
class Account:
    """A mailbox with its password, which its owner may change once."""

    name: str
    first_password: str
    second_password: str = ""
    changed_at: float = inf

    def password(self, now: float) -> str:
        """The one that is right at `now`."""
        return self.second_password if now >= self.changed_at else self.first_password


@dataclass(slots=True)
class Backend:
    """What the mail server would say. `lies` is an outage that it does not own up to: everybody
    hears that the password is wrong."""

    accounts: dict[str, Account] = field(default_factory=dict)
    lies: bool = False

    def add(self, account: Account) -> Account:
        """Put it in the user database."""
        assert account.name not in self.accounts, account.name
        self.accounts[account.name] = account
        return account

    def accepts(self, now: float, name: str, password: str) -> bool:
        """Its word on this pair, were it asked now."""
        account = self.accounts.get(name)
        return account is not None and not self.lies and account.password(now) == password


def make_accounts(rng: Random, count: int, weak_share: float) -> list[Account]:
    """`count` accounts, of which a share has a popular password."""
    accounts = []
    for index in range(count):
        weak = rng.random() < weak_share
        password = popular(popular_rank(rng)) if weak else f"own-{rng.getrandbits(64):x}"
        accounts.append(Account(f"u{index:04}@{DOMAIN}", password))
    return accounts


def is_weak(account: Account) -> bool:
    """Whether a list of popular passwords has it."""
    return account.first_password.startswith("popular-")
