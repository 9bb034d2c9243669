"""What an Event adds to the score of the client it came from.

Only the backend's certain word on a credential or a recipient counts, and what a client sent that
is not its protocol. An outage, a cancelled exchange, a deferred or otherwise refused recipient are
nobody's guess and add nothing.
"""

from enum import Enum
from typing import Final

from gatekeeper.ban import Scope
from gatekeeper.events import (
    AuthOutcome,
    AuthResult,
    JudgedEvent,
    RcptOutcome,
    RcptResult,
    Violation,
    ViolationKind,
)
from gatekeeper.settings import PolicySettings

RELAY_DENIED_SHARE: Final = 0.5  # of an unknown recipient: a stale MX record does this as well
ACCIDENT_SHARE: Final = 0.1  # of a violation: 80 accidents within a half-life make a ban


class Severity(Enum):
    """What a violation tells of the one who made it."""

    HOSTILE = "hostile"  # no mail program does this
    ORDINARY = "ordinary"
    ACCIDENT = "accident"  # honest clients do this: old, misconfigured, or on a bad line
    FOREIGN = "foreign"  # not the client's doing


_SEVERITY: Final = {
    ViolationKind.SMUGGLING: Severity.HOSTILE,
    # Made by somebody on the way, or by a page in a browser, under the address of their victim.
    ViolationKind.STARTTLS_INJECTION: Severity.ORDINARY,
    ViolationKind.FOREIGN_PROTOCOL: Severity.ORDINARY,
    ViolationKind.BARE_CR: Severity.ORDINARY,
    ViolationKind.NUL: Severity.ORDINARY,
    ViolationKind.BAD_SYNTAX: Severity.ORDINARY,
    ViolationKind.BAD_SEQUENCE: Severity.ORDINARY,
    ViolationKind.BAD_BDAT: Severity.ORDINARY,
    ViolationKind.BAD_LITERAL: Severity.ORDINARY,
    ViolationKind.BAD_BASE64: Severity.ORDINARY,
    ViolationKind.BAD_SASL: Severity.ORDINARY,
    ViolationKind.SASL_TOO_LONG: Severity.ORDINARY,
    ViolationKind.FORBIDDEN_VERB: Severity.ORDINARY,
    ViolationKind.EARLY_TALKER: Severity.ORDINARY,
    ViolationKind.TOO_MANY_ERRORS: Severity.ORDINARY,
    ViolationKind.LINE_TOO_LONG: Severity.ACCIDENT,
    ViolationKind.BARE_LF: Severity.ACCIDENT,  # printers and shell scripts
    ViolationKind.MECHANISM_NOT_OFFERED: Severity.ACCIDENT,
    ViolationKind.AUTH_NOT_OFFERED: Severity.ACCIDENT,  # a mail program set to "no TLS"
    ViolationKind.TLS_GARBAGE: Severity.ACCIDENT,  # plain text to a TLS port, or an old TLS
    # Sent by the balancer in front, under whose own address this connection still runs.
    ViolationKind.PROXY_HEADER: Severity.FOREIGN,
    # A browser led here by a web page, or a TLS examiner's hundred handshakes; refusing is cheap.
    ViolationKind.ALPN_MISMATCH: Severity.FOREIGN,
}


def severity(kind: ViolationKind, scope: Scope) -> Severity:
    """How a violation is to be read on the ports of `scope`."""
    if kind is ViolationKind.AUTH_NOT_OFFERED and scope is Scope.MX:
        return Severity.HOSTILE  # other mail servers never log in; password guessers try
    return _SEVERITY[kind]


def weight(event: JudgedEvent, scope: Scope, repeated: bool, settings: PolicySettings) -> float:
    """What `event` adds to the score in `scope`, 0 or more.

    `repeated` says that the same wrong password was already counted for this account and entity:
    a forgotten phone, not a guesser.
    A success takes nothing off: until it is known which accounts belong to an address, one account
    of his own would let a guesser wash his score after each seventh guess.
    """
    match event:
        case AuthOutcome(result=AuthResult.FAILURE):
            return 0.0 if repeated else settings.auth_failure_weight
        case RcptOutcome(result=result) if scope is Scope.MX:
            return _recipient_weight(result, settings)
        case Violation(kind=kind):
            return _violation_weight(severity(kind, scope), settings)
        case _:
            return 0.0


def _recipient_weight(result: RcptResult, settings: PolicySettings) -> float:
    if result is RcptResult.UNKNOWN:
        return settings.unknown_recipient_weight
    if result is RcptResult.RELAY_DENIED:
        return settings.unknown_recipient_weight * RELAY_DENIED_SHARE
    return 0.0


def _violation_weight(severity: Severity, settings: PolicySettings) -> float:
    match severity:
        case Severity.HOSTILE:
            return settings.hostile_violation_weight
        case Severity.ORDINARY:
            return settings.violation_weight
        case Severity.ACCIDENT:
            return settings.violation_weight * ACCIDENT_SHARE
        case Severity.FOREIGN:
            return 0.0
