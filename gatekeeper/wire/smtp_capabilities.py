"""The EHLO reply: what a backend offers, and what of it a client may hear (RFC 5321 4.1.1.1)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gatekeeper.wire.mechanisms import offered
from gatekeeper.wire.smtp_replies import Reply

# Passed as the backend wrote them. Nothing else is: an extension the guard does not know may change
# what the octets after it mean, or name an identity the backend would believe.
ALLOWED_KEYWORDS: Final = frozenset(
    {
        "8BITMIME",
        "CHUNKING",
        "DELIVERBY",
        "DSN",
        "ENHANCEDSTATUSCODES",
        "ETRN",
        "FUTURERELEASE",
        "HELP",
        "LIMITS",
        "MT-PRIORITY",
        "NO-SOLICITING",
        "PIPELINING",
        "SIZE",
        "SMTPUTF8",
        "VRFY",
    }
)

_KEYWORD: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9-]*")
_SIZE: Final = re.compile(r"[0-9]{1,20}")  # RFC 1870 3


@dataclass(frozen=True, slots=True)
class EhloFacts:
    """What a backend offers: parameters by keyword in upper case. `AUTH=PLAIN` of old servers
    counts as `AUTH PLAIN`."""

    keywords: Mapping[str, tuple[str, ...]]

    @property
    def chunking(self) -> bool:
        """BDAT is understood (RFC 3030)."""
        return "CHUNKING" in self.keywords

    @property
    def starttls(self) -> bool:
        """STARTTLS is offered (RFC 3207)."""
        return "STARTTLS" in self.keywords

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """SASL mechanisms in upper case, in the backend's order (RFC 4954 3)."""
        return tuple(mechanism.upper() for mechanism in self.keywords.get("AUTH", ()))

    @property
    def xclient(self) -> tuple[str, ...]:
        """Attributes XCLIENT takes, in upper case; empty where it is not offered."""
        return tuple(attribute.upper() for attribute in self.keywords.get("XCLIENT", ()))

    @property
    def size_octets(self) -> int | None:
        """The largest message taken (RFC 1870); None where none is told, or 0 for no limit."""
        value = next(iter(self.keywords.get("SIZE", ())), "")
        return int(value) or None if _SIZE.fullmatch(value) else None


def read_ehlo(reply: Reply) -> EhloFacts:
    """The facts of an EHLO reply; none where it is a refusal."""
    return _facts(reply.lines[1:] if reply.positive else ())


@lru_cache(maxsize=64)  # as below; nobody changes the mapping
def _facts(lines: tuple[bytes, ...]) -> EhloFacts:
    keywords: dict[str, tuple[str, ...]] = {}
    for line in lines:
        keyword, parameters = _split(line)
        keywords[keyword] = keywords.get(keyword, ()) + parameters
    return EhloFacts(keywords)


def rewrite_ehlo(
    reply: Reply, *, hostname: str, offer_starttls: bool, offer_auth: bool, requiretls: bool
) -> bytes:
    """The EHLO reply for the client, in the order of the backend's lines.

    The first line holds `hostname` alone, for a backend's greeting may echo the client. The
    backend's STARTTLS is about another leg: the guard's own stands in the last line where
    `offer_starttls`. AUTH is cut down to `mechanisms.offered`, and to nothing without `offer_auth`.
    `requiretls` says that both legs keep RFC 8689's promise. A refusal is passed as it is.
    """
    if not reply.positive:
        return reply.raw
    lines = _rewrite_lines(reply.lines[1:], offer_starttls, offer_auth, requiretls)
    return _multiline(reply.code, [hostname.encode("ascii"), *lines])


@lru_cache(maxsize=64)  # a backend has few lists, and says one at every EHLO
def _rewrite_lines(
    backend_lines: tuple[bytes, ...], offer_starttls: bool, offer_auth: bool, requiretls: bool
) -> tuple[bytes, ...]:
    facts = _facts(backend_lines)
    allowed = ALLOWED_KEYWORDS | ({"REQUIRETLS"} if requiretls else frozenset())
    if facts.chunking:
        allowed |= {"BINARYMIME"}  # RFC 3030 3: without BDAT it cannot be sent
    mechanisms = frozenset(offered(facts.mechanisms)) if offer_auth else frozenset()
    lines: list[bytes] = []
    for line in backend_lines:
        keyword, parameters = _split(line)
        if keyword == "AUTH":
            lines += _auth_line(line, parameters, mechanisms)
        elif keyword in allowed:
            lines.append(line)
    if offer_starttls:
        lines.append(b"STARTTLS")
    return tuple(lines)


def _split(line: bytes) -> tuple[str, tuple[str, ...]]:
    """Keyword in upper case, empty where there is none, and parameters."""
    match = _KEYWORD.match(line)
    if match is None:
        return "", ()
    keyword = match[0].upper().decode("ascii")
    rest = line[match.end() :]
    if rest[:1] not in {b"", b" "} and not (keyword == "AUTH" and rest.startswith(b"=")):
        return "", ()
    return keyword, tuple(word.decode("ascii", "replace") for word in rest[1:].split())


def _auth_line(line: bytes, parameters: tuple[str, ...], allowed: frozenset[str]) -> list[bytes]:
    """The line in its own spelling, `AUTH ` or `AUTH=`, with what is allowed; or no line."""
    kept = [mechanism.upper() for mechanism in parameters if mechanism.upper() in allowed]
    return [line[:5].upper() + " ".join(kept).encode("ascii")] if kept else []


def _multiline(code: int, lines: list[bytes]) -> bytes:
    head = b"".join(b"%d-%b\r\n" % (code, line) for line in lines[:-1])
    return head + b"%d %b\r\n" % (code, lines[-1])
