"""Capability lists on their way from the backend to a client (RFC 9051 6.1.1, 7.2.2).

A deny-list, unlike SMTP's allow-list: IMAP has some eighty extensions, nearly all of use only after
the login, when the guard passes octets on unread; an allow-list would take new ones from users
for no gain. What is taken out is what the guard itself decides (STARTTLS, LOGINDISABLED, AUTH=),
what would lead round the guard (referrals, RFC 2221 and 2193, to a server of somebody's choice),
and what `imap_tap` does not let through: UNAUTHENTICATE (RFC 8437) would open a login the
guard does not see, COMPRESS (RFC 4978) would blind it.
"""

from functools import lru_cache
from typing import Final

from gatekeeper.wire.imap_responses import Response
from gatekeeper.wire.imap_tap import NO_LIMIT
from gatekeeper.wire.mechanisms import offered

DENIED: Final = frozenset(
    {"STARTTLS", "LOGINDISABLED", "LOGIN-REFERRALS", "MAILBOX-REFERRALS", "UNAUTHENTICATE"}
)
_DENIED_PREFIXES: Final = ("COMPRESS=", "AUTH=")  # AUTH= comes back by `offered`
LITERAL_MINUS_OCTETS: Final = 4096  # RFC 7888 5; part of IMAP4rev2
_REVISIONS: Final = frozenset({"IMAP4REV1", "IMAP4REV2"})


def read_capabilities(response: Response) -> frozenset[str]:
    """The capabilities a response lists, in upper case; empty where it holds no list."""
    span = _find_list(response)
    if span is None:
        return frozenset()
    return _read_list(response.raw[span[0] : span[1]])


@lru_cache(maxsize=64)  # as below
def _read_list(octets: bytes) -> frozenset[str]:
    return frozenset(_words(octets.upper()))


def non_sync_octets(capabilities: frozenset[str]) -> int:
    """The longest non-synchronising literal a backend takes (RFC 7888 3, 5), for `ImapTap`."""
    if "LITERAL+" in capabilities:
        return NO_LIMIT
    return LITERAL_MINUS_OCTETS if capabilities & {"LITERAL-", "IMAP4REV2"} else 0


def rewrite(response: Response, *, offer_starttls: bool, login_disabled: bool) -> bytes:
    """The response's octets as a client is to see them.

    Capability lists are rewritten wherever they occur: in the code of a greeting, of a tagged or
    untagged status response or of a continuation, and in untagged CAPABILITY data. The guard's own
    STARTTLS and LOGINDISABLED stand behind the protocol's revision. With `login_disabled` no AUTH=
    and no SASL-IR is left. A response without a list is returned as it is, the same object.
    """
    span = _find_list(response)
    if span is None:
        return response.raw
    start, end = span
    words = _rewrite_list(response.raw[start:end], offer_starttls, login_disabled)
    return response.raw[:start] + words + response.raw[end:]


@lru_cache(maxsize=64)  # a backend has two or three lists, and says them at every login
def _rewrite_list(octets: bytes, offer_starttls: bool, login_disabled: bool) -> bytes:
    kept = _keep(_words(octets), login_disabled=login_disabled)
    own = ["STARTTLS"] * offer_starttls + ["LOGINDISABLED"] * login_disabled
    at = next((i + 1 for i, word in enumerate(kept) if word.upper() in _REVISIONS), len(kept))
    return " ".join([*kept[:at], *own, *kept[at:]]).encode("latin-1")


def _find_list(response: Response) -> tuple[int, int] | None:
    """Where in the raw octets the list of capabilities stands, without the word CAPABILITY."""
    if response.code is not None:
        name, space, words = response.code.partition(b" ")
        start = response.raw.index(b"[", len(response.tag)) + 1 + len(name) + len(space)
        end = start + len(words)
    else:
        name = response.raw[2:13].rstrip()
        start, end = 13, len(response.raw) - len(b"\r\n")
        if response.tag != b"*" or response.status is not None or start > end:
            return None
    return (start, end) if name.upper() == b"CAPABILITY" else None


def _words(octets: bytes) -> list[str]:
    return octets.decode("latin-1").split()


def _keep(words: list[str], *, login_disabled: bool) -> list[str]:
    mechanisms = set(offered(_mechanisms(words)))
    kept = []
    for word in words:
        name = word.upper()
        if name.startswith("AUTH="):
            allowed = name.removeprefix("AUTH=") in mechanisms and not login_disabled
        elif name == "SASL-IR":
            allowed = not login_disabled
        else:
            allowed = name not in DENIED and not name.startswith(_DENIED_PREFIXES)
        if allowed:
            kept.append(word)
    return kept


def _mechanisms(words: list[str]) -> list[str]:
    upper = (word.upper() for word in words)
    return [word.removeprefix("AUTH=") for word in upper if word.startswith("AUTH=")]
