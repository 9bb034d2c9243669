"""What attackers try: pairs of an account's name and a password, without end."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Final, TypeAlias

from bench.detection.accounts import DOMAIN, POPULAR, popular, popular_rank

Guess: TypeAlias = tuple[str, str]

REAL_NAMES: Final = 0.6  # of the names on an attacker's list
_UNPOPULAR_FROM: Final = 200  # ranks that are tried by those who avoid the frequent ones
_TRIES_PER_ACCOUNT: Final = 200


def names(rng: Random, real: Sequence[str]) -> list[str]:
    """An attacker's list: most of the real names, and as many wrong ones as make the share."""
    known = rng.sample(real, int(len(real) * 0.9))
    wrong = int(len(known) * (1 - REAL_NAMES) / REAL_NAMES)
    known += [f"{rng.choice(('info', 'admin', 'w', 'x'))}{i}@{DOMAIN}" for i in range(wrong)]
    rng.shuffle(known)
    return known


def one_by_one(rng: Random, accounts: Sequence[str]) -> Iterator[Guess]:
    """The frequent passwords on one account, then on the next."""
    order = rng.sample(accounts, len(accounts))
    while True:
        for account in order:
            for rank in range(_TRIES_PER_ACCOUNT):
                yield account, popular(rank)


def sprayed(rng: Random, accounts: Sequence[str]) -> Iterator[Guess]:
    """One frequent password on every account, then the next."""
    while True:
        for rank in range(POPULAR):
            for account in rng.sample(accounts, len(accounts)):
                yield account, popular(rank)


def mixed(rng: Random, accounts: Sequence[str]) -> Iterator[Guess]:
    """Any account, any password, frequent ones more often."""
    while True:
        yield rng.choice(accounts), popular(popular_rank(rng))


def unpopular(rng: Random, accounts: Sequence[str]) -> Iterator[Guess]:
    """Any account, passwords that are not among the most frequent: each on few accounts."""
    while True:
        yield rng.choice(accounts), popular(rng.randrange(_UNPOPULAR_FROM, POPULAR))


def exhaustive(rng: Random, accounts: Sequence[str]) -> Iterator[Guess]:
    """A few accounts, each with all frequent passwords and then with whatever follows."""
    rank = 0
    while True:
        for account in accounts:
            yield account, popular(rank) if rank < POPULAR else f"word-{rank}"
        rank += 1


def nonsense(rng: Random, accounts: Sequence[str]) -> Iterator[Guess]:
    """Passwords that are not meant to be right, to lock the accounts."""
    while True:
        yield rng.choice(accounts), f"nonsense-{rng.getrandbits(48):x}"


def stuffed(
    rng: Random, known: Sequence[Guess], count: int, accounts: Sequence[str]
) -> list[Guess]:
    """`count` pairs stolen elsewhere, each tried once; those of `known` are right here."""
    pairs = list(known)
    pairs += [
        (rng.choice(accounts), f"leaked-{rng.getrandbits(48):x}") for _ in range(count - len(known))
    ]
    rng.shuffle(pairs)
    return pairs
