"""Host names as a stranger writes them in the SNI extension: DNS names or nothing."""

import re
from typing import Final

MAX_NAME_OCTETS: Final = 253  # RFC 1035 2.3.4: 255 on the wire, 253 in text

# Letters, digits and inner hyphens (RFC 1123 2.1); one backtracking step per label at most.
_LABEL: Final = rb"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME: Final = re.compile(rb"(?:" + _LABEL + rb"\.)*(?![0-9]+\Z)" + _LABEL)


def read_server_name(octets: bytes) -> str | None:
    """The DNS name in lower case, None where `octets` are not one.

    No trailing dot and no IP literal (RFC 6066 3): a last label of digits only is an address.
    """
    name = octets.lower()
    if len(name) > MAX_NAME_OCTETS or _NAME.fullmatch(name) is None:
        return None
    return name.decode("ascii")
