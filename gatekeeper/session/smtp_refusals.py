"""What an SMTP client hears where a verdict refuses EHLO, MAIL or RCPT.

Replies tell no rule, unless an RFC gives the refusal a code of its own, or a decent sender has to
know what to mend: a domain that is missing, a record that is wrong.
"""

from typing import Final

from gatekeeper.verdict import Action, Reason, Verdict
from gatekeeper.wire.smtp_replies import format_reply

_HELLO_DEFERRED: Final = format_reply(450, "4.7.1", "Not accepted now, try again later")
_HELLO_REJECTED: Final = format_reply(550, "5.7.1", "Not accepted")
_NO_HELLO: Final = format_reply(550, "5.7.1", "EHLO with a domain of your own is needed")
_HELLO_FIRST: Final = format_reply(503, "5.5.1", "Send HELO/EHLO first")  # RFC 5321 4.1.4

_MAIL_DEFERRED: Final = format_reply(450, "4.7.1", "Sender not accepted now, try again later")
_MAIL_REJECTED: Final = format_reply(550, "5.7.1", "Sender not accepted")
_MAIL_BY_REASON: Final = {
    Reason.HELLO: _HELLO_FIRST,
    Reason.SENDER_DOMAIN: format_reply(550, "5.1.8", "Sender domain not found"),  # RFC 3463 3.2
    Reason.SENDER_NULL_MX: format_reply(550, "5.7.27", "Sender address has null MX"),  # RFC 7505 4
    Reason.SPF_FAIL: format_reply(550, "5.7.23", "SPF validation failed"),  # RFC 7372 3.2
}

_RCPT_DEFERRED: Final = format_reply(450, "4.7.1", "Recipient not accepted now, try again later")
_SENDER_DEFERRED: Final = format_reply(451, "4.7.1", "Message not accepted now, try again later")
_RCPT_REJECTED: Final = format_reply(550, "5.7.1", "Recipient not accepted")
_RCPT_UNKNOWN: Final = format_reply(550, "5.1.1", "No such user here")
# It is the account's sending that is held, whoever the recipient is.
_OF_THE_SENDER: Final = frozenset({Reason.ACCOUNT_HELD, Reason.RECIPIENT_RATE})


def hello_refusal(refused: Verdict) -> bytes:
    """The answer to EHLO or HELO."""
    if refused.action is Action.DEFER:
        return _HELLO_DEFERRED
    return _NO_HELLO if refused.reason is Reason.HELLO else _HELLO_REJECTED


def mail_refusal(refused: Verdict) -> bytes:
    """The answer to MAIL."""
    if refused.action is Action.DEFER:
        return _MAIL_DEFERRED
    return _MAIL_BY_REASON.get(refused.reason, _MAIL_REJECTED)


def rcpt_refusal(refused: Verdict, *, logged_in: bool) -> bytes:
    """The answer to RCPT, and to what asks for a recipient as RCPT does."""
    if refused.reason is Reason.UNKNOWN_USER:
        return _RCPT_UNKNOWN
    if refused.action is not Action.DEFER:
        return _RCPT_REJECTED
    if logged_in and refused.reason in _OF_THE_SENDER:
        return _SENDER_DEFERRED
    return _RCPT_DEFERRED
