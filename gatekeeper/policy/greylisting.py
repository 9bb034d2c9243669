"""Whether a doubtful credential goes on: greylisting, for logins.

A client that is told "not now" (454, `NO [UNAVAILABLE]`) keeps its password and comes again by
itself (RFC 4954 4, 6); a guess that is made once does not. So the first sight of an account,
password and net is put off, and what comes back is looked at again:

* a password that was right the last time goes on;
* one that is surely another than the account's goes on while a small allowance lasts, for the
  password may have been changed elsewhere, and a larger one for who is as persistent as a mail
  program; beyond it is put off again, or refused as the backend would (`strict`);
* one of an account that has never logged in needs the allowance too, a larger one where it is as
  persistent as a mail program, and is put off again beyond it;
* one of which nothing is known goes on; where guesses come without end (`strict`) it needs the
  allowance, and is put off again beyond it.

Asking people back is a cost to them: of right passwords no more than a set share are asked, and
what is beyond goes on at once.
"""

from functools import cache

from gatekeeper.policy.accounts import Knowledge
from gatekeeper.policy.facts import Facts, LoginFacts
from gatekeeper.verdict import Action, Reason, Verdict


def put_off(
    facts: Facts, login: LoginFacts, reason: Reason, *, strict: bool = False
) -> Verdict | None:
    """The verdict on a doubtful credential; None lets it go on."""
    settings = facts.settings
    asked_ago_s = login.asked_ago_s
    if login.knowledge is Knowledge.RIGHT:
        if asked_ago_s is None and not login.patience_left:
            return None
    elif asked_ago_s is not None and asked_ago_s >= settings.retry_after_s:
        wrong = login.knowledge is Knowledge.WRONG
        if login.proof_left or not (wrong or strict or not login.account_known):
            return None
        return Verdict(Action.DECOY if wrong and strict else Action.DEFER, reason)
    if asked_ago_s is None or asked_ago_s < settings.retry_after_s:
        return _deferred(reason)
    return None


@cache
def _deferred(reason: Reason) -> Verdict:
    return Verdict(Action.DEFER, reason)
