"""What the records of a sender's domain say: whether an answer to the mail could ever reach anybody
(RFC 5321 3.6, 5.1; RFC 7505)."""

from collections.abc import Sequence

from gatekeeper.findings import SenderDomain


def by_mx(records: Sequence[str]) -> SenderDomain | None:
    """What the MX records say, written `PREFERENCE NAME`; None where there are none, and the
    domain's addresses count (RFC 5321 5.1).

    A null MX is the only record of its domain, and its name is the root. Beside others it says
    nothing (RFC 7505 3).
    """
    if not records:
        return None
    names = [record.partition(" ")[2].rstrip(".") for record in records]
    return SenderDomain.NULL_MX if names == [""] else SenderDomain.FOUND


def by_addresses(*answers: Sequence[str]) -> SenderDomain:
    """What the A and AAAA records say of a domain that has no MX."""
    return SenderDomain.FOUND if any(answers) else SenderDomain.MISSING
