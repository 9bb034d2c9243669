"""SASL mechanisms that survive a guard in the middle, for SMTP and IMAP alike."""

from collections.abc import Iterable
from typing import Final

SCRAM_MECHANISMS: Final = frozenset({"SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"})

# An allow-list: the identity can be read, and no security layer can turn the stream opaque.
# GSSAPI, NTLM and DIGEST-MD5 fail the second test, EXTERNAL and ANONYMOUS the first.
ALLOWED_MECHANISMS: Final = SCRAM_MECHANISMS | {"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}


def offered(backend_mechanisms: Iterable[str]) -> tuple[str, ...]:
    """What of the backend's list is offered to a client: upper case, in its order, once each.

    A `-PLUS` mechanism binds to a TLS channel that ends at the guard, so it can never work. It also
    rules out all of SCRAM: a client that could bind but was shown no `-PLUS` sends the flag `y`,
    which a server that supports binding must take for a downgrade attack (RFC 5802 6).
    """
    listed = tuple(dict.fromkeys(mechanism.upper() for mechanism in backend_mechanisms))
    allowed = ALLOWED_MECHANISMS
    if any(mechanism.endswith("-PLUS") for mechanism in listed):
        allowed = ALLOWED_MECHANISMS - SCRAM_MECHANISMS
    return tuple(mechanism for mechanism in listed if mechanism in allowed)
