"""Facts: what is known when one Event is judged.

They are made for every Event, and a named tuple is made in a third of a frozen dataclass's time.
"""

from typing import NamedTuple

from gatekeeper.ban import Scope
from gatekeeper.policy.accounts import Knowledge, Standing
from gatekeeper.policy.domains import SILENT, DomainFacts
from gatekeeper.settings import PolicySettings


class LoginFacts(NamedTuple):
    """Of a login attempt or its outcome."""

    standing: Standing
    knowledge: Knowledge
    account_known: bool  # it has logged in before
    learned: bool  # whether being unfamiliar, or unknown, says something here
    trap: bool
    locked: bool  # by the operator
    refused_ago_s: float | None  # since the backend refused this account and password
    replaced: bool  # the password was right once, and the account has another now
    repeated: bool  # within the repeat window: it was counted, and counts no more
    asked_ago_s: float | None  # since this credential was asked to come again
    sprayed: bool
    attacked: bool  # strangers guess at this account
    lane_locked: bool
    level_high: bool  # strangers guess everywhere
    network_suspect: bool
    guessing_at_home: bool  # familiar places: too many wrong passwords from this address
    proof_left: bool  # of what came back: one more doubtful credential may go to the backend
    patience_left: bool  # of a right password: one more may be asked to come again

    @property
    def at_home(self) -> bool:
        """Whether the account's own password came from where it is at home."""
        return self.standing is Standing.FAMILIAR and self.knowledge is Knowledge.RIGHT


class RecipientFacts(NamedTuple):
    """Of a recipient or its outcome."""

    held: bool  # the account behaves like a stolen one
    over_rate: bool  # of the account, or of the address
    unknown: int  # different unknown recipients of this address within a day
    mostly_unknown: bool  # more than half of those asked for
    none_accepted: bool
    probe: bool  # one may go to the backend all the same, to see if the sender has mended
    domain: DomainFacts = SILENT  # what the files of its domain say, on port 25


class Facts(NamedTuple):
    """Read-only record gathered for one Event of one entity.

    Scores are those of the entity in `scope`; `score` includes this Event, `score_before` does
    not, so they differ exactly where the Event itself was held against the client.
    """

    scope: Scope
    banned: bool  # a ban of this entity, or of a network around it, is in force
    score_before: float
    score: float
    ban_score: float  # at which the entity is banned from `scope`; at least, where it has no score
    spared: bool  # people log in from there, or guesses are few: no ban is made for them
    settings: PolicySettings
    login: LoginFacts | None = None
    recipient: RecipientFacts | None = None
    tags: frozenset[str] = frozenset()  # of the session, by earlier hooks; for hooks alone

    @property
    def counted(self) -> bool:
        """Whether this Event raised the score."""
        return self.score > self.score_before
