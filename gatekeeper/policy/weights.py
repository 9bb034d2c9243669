"""What an Event adds to the score of the address it came from.

Only certain things count: the backend's word on a credential, a credential that is surely none, and
what a client sent that is not its protocol. An outage and a cancelled exchange are nobody's guess.
"""

from enum import Enum
from typing import Final

from gatekeeper.ban import Scope
from gatekeeper.events import ViolationKind
from gatekeeper.policy.accounts import Standing
from gatekeeper.policy.facts import LoginFacts
from gatekeeper.settings import PolicySettings

FAMILIAR_SHARE: Final = 0.3  # where an account is at home it is mistyped by its owner
NO_ACCOUNT_TIMES: Final = 2.0
SPRAYED_WEIGHT: Final = 3.0
MOST_TIMES: Final = 3.0  # of a failure: a ban is for who goes on, not for one bad guess
TRAP_WEIGHT: Final = 10.0
ACCIDENT_SHARE: Final = 0.1  # of a violation: a hundred accidents within a half-life make a ban


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


def guess_weight(
    login: LoginFacts,
    *,
    newcomers_learned: bool,
    accounts_failed: float,
    settings: PolicySettings,
    trapped: bool = False,
) -> float:
    """What a guess adds to the score of its address, 0 or more.

    `accounts_failed` is how many different accounts failed there, this one included, for each that
    is at home there and one more: what one person gets wrong is one account's, a list is many.
    `newcomers_learned` says that nearly every account in use has been seen: then a new name is
    likely none. `trapped` says that the Rule on trap accounts refused it: where that only watches,
    a trap weighs as any other account does. A success takes nothing off here: one account of his
    own would let a guesser wash his score after each guess.
    """
    weight = settings.auth_failure_weight
    if login.standing is Standing.FAMILIAR:
        weight *= FAMILIAR_SHARE
    else:
        if newcomers_learned and not login.account_known:
            weight *= NO_ACCOUNT_TIMES
        weight *= max(1.0, accounts_failed - 1)  # one person has two spellings of one name
        weight += SPRAYED_WEIGHT if login.sprayed else 0.0
        weight = min(weight, MOST_TIMES * settings.auth_failure_weight)
    return weight + (TRAP_WEIGHT if trapped else 0.0)


def violation_weight(kind: ViolationKind, scope: Scope, settings: PolicySettings) -> float:
    """What a breach of the protocol adds to the score of its address in `scope`, 0 or more."""
    return _violation_weight(severity(kind, scope), settings)


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
