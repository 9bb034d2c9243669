"""Blocklists and allow lists asked about one client, all at once and for a bounded time.

Theory of operation. What is known already costs a look into a dictionary for each list. The rest is
asked in parallel, until all have answered, or the lists have said enough to refuse, or the time is
over; a list that has not answered then has no opinion. A list that errs, or answers nobody, is
switched off for a while (`policy.zone_health`): it is told aloud once, nobody is refused for it,
and nobody waits for it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from itertools import chain
from typing import Final

import trio

from gatekeeper.abc import Resolver
from gatekeeper.errors import ResolverError, ResolverOverloaded
from gatekeeper.events import AuthAttempt, Client, JudgedEvent, Listing
from gatekeeper.policy.blocklists import (
    CodeFilter,
    code_name,
    default_codes,
    read_answer,
    reversed_address,
)
from gatekeeper.policy.connection_rules import ROUNDING, listed_score
from gatekeeper.policy.zone_health import ZoneHealth
from gatekeeper.prefix import Prefix
from gatekeeper.records import Answer, Question, RecordType
from gatekeeper.settings import AskedOn, DnsblSettings, ListKind, Settings, Treatment

IN_TIME: Final = "no answer in time"

# Told of a zone, as it is shown: why it went off, and empty when it is on again.
OnZone = Callable[[str, str], None]


class Lookup(Enum):
    """What became of asking one list about one client; stable words for metrics."""

    LISTED = "listed"
    CLEAR = "clear"
    REFUSED = "refused"  # the list answered with an error: no key, too many questions
    FAILED = "failed"  # no server answered
    LATE = "late"  # not in time for this client
    OVERLOADED = "overloaded"  # it was not asked: too many questions are under way


class Zone:
    """One zone, with all entries of the configuration that read its answers."""

    def __init__(self, entries: Sequence[DnsblSettings]) -> None:
        """`entries` have the same zone and key."""
        first = entries[0]
        self.shown = first.shown
        self.health = ZoneHealth()
        self.may_allow = any(
            one.kind is ListKind.ALLOW and one.policy is Treatment.ENFORCE for one in entries
        )
        self._zone = first.zone
        self._key = first.key
        self._entries = [(one, CodeFilter(one.codes or default_codes(one.zone))) for one in entries]

    def question(self, stem: str) -> Question:
        """What to ask for a client whose reversed address is `stem`."""
        key = "" if self._key is None else f"{self._key.declassify().decode()}."
        return Question(f"{stem}.{key}{self._zone}", RecordType.A)

    def error(self, answer: Answer) -> str:
        """Why the answer is an error; empty where it is none."""
        return read_answer(self._zone, answer.records).error

    def listings(self, answer: Answer) -> Iterator[Listing]:
        """What a sound answer says, entry by entry."""
        reading = read_answer(self._zone, answer.records)
        for entry, wanted in self._entries:
            codes = tuple(filter(wanted.matches, reading.codes))
            if codes:
                yield self._listing(entry, codes)

    def _listing(self, entry: DnsblSettings, codes: tuple[str, ...]) -> Listing:
        names = dict.fromkeys(code_name(self._zone, code) for code in codes)
        return Listing(
            self.shown,
            codes,
            entry.weight if entry.kind is ListKind.BLOCK else -entry.weight,
            entry.policy is Treatment.OBSERVE,
            "+".join(filter(None, names)),
        )


@dataclass(slots=True)
class _Inquiry:
    """What is being asked about one client."""

    client: Prefix
    enough: float
    waiting: dict[Zone, Question]
    heard: dict[Zone, tuple[Listing, ...]]  # in the order of the configuration

    @property
    def listings(self) -> tuple[Listing, ...]:
        """All that was heard so far."""
        return tuple(chain.from_iterable(self.heard.values()))

    @property
    def decided(self) -> bool:
        """Whether nothing that is still awaited can change that the client is refused."""
        if any(zone.may_allow for zone in self.waiting):
            return False
        return listed_score(one for one in self.listings if not one.observed) >= self.enough


class Blocklists:
    """Implements `gatekeeper.abc.Screen`."""

    def __init__(
        self,
        settings: Settings,
        resolver: Resolver,
        *,
        exempt: Callable[[Prefix], bool],
        on_zone: OnZone,
    ) -> None:
        """Nothing is asked about clients that are `exempt`. `on_zone` must be quick and must not
        raise."""
        self.clients = 0  # asked about
        self.unanswered = 0  # questions whose time was over
        self.lookups: Counter[tuple[str, Lookup]] = Counter()  # by zone, as it is shown
        self._resolver = resolver
        self._exempt = exempt
        self._on_zone = on_zone
        self.reconfigure(settings)

    def reconfigure(self, settings: Settings) -> None:
        """Ask by these settings from the next client on. A zone that was off is tried at once: what
        was wrong may have been mended by them."""
        self._zones = {on: list(_zones(settings, on)) for on in AskedOn}
        self._deadline_s = settings.dns.deadline_s
        self._enough = settings.policy.dnsbl_reject_score - ROUNDING

    async def listings(self, client: Client, on: AskedOn) -> tuple[Listing, ...]:
        """See `Screen.listings`."""
        zones = self._zones[on]
        if not zones or self._exempt(client.entity):
            return ()
        self.clients += 1
        inquiry = self._begin(client, zones)
        if inquiry.waiting and not inquiry.decided:
            await self._ask(inquiry)
        return inquiry.listings

    async def complete(self, event: JudgedEvent, client: Client) -> JudgedEvent:
        """See `Screen.complete`: credentials alone."""
        if not (self._zones[AskedOn.AUTH] and isinstance(event, AuthAttempt)):
            return event
        listings = await self.listings(client, AskedOn.AUTH)
        return replace(event, listings=listings) if listings else event

    def zones(self) -> dict[str, bool]:
        """Each zone, as it is shown, and whether it is asked."""
        zones = chain.from_iterable(self._zones.values())
        return {zone.shown: not zone.health.off for zone in zones}

    def report(self) -> dict[str, str]:
        """Each zone and how it is, for `status`."""
        now = trio.current_time()
        return {
            zone.shown: f"off ({zone.health.why}; next try in {zone.health.off_for_s(now):.0f} s)"
            if zone.health.off
            else "on"
            for zone in chain.from_iterable(self._zones.values())
        }

    # -- one client -------------------------------------------------------------------------

    def _begin(self, client: Client, zones: Sequence[Zone]) -> _Inquiry:
        """What is known already, and what has to be asked."""
        stem = reversed_address(client.address)
        now = trio.current_time()
        inquiry = _Inquiry(client.entity, self._enough, {}, dict.fromkeys(zones, ()))
        for zone in zones:
            question = zone.question(stem)
            if zone.health.off:
                if zone.health.admits(now):
                    self._resolver.forget(question)  # a trial is answered by the list itself
                    inquiry.waiting[zone] = question
                continue
            answer = self._resolver.known(question)
            if answer is None:
                inquiry.waiting[zone] = question
            else:
                inquiry.heard[zone] = tuple(zone.listings(answer))
                self._count(zone, _said(inquiry.heard[zone]))
        return inquiry

    async def _ask(self, inquiry: _Inquiry) -> None:
        with trio.move_on_after(self._deadline_s) as patience:
            async with trio.open_nursery() as nursery:
                for zone, question in tuple(inquiry.waiting.items()):
                    ask = partial(self._ask_one, inquiry, zone, question)
                    nursery.start_soon(ask, nursery.cancel_scope)
        if not patience.cancelled_caught:
            return
        for zone in inquiry.waiting:
            self.unanswered += 1
            self._count(zone, Lookup.LATE)
            self._failed(zone, inquiry.client, IN_TIME)

    async def _ask_one(
        self, inquiry: _Inquiry, zone: Zone, question: Question, all_of_them: trio.CancelScope
    ) -> None:
        try:
            answer = await self._resolver.resolve(question)
        except ResolverOverloaded:  # a flood of clients must not switch lists off
            self.unanswered += 1
            self._count(zone, Lookup.OVERLOADED)
        except ResolverError as failure:
            self._count(zone, Lookup.FAILED)
            self._failed(zone, inquiry.client, str(failure))
        else:
            inquiry.heard[zone] = self._heard(zone, question, answer)
        del inquiry.waiting[zone]
        if inquiry.decided:
            all_of_them.cancel()

    # -- the zones' health ------------------------------------------------------------------

    def _heard(self, zone: Zone, question: Question, answer: Answer) -> tuple[Listing, ...]:
        error = zone.error(answer)
        if error:
            self._count(zone, Lookup.REFUSED)
            self._resolver.forget(question)
            if zone.health.erred(error, trio.current_time()):
                self._on_zone(zone.shown, error)
            return ()
        if zone.health.answered():
            self._on_zone(zone.shown, "")
        if zone.health.off:  # it erred while this answer was on its way
            return ()
        listings = tuple(zone.listings(answer))
        self._count(zone, _said(listings))
        return listings

    def _count(self, zone: Zone, lookup: Lookup) -> None:
        self.lookups[zone.shown, lookup] += 1

    def _failed(self, zone: Zone, client: Prefix, why: str) -> None:
        if zone.health.failed(client, why, trio.current_time()):
            self._on_zone(zone.shown, why)


def _said(listings: tuple[Listing, ...]) -> Lookup:
    return Lookup.LISTED if listings else Lookup.CLEAR


def _zones(settings: Settings, on: AskedOn) -> Iterator[Zone]:
    """The zones asked on this occasion, in the order of their first entries."""
    entries: dict[tuple[str, bytes], list[DnsblSettings]] = {}
    for one in settings.dnsbl:
        if one.on is on and one.policy is not Treatment.IGNORE:
            key = b"" if one.key is None else one.key.declassify()
            entries.setdefault((one.zone, key), []).append(one)
    return map(Zone, entries.values())
