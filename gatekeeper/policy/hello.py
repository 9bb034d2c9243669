"""What is wrong with the domain of EHLO or HELO (RFC 5321 4.1.1.1).

A client names itself there: by a domain (2.3.5), or, where it has none, by its address in brackets
(4.1.3). Only the text is looked at. RFC 5321 4.1.4 forbids to refuse mail because the domain does
not lead to the client's address, so nobody is asked whether it does.

Read leniently where it costs nothing: a dot at the end, `_`, U-labels where the RFC wants A-labels
(RFC 6531 3.7.1), and an IPv6 literal without its tag are no faults.
"""

from collections.abc import Callable
from typing import Final

from gatekeeper.findings import HelloFault
from gatekeeper.policy.domain_names import dns_name, is_address_literal
from gatekeeper.policy.mailboxes import canonical_domain
from gatekeeper.prefix import pack_address

_IPV6_TAG: Final = "ipv6:"


def hello_fault(
    domain: str, client: str, local: str, is_ours: Callable[[str], bool]
) -> HelloFault | None:
    """The gravest fault of `domain`, None where it has none.

    `client` and `local` are the addresses of the connection's two ends. `is_ours` is asked for a
    domain in its one form (`policy.mailboxes`).
    """
    if is_address_literal(domain):
        return _fault_of_literal(_address(domain[1:-1]), client, local)
    if _address(domain) is not None:
        return HelloFault.BARE_ADDRESS
    name = dns_name(domain)
    if not name:
        return HelloFault.NO_NAME
    if is_ours(canonical_domain(name)):
        return HelloFault.OURS
    return None if "." in name else HelloFault.NO_DOT


def _fault_of_literal(address: bytes | None, client: str, local: str) -> HelloFault | None:
    if address is None:
        return HelloFault.NO_NAME
    if address == pack_address(client):
        return None
    return HelloFault.OURS if address == pack_address(local) else HelloFault.OTHER_ADDRESS


def _address(text: str) -> bytes | None:
    if text[: len(_IPV6_TAG)].lower() == _IPV6_TAG:
        text = text[len(_IPV6_TAG) :]
        if ":" not in text:
            return None
    try:
        return pack_address(text)
    except ValueError:
        return None
