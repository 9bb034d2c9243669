"""All that is asked in DNS about clients, put together."""

from collections.abc import Callable

import trio

from gatekeeper.dnsbl import Blocklists, OnZone
from gatekeeper.envelope.screen import EnvelopeScreen
from gatekeeper.events import AuthAttempt, Client, JudgedEvent, Listing
from gatekeeper.prefix import Prefix
from gatekeeper.resolver.shared import SharedResolver
from gatekeeper.resolver.stub import StubResolver, system_servers
from gatekeeper.reverse_dns import ReverseNames
from gatekeeper.session.entrance import Entrance
from gatekeeper.settings import AskedOn, DnsSettings, Settings


class Dns:
    """The resolvers all parts share, and all that is asked through them about clients
    (`gatekeeper.abc.Screen`).

    Blocklists have one of their own. The other is asked for names that strangers choose, whose
    servers may be theirs: what these do to its room and its memory must let no listed client in.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        exempt: Callable[[Prefix], bool],
        is_ours: Callable[[str], bool],
        on_zone: OnZone,
    ) -> None:
        """See `Blocklists` and `EnvelopeScreen`. It is to be run."""
        stub = stub_resolver(settings.dns)
        self.of_lists = SharedResolver(stub)
        self.resolver = SharedResolver(stub, witness=self.of_lists)
        self.blocklists = Blocklists(settings, self.of_lists, exempt=exempt, on_zone=on_zone)
        self.envelope = EnvelopeScreen(settings, self.resolver, exempt=exempt, is_ours=is_ours)
        self.names = ReverseNames(settings.dns, self.resolver)
        self.entrance = Entrance(self.names, exempt=exempt)

    async def run(self) -> None:
        """Hold the tasks that ask, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.resolver.run)
            nursery.start_soon(self.of_lists.run)

    async def listings(self, client: Client, on: AskedOn) -> tuple[Listing, ...]:
        """See `Screen.listings`."""
        return await self.blocklists.listings(client, on)

    async def complete(self, event: JudgedEvent, client: Client) -> JudgedEvent:
        """See `Screen.complete`."""
        if isinstance(event, AuthAttempt):
            return await self.blocklists.complete(event, client)
        return await self.envelope.complete(event, client)

    def reconfigure(self, settings: Settings) -> None:
        """Ask by these settings from the next question on."""
        stub = stub_resolver(settings.dns)
        for resolver in (self.resolver, self.of_lists):
            resolver.stub = stub
        self.of_lists.begin_anew()
        self.blocklists.reconfigure(settings)
        self.envelope.reconfigure(settings)
        self.names.reconfigure(settings.dns)

    def questions(self) -> dict[str, int]:
        """How many there were of both resolvers; `silent` is that of the worse."""
        one, other = self.resolver.report(), self.of_lists.report()
        both = {name: count + other[name] for name, count in one.items()}
        return both | {"silent": max(one["silent"], other["silent"])}

    def report(self) -> dict[str, object]:
        """What `status` tells."""
        return {
            "dns": self.questions(),
            "dnsbl": self.blocklists.report(),
            "senders": self.envelope.report(),
            "entrance": self.entrance.report() | {"unanswered": self.names.unanswered},
        }


def stub_resolver(settings: DnsSettings) -> StubResolver:
    """Who asks the configured DNS servers, or those of the system as they are now."""
    return StubResolver(settings.servers or system_servers(), settings.deadline_s)
