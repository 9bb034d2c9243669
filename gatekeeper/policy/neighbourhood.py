"""Who is at home at an address, how badly it and the networks around it behave, and what that says.

What speaks for a place (accounts that log in from there) is kept apart from what speaks against it
(scores), since only a success makes the first and any stranger makes the second.
"""

from typing import Final

from gatekeeper.policy.breaker import People
from gatekeeper.policy.keys import Place
from gatekeeper.policy.places import Places
from gatekeeper.policy.scores import SourceScores
from gatekeeper.settings import PolicySettings

CROWD: Final = 3  # accounts at home in a net that make it one where strangers are to be expected
CROWD_SHARE: Final = 0.3  # of the ban score, of a suspect network's: little speaks against it
LATELY_S: Final = 72 * 3600.0  # a login this young says that people are there
SUSPICION: Final = 0.05  # of a score: strangers guessed from this address within a day or so


class Neighbourhood:
    """Places and scores of the login ports. `settings` may be replaced at any time."""

    __slots__ = ("nets", "recalled", "scores", "settings", "sites", "sources")

    def __init__(self, settings: PolicySettings) -> None:
        self.settings = settings
        self.scores = SourceScores(settings.auth_half_life_s)
        self.sources = Places()
        self.nets = Places()
        self.sites = Places()  # the /48 of IPv6, which is a site or a small provider's customers
        self.recalled = Places()  # nets known from before the start, while sources are not yet

    def enter(self, place: Place, account: int, now: float) -> None:
        """`account` has logged in from `place`."""
        self.sources.add(place.source, account, now)
        self.nets.add(place.net, account, now)
        if len(place.parents) > 1:
            self.sites.add(place.parents[-1], account, now)

    def accounts(self, place: Place, now: float) -> int:
        """How many accounts are at home at this address; for a while after a start, in its net."""
        if self.sources.knows(place.source):
            return self.sources.accounts(place.source, now)
        if not len(self.recalled):
            return 0
        return self.recalled.accounts(place.net, now) if self.spared(place, now) else 0

    def spared(self, place: Place, now: float) -> bool:
        """Whether somebody logged in from this address lately: then guesses make no ban."""
        known = self.sources.knows(place.source)
        last_s = (
            self.sources.last_s(place.source, now)
            if known
            else self.recalled.last_s(place.net, now)
        )
        return last_s is not None and last_s <= self.settings.ban_spares_s

    def people(self, place: Place, now: float) -> People:
        """Who logged in lately here and around: in the /24, in the /64 and /48 of IPv6."""
        around = self.nets.lately(place.net, LATELY_S, now)
        if len(place.parents) > 1:
            around |= self.sites.lately(place.parents[-1], LATELY_S, now)
        here = self.sources.lately(place.source, LATELY_S, now)
        if not self.sources.knows(place.source):  # for a while after a start its net stands for it
            here = self.recalled.lately(place.net, LATELY_S, now)
        return People(here, around | here)

    def ban_score(self, place: Place, now: float) -> float:
        """The score at which `place` is banned from the login ports."""
        settings = self.settings
        per_account = settings.auth_ban_score_per_account
        return settings.auth_ban_score + per_account * self.accounts(place, now)

    def suspect_score(self, place: Place, parent: int, now: float) -> float:
        """The score at which one of the networks around `place` is suspect."""
        settings = self.settings
        bonus = settings.auth_ban_score_per_account * self.nets.accounts(place.net, now)
        return self.scores.threshold(parent, settings.network_suspect_score) + bonus

    def network_share(self, place: Place, now: float) -> float:
        """How close the worst network around `place` is to being suspect; from 1 on it is."""
        networks, share = self.scores.networks, 0.0
        for parent in place.parents:
            if parent in networks:
                score = networks.value(parent, now)
                share = max(share, score / self.suspect_score(place, parent, now))
        return share

    def is_crowd(self, place: Place, now: float) -> bool:
        """Whether many log in from there and little speaks against the place."""
        if self.nets.accounts(place.net, now) < CROWD:
            return False
        if self.network_share(place, now) >= CROWD_SHARE:
            return False
        score = self.scores.sources.value(place.source, now)
        return score < CROWD_SHARE * self.ban_score(place, now)

    def is_clean(self, place: Place, now: float) -> bool:
        """Whether nobody has guessed from this very address."""
        return self.scores.sources.value(place.source, now) < SUSPICION
