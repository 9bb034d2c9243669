"""Whom a reverse-path or forward-path names, where all servers read it alike (RFC 5321 4.1.2).

Backends read paths leniently, each in its own way: Postfix finds `a@b.example` in `a%b.example`, in
`b.example!a`, in `a@(a comment)b.example` and in `<>a@b.example`. Nobody must get round what is
known of a domain by that, so what is not in the form of the RFC is not read at all.
"""

import re
from typing import Final, NamedTuple

# No blanks, and none of the characters that are syntax in an address (RFC 5322 3.2.3, 4.4).
_ATOMS: Final = r'[^\s()<>\[\],;:\\"@]+'
_ROUTE: Final = rf"@{_ATOMS}(?:,@{_ATOMS})*:"  # to be passed over (RFC 5321 C)
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_LITERAL: Final = r'\[[^\s()<>\[\],;\\"@]+\]'
_MAILBOX: Final = re.compile(rf"(?:{_ROUTE})?({_QUOTED}|{_ATOMS})@({_ATOMS}|{_LITERAL})")
# Without a domain, and nothing in it that some server takes for one.
_LOCAL: Final = re.compile(r'[^\s()<>\[\],;:\\"@%!]*')


class StrictPath(NamedTuple):
    """The two parts of a path as the client wrote them; both empty for the null sender, and the
    domain where there is none."""

    local: str
    domain: str


def read_strictly(path: str) -> StrictPath | None:
    """Whom `path` names, without its brackets; None where servers might read different ones."""
    found = _MAILBOX.fullmatch(path)
    if found is not None:
        return StrictPath(found[1], found[2])
    return StrictPath(path, "") if _LOCAL.fullmatch(path) else None
