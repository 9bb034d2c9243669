"""Who takes part in the demo's tour, and what shows what the guard did."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from demo.clients import Account, Somebody


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part, and the tools that show what the guard did."""

    person: Somebody
    person_v6: Somebody | None
    stranger: Somebody
    attacker: Somebody
    account: Account
    ports: Mapping[str, int]
    nft: Callable[..., str] | None  # None: no kernel, the guard alone
    gatekeeper: Callable[..., str]
    asked: Callable[[str], int]  # wrong passwords from an address that the backend has heard
