"""Countries by account: these accounts log in from these countries, and from no other.

Two CSV files are read when this file is loaded; `gatekeeper reload` reads them again. PREFIXES has
lines such as `192.0.2.0/24,DE`, as several free databases give them; of nested ones the narrowest
counts. ACCOUNTS has lines such as `ann@example.org,DE AT`. An account that is not in it logs in
from everywhere, and so does every account from an address that no prefix covers.

A login from elsewhere is refused as a wrong password is, in the mail server's own words: whoever
guesses is told nothing.
"""

import csv
import ipaddress
from collections.abc import Iterator
from pathlib import Path

from gatekeeper.hooks import AuthAttempt, Context, Facts, Verdict, quick, refuse

PREFIXES = "/etc/gatekeeper/countries.csv"
ACCOUNTS = "/etc/gatekeeper/account-countries.csv"

# By IP version and length of the prefix: the country of each network number.
_networks: dict[int, dict[int, dict[int, str]]] = {4: {}, 6: {}}
_allowed: dict[str, frozenset[str]] = {}


@quick
def auth_attempt(event: AuthAttempt, facts: Facts, context: Context) -> Verdict | None:
    """Refuse a login from a country that its account does not log in from."""
    allowed = _allowed.get(event.authcid.lower())
    if allowed is None:
        return None
    country = _country(context.client.address)
    if country is None or country in allowed:
        return None
    context.tag(f"country.{country}")  # the log and `explain` tell why
    return refuse()


def _country(text: str) -> str | None:
    address = ipaddress.ip_address(text.partition("%")[0])
    number, bits = int(address), address.max_prefixlen
    networks = _networks[address.version]
    for length in sorted(networks, reverse=True):
        country = networks[length].get(number >> (bits - length))
        if country is not None:
            return country
    return None


def _rows(path: str) -> Iterator[tuple[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            if row and not row[0].startswith("#"):
                yield row[0].strip(), row[1].strip()


for prefix, code in _rows(PREFIXES):
    net = ipaddress.ip_network(prefix)
    by_number = _networks[net.version].setdefault(net.prefixlen, {})
    by_number[int(net.network_address) >> (net.max_prefixlen - net.prefixlen)] = code.upper()
for account, codes in _rows(ACCOUNTS):
    _allowed[account.lower()] = frozenset(codes.upper().split())
