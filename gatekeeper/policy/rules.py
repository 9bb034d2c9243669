"""Rules: one opinion each on one Event, from the Event and its Facts alone.

A Rule returns None where it has no opinion. The strongest of all opinions is the verdict. The
operator's own Rules have the same shape as these.

A verdict that bans still carries the refusal: the session sends its answer, then closes. It is not
delayed, since the kernel cuts the connection as soon as the ban has reached it.
"""

from collections.abc import Callable
from typing import Final

from gatekeeper.events import (
    AuthOutcome,
    AuthResult,
    ConnectionClosed,
    JudgedEvent,
    RcptOutcome,
    RcptResult,
    Violation,
)
from gatekeeper.policy.facts import Facts
from gatekeeper.verdict import Action, Reason, Verdict

Rule = Callable[[JudgedEvent, Facts], Verdict | None]

# Scores decay between the events that make them, so that eight failures come to a little less than
# eight. This much is forgiven: eight within about 25 minutes are eight.
SLACK: Final = 0.25

_BANNED: Final = Verdict(Action.CLOSE, Reason.BANNED)


def banned(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Close on every Event of a banned entity, at once.

    This ends the connections that were open when the ban was made: parallel guesses under way get
    no further answer than a refusal, a right one included.
    """
    if facts.banned and not isinstance(event, ConnectionClosed):
        return _BANNED
    return None


def auth_failures(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Delay, and at the ban score ban, for wrong passwords (`auth_ban_score`).

    Only failures are delayed: a right password is answered as fast as the backend answers.
    """
    if isinstance(event, AuthOutcome) and event.result is AuthResult.FAILURE:
        return _against(facts, Reason.AUTH_FAILURES)
    return None


def unknown_recipients(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Delay, and at the ban score ban, for recipients that do not exist or are not ours.

    Nothing is held against a logged-in user who mistypes: his recipients have no weight.
    """
    if not isinstance(event, RcptOutcome) or not facts.counted:
        return None
    if event.result in {RcptResult.UNKNOWN, RcptResult.RELAY_DENIED}:
        return _against(facts, Reason.UNKNOWN_RECIPIENTS)
    return None


def violations(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Ban at the ban score for bytes that are not the protocol (weights in `policy.weights`).

    Never delays: the refusal itself ends most such sessions.
    """
    if isinstance(event, Violation) and _ban_due(facts):
        return Verdict(Action.CLOSE, Reason.PROTOCOL_ABUSE, ban=True)
    return None


BUILT_IN: Final[tuple[Rule, ...]] = (banned, auth_failures, unknown_recipients, violations)


def tarpit_s(facts: Facts) -> float:
    """Seconds a failure's answer is held back.

    `tarpit_base_s` when the score reaches the tarpit score, doubled for each point above it, at
    most `tarpit_max_s`; 0 below.
    """
    if not _reached(facts.score, facts.tarpit_score):
        return 0.0
    settings = facts.settings
    doublings = int(facts.score + SLACK - facts.tarpit_score)
    return float(min(settings.tarpit_max_s, settings.tarpit_base_s * 2.0**doublings))


def _against(facts: Facts, reason: Reason) -> Verdict | None:
    if facts.banned:
        return None  # `banned` has the word, and nothing is gained by holding the connection
    if _ban_due(facts):
        return Verdict(Action.CLOSE, reason, ban=True)
    delay_s = tarpit_s(facts)
    return Verdict(Action.DELAY, Reason.TARPIT, delay_s) if delay_s else None


def _ban_due(facts: Facts) -> bool:
    """A repeated password adds nothing, so it never bans, however high the score already is."""
    return facts.counted and _reached(facts.score, facts.ban_score)


def _reached(score: float, threshold: float) -> bool:
    return score + SLACK >= threshold
