"""When a score is answered with a delay, and when with a ban."""

from typing import Final

from gatekeeper.ban import Scope
from gatekeeper.policy.facts import Facts
from gatekeeper.verdict import Action, Reason, Verdict

# Scores decay between the events that make them, so that ten failures come to a little less than
# ten. This much is forgiven: ten within about 20 minutes are ten.
SLACK: Final = 0.25


def against(facts: Facts, reason: Reason) -> Verdict | None:
    """The verdict on a failure: a ban at the ban score, before that a delay.

    A verdict that bans still carries the refusal: the session sends its answer, then closes. It is
    not delayed, since the kernel cuts the connection as soon as the ban has reached it.
    """
    if facts.banned:
        return None  # `banned` has the word, and nothing is gained by holding the connection
    if ban_due(facts):
        return Verdict(Action.CLOSE, reason, ban=True)
    delay_s = tarpit_s(facts)
    return Verdict(Action.DELAY, Reason.TARPIT, delay_s) if delay_s else None


def ban_due(facts: Facts) -> bool:
    """A repeated password adds nothing, so it never bans, however high the score already is; nor is
    an address banned from which people log in, or from which guesses come slowly."""
    return facts.counted and not facts.spared and reached(facts.score, facts.ban_score)


def tarpit_s(facts: Facts) -> float:
    """Seconds a failure's answer is held back on the login ports.

    `tarpit_base_s` when the score reaches the tarpit score, doubled for each point above it, at
    most `tarpit_max_s`; 0 below.
    """
    settings = facts.settings
    tarpit_score = settings.auth_tarpit_score
    if facts.scope is not Scope.AUTH or not reached(facts.score, tarpit_score):
        return 0.0
    doublings = int(facts.score + SLACK - tarpit_score)
    return float(min(settings.tarpit_max_s, settings.tarpit_base_s * 2.0**doublings))


def reached(score: float, threshold: float) -> bool:
    """Whether a score is as good as at the threshold."""
    return score + SLACK >= threshold
