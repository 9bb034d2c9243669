"""Replies with their tickets taken out: `(ref 7f3k2)` becomes `(ref *****)`."""

import re
from typing import Final

from gatekeeper.wire.ticket import LENGTH, LETTERS

MASK: Final = b"(ref *****)"
TICKETED: Final = re.compile(rb"\(ref ([%b]{%d})\)" % (LETTERS.encode(), LENGTH))


def masked(octets: bytes) -> bytes:
    """`octets` with every ticket masked."""
    return TICKETED.sub(MASK, octets)
