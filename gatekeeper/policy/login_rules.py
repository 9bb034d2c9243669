"""Rules for logins: before the backend sees a credential, and when it has answered.

In order of what they mean for a person: whoever is where the account is at home passes; only others
are put off (`greylisting`), and only where something speaks against them: the address, the networks
around it, the password, the account, or the times. Nobody with the right password is refused
for good by what strangers do.
"""

from dataclasses import replace
from typing import Final

from gatekeeper.events import AuthAttempt, AuthOutcome, AuthResult, JudgedEvent
from gatekeeper.policy.accounts import Knowledge, Standing
from gatekeeper.policy.connection_rules import says_enough
from gatekeeper.policy.facts import Facts, LoginFacts
from gatekeeper.policy.greylisting import put_off
from gatekeeper.policy.thresholds import SLACK, against, ban_due
from gatekeeper.verdict import Action, Reason, Verdict

DOUBT_SHARE: Final = 0.3  # of `refused_for`, for a password that was right until now


def auth_failures(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Delay, and at the ban score ban, for wrong passwords (`auth_ban_score`).

    A guess refused here counts as one the backend refused. Only failures are delayed: a right
    password is answered as fast as the backend answers. An address from which people log in is not
    banned: what strangers send from there is refused, and the people are left alone.
    """
    if isinstance(event, AuthOutcome):
        if event.result is AuthResult.FAILURE:
            return against(facts, Reason.AUTH_FAILURES)
        return None
    if isinstance(event, AuthAttempt) and ban_due(facts):
        return Verdict(Action.CLOSE, Reason.AUTH_FAILURES, ban=True)
    return None


def trap_account(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Refuse an account that nobody has (`trap_accounts`), as the backend would."""
    login = facts.login
    if isinstance(event, AuthAttempt) and login is not None and login.trap:
        return Verdict(Action.DECOY, Reason.TRAP_ACCOUNT)
    return None


def account_locked(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Refuse an account the operator has locked, wherever it comes from, right or wrong."""
    login = facts.login
    if login is None or not login.locked:
        return None
    if isinstance(event, AuthAttempt):
        return Verdict(Action.REJECT, Reason.ACCOUNT_LOCKED)
    if isinstance(event, AuthOutcome) and event.result is AuthResult.SUCCESS:
        return Verdict(Action.REJECT, Reason.ACCOUNT_LOCKED)  # locked while the backend thought
    return None


def repeated_password(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Answer here what the backend refused within `refused_for`: the same account and password.

    The time runs from the backend's word and is not prolonged, so that a password that has become
    right meanwhile is soon heard; sooner still one that was right before.
    """
    login = facts.login
    if not isinstance(event, AuthAttempt) or login is None or login.refused_ago_s is None:
        return None
    was_right = login.knowledge is Knowledge.FORMER or login.knowledge is Knowledge.RIGHT
    in_doubt = was_right and not login.replaced  # the backend may have been wrong for a moment
    refused_for_s = facts.settings.refused_for_s * (DOUBT_SHARE if in_doubt else 1.0)
    if login.refused_ago_s < refused_for_s:
        return Verdict(Action.REJECT, Reason.REPEATED_PASSWORD)
    return None


def familiar_guessing(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Where accounts are at home and too many wrong passwords come from: refuse more of them.

    It touches no right password, and none of which nothing is known.
    """
    login = _unproven(event, facts)
    if login is None or not login.guessing_at_home or login.knowledge is not Knowledge.WRONG:
        return None
    if login.standing is not Standing.FAMILIAR:
        return None
    return put_off(facts, login, Reason.FAMILIAR_GUESSING)


def suspect_source(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Put strangers off at an address that is close to a ban (`auth_suspect_share`)."""
    login = _unproven(event, facts)
    if login is None or login.standing is Standing.FAMILIAR:
        return None
    if facts.score_before + SLACK < facts.ban_score * facts.settings.auth_suspect_share:
        return None
    return put_off(facts, login, Reason.SUSPECT_SOURCE, strict=True)


def suspect_network(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Put strangers off in a network from all over which guesses come."""
    login = _stranger(event, facts)
    if login is None or not login.network_suspect:
        return None
    return put_off(facts, login, Reason.SUSPECT_NETWORK, strict=True)


def auth_listed(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Put strangers off whose address lists of guessers name (`dnsbl_reject_score`).

    Nobody with the right password is refused for it: a list is wrong about whoever has an address
    after a guesser.
    """
    login = _stranger(event, facts)
    if login is None or not isinstance(event, AuthAttempt) or not event.listings:
        return None
    if not says_enough(event.listings, facts, observed=True):
        return None
    doubt = put_off(facts, login, Reason.AUTH_LISTED, strict=True)
    if doubt is None or says_enough(event.listings, facts, observed=False):
        return doubt
    return replace(doubt, watched=True)


def sprayed_password(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Put strangers off who try a password that was tried on many accounts.

    The right one as well as the wrong ones: an answer that differs would tell which is which.
    """
    login = _stranger(event, facts)
    if login is None or not login.sprayed:
        return None
    return put_off(facts, login, Reason.SPRAYED_PASSWORD)


def account_attacked(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Put strangers off an account that strangers guess at."""
    login = _stranger(event, facts)
    if login is None or not (login.attacked or login.lane_locked):
        return None
    reason = Reason.ACCOUNT_LANE_LOCKED if login.lane_locked else Reason.ACCOUNT_ATTACKED
    return put_off(facts, login, reason, strict=login.lane_locked)


def attack_level(event: JudgedEvent, facts: Facts) -> Verdict | None:
    """Put strangers off while strangers guess everywhere."""
    login = _stranger(event, facts)
    if login is None or not login.level_high:
        return None
    return put_off(facts, login, Reason.ATTACK_LEVEL)


def _unproven(event: JudgedEvent, facts: Facts) -> LoginFacts | None:
    return facts.login if isinstance(event, AuthAttempt) else None


def _stranger(event: JudgedEvent, facts: Facts) -> LoginFacts | None:
    """The facts of a stranger's attempt: from a place the account does not know, or from a half
    known one with a password that is surely not the account's."""
    login = _unproven(event, facts)
    if login is None or login.standing is Standing.FAMILIAR:
        return None
    if login.standing is Standing.SEMI and login.knowledge is not Knowledge.WRONG:
        return None
    return login
