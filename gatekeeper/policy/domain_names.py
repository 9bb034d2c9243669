"""Domains as DNS is asked for them (RFC 1035 2.3.4, RFC 5321 2.3.5, RFC 5890).

U-labels become the A-labels they stand for, mapped as `mailboxes` maps them. A-labels stay as they
came, valid or not: it is DNS that knows whether somebody has them.
"""

import re
from typing import Final

from gatekeeper.policy.mailboxes import MAX_DOMAIN_CHARACTERS, canonical_domain

# Letters, digits and hyphens; and "_", which is in no host's name but in many that are used.
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER: Final = re.compile(r"(?:.*\.)?[0-9]+")  # no top-level domain is one (RFC 3696 2)


def dns_name(domain: str) -> str:
    """`domain` in lower case, in A-labels and without its last dot; empty where it is no name of
    hosts that DNS could have."""
    if domain.isascii():
        name = domain.lower().removesuffix(".")
    else:
        name = ".".join(map(_a_label, canonical_domain(domain).split(".")))
    if len(name) > MAX_DOMAIN_CHARACTERS or not _DOMAIN.fullmatch(name) or _NUMBER.fullmatch(name):
        return ""
    return name


def _a_label(label: str) -> str:
    """RFC 5891 4.4, for a label that was mapped already."""
    if label.isascii():
        return label
    return "xn--" + label.encode("punycode").decode("ascii")


def is_address_literal(domain: str) -> bool:
    """Whether it is an address in brackets instead of a domain (RFC 5321 4.1.3)."""
    return domain.startswith("[") and domain.endswith("]")
