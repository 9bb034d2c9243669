"""Whether blocklists answer as lists do, through the resolver that is configured.

Every list names 127.0.0.2 for tests and must not name 127.0.0.1 (RFC 5782 5). A list that fails is
switched off by the guard, so nothing found here keeps it from serving: all are warnings.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

import trio

from gatekeeper.abc import Resolver
from gatekeeper.check.finding import Finding, warning
from gatekeeper.dnsbl import Zone
from gatekeeper.errors import ResolverError
from gatekeeper.policy.blocklists import reversed_address
from gatekeeper.records import Answer
from gatekeeper.resolver.stub import StubResolver, system_servers
from gatekeeper.settings import DnsblSettings, Endpoint, Settings, Treatment

DEADLINE_S: Final = 5.0  # more patient than the guard: a slow list is to be told from a silent one
LISTED: Final = reversed_address("127.0.0.2")
UNLISTED: Final = reversed_address("127.0.0.1")
# Resolvers that are open to all; most lists answer none of them.
PUBLIC_RESOLVERS: Final = {
    "1.1.1.1": "Cloudflare",
    "1.0.0.1": "Cloudflare",
    "2606:4700:4700::1111": "Cloudflare",
    "2606:4700:4700::1001": "Cloudflare",
    "8.8.8.8": "Google",
    "8.8.4.4": "Google",
    "2001:4860:4860::8888": "Google",
    "2001:4860:4860::8844": "Google",
    "9.9.9.9": "Quad9",
    "149.112.112.112": "Quad9",
    "2620:fe::fe": "Quad9",
    "208.67.222.222": "OpenDNS",
    "208.67.220.220": "OpenDNS",
}
_OWN: Final = "run a resolver of your own and name it in [dns] servers"


def check_dns(settings: Settings) -> list[Finding]:
    """A warning for each list that does not answer as one, and for public resolvers.

    Asks all at once, by its own run of Trio: not to be called inside one. Takes 10 seconds at
    most.
    """
    servers = settings.dns.servers or system_servers()
    return [
        *check_resolvers(servers),
        *trio.run(check_zones, settings, StubResolver(servers, DEADLINE_S)),
    ]


def check_resolvers(servers: Iterable[Endpoint]) -> Iterator[Finding]:
    """A warning for each public resolver."""
    for server in servers:
        owner = PUBLIC_RESOLVERS.get(server.host)
        if owner is not None:
            text = f"{server.host} is {owner}'s public resolver: most lists answer none; {_OWN}"
            yield warning("dns", text)


async def check_zones(settings: Settings, resolver: Resolver) -> list[Finding]:
    """The warnings on the lists that are asked, in their order."""
    entries = {
        (one.zone, one.shown): one for one in settings.dnsbl if one.policy is not Treatment.IGNORE
    }
    found: dict[str, str] = {}
    async with trio.open_nursery() as nursery:
        for one in entries.values():
            found[one.shown] = ""
            nursery.start_soon(partial(_check, one, resolver, found))
    return [warning(f"dnsbl {shown}", text) for shown, text in found.items() if text]


async def _check(entry: DnsblSettings, resolver: Resolver, found: dict[str, str]) -> None:
    zone = Zone((entry,))
    answers: dict[str, Answer] = {}
    try:
        for stem in (LISTED, UNLISTED):
            answers[stem] = await resolver.resolve(zone.question(stem))
    except ResolverError as error:
        found[entry.shown] = f"does not answer: {error}"
        return
    found[entry.shown] = _judge(zone, answers[LISTED], answers[UNLISTED])


def _judge(zone: Zone, listed: Answer, unlisted: Answer) -> str:
    """What is wrong with a list, from its answers on the two addresses for tests."""
    error = zone.error(listed) or zone.error(unlisted)
    if error:
        return f"its answers are errors: {error}; {_OWN} if that is why"
    if unlisted.records:
        return "it lists 127.0.0.1, so perhaps everybody: it is no list any more"
    if not listed.records:
        return "it does not list 127.0.0.2, as every list does: is its name right?"
    return ""
