"""Facts: what is known when one Event is judged."""

from dataclasses import dataclass

from gatekeeper.ban import Scope
from gatekeeper.settings import PolicySettings


@dataclass(frozen=True, slots=True)
class Facts:
    """Read-only record gathered for one Event of one entity.

    Scores are those of the entity in `scope`; `score` includes this Event, `score_before` does
    not, so they differ exactly where the Event itself was held against the client.
    """

    scope: Scope
    banned: bool  # a ban of this entity, or of a network around it, is in force
    score_before: float
    score: float
    repeated: bool  # this wrong password of this account was already counted
    settings: PolicySettings

    @property
    def ban_score(self) -> float:
        """The score at which the entity is banned from `scope`."""
        if self.scope is Scope.MX:
            return self.settings.mx_ban_score
        return self.settings.auth_ban_score

    @property
    def tarpit_score(self) -> float:
        """The score from which failures are answered late."""
        if self.scope is Scope.MX:
            return self.settings.mx_tarpit_score
        return self.settings.auth_tarpit_score

    @property
    def counted(self) -> bool:
        """Whether this Event raised the score."""
        return self.score > self.score_before
