"""A HELO allow list: a listener for partners, who are known by the names they say in EHLO.

NAMES has one name a line: `mx1.partner.example`, or `*.partner.example` for all below it. It is
read when this file is loaded; `gatekeeper reload` reads it again. A name proves nothing by itself,
so each must also lead to the client's address in DNS; where DNS gives no answer the client is put
off.
"""

from pathlib import Path

from gatekeeper.hooks import Context, Facts, HelloAttempt, ResolverError, Verdict, defer, refuse

NAMES = "/etc/gatekeeper/partners.txt"
LISTENERS = {"partners"}  # names of [[listener]]; all others are left alone

_names = {
    line.strip().lower()
    for line in Path(NAMES).read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
}


async def helo(event: HelloAttempt, facts: Facts, context: Context) -> Verdict | None:
    """Refuse who is no partner."""
    client = context.client
    if client.listener not in LISTENERS:
        return None
    name = event.domain.lower().rstrip(".")
    if not _listed(name):
        return refuse("5.7.1 This service is for partners; your EHLO names none")
    try:
        addresses = await context.resolve(name, "AAAA" if ":" in client.address else "A")
    except ResolverError:
        return defer("4.4.3 Your name cannot be looked up now")
    if client.address not in addresses:
        return refuse("5.7.1 Your EHLO is not the name of your address")
    return None


def _listed(name: str) -> bool:
    if name in _names:
        return True
    labels = name.split(".")
    return any(f"*.{'.'.join(labels[first:])}" in _names for first in range(1, len(labels)))
