"""What is found out about EHLO and MAIL before they are judged; stable words for logs.

None stands for no opinion everywhere: it was not looked at, or DNS gave no answer in time.
"""

from enum import Enum


class HelloFault(Enum):
    """What is wrong with the domain of EHLO or HELO (RFC 5321 4.1.1.1); the gravest of several."""

    NO_NAME = "no-name"  # neither a domain nor an address literal (RFC 5321 2.3.5, 4.1.3)
    BARE_ADDRESS = "bare-address"  # an address without its brackets
    OURS = "ours"  # a stranger calls itself by a name or an address of ours
    OTHER_ADDRESS = "other-address"  # the literal of an address that is not the client's
    NO_DOT = "no-dot"  # one label, which nobody else can look up


class SenderDomain(Enum):
    """What DNS says of a sender's domain (RFC 5321 3.6)."""

    FOUND = "found"  # it has MX or address records
    MISSING = "missing"  # it has neither, or does not exist: no answer could ever reach it
    UNREADABLE = "unreadable"  # servers might read different ones in the reverse-path
    NULL_MX = "null-mx"  # it takes no mail, so it sends none (RFC 7505 4.2)


class SpfResult(Enum):
    """The results of RFC 7208 2.6."""

    NONE = "none"  # there is no record, or no domain to ask for one
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105  a result, not a password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"
