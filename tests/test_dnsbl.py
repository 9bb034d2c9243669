"""Lists asked about a client: all at once, for a bounded time, and none that cannot be believed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing
from fake_resolver import FakeResolver
from guard_bench import MX_PEER, client

from gatekeeper.dnsbl import IN_TIME, Blocklists, Lookup
from gatekeeper.events import Client, Listing, MailProtocol
from gatekeeper.policy.zone_health import FAILURES, FIRST_OFF_S
from gatekeeper.prefix import Prefix
from gatekeeper.records import Answer, Question, RecordType
from gatekeeper.resolver.shared import SharedResolver
from gatekeeper.secret import Secret
from gatekeeper.settings import (
    AskedOn,
    DnsblSettings,
    DnsSettings,
    ListKind,
    PolicySettings,
    Settings,
    TlsSettings,
    Treatment,
)

DEADLINE_S = 2.0
KEY = "abcdefghijklmnopqrstuvwxyz"
ZEN = DnsblSettings("zen.spamhaus.org")
DQS = DnsblSettings("zen.dq.spamhaus.net", key=Secret(KEY.encode()))
ONE = DnsblSettings("one.example")
TWO = DnsblSettings("two.example")
GOOD = DnsblSettings("good.example", ListKind.ALLOW)
STEM = "9.113.0.203"  # of `MX_PEER`, 203.0.113.9
NINE = Question(f"{STEM}.one.example", RecordType.A)
PUBLIC = "127.255.255.254"


class Desk:
    """Blocklists, what they ask and what they tell."""

    def __init__(self, *lists: DnsblSettings, enough: float = 1.0) -> None:
        self.dns = FakeResolver(deadline_s=DEADLINE_S)
        self.told: list[tuple[str, str]] = []
        self.exempt: set[Prefix] = set()
        self.blocklists = Blocklists(
            settings(*lists, enough=enough),
            self.dns,
            exempt=lambda prefix: prefix in self.exempt,
            on_zone=lambda zone, why: self.told.append((zone, why)),
        )

    async def ask(self, number: int = 9) -> tuple[Listing, ...]:
        """What is said of 203.0.113.`number`."""
        return await self.blocklists.listings(peer(number), AskedOn.CONNECT)

    def put(self, zone: str, *records: str, number: int = 9) -> None:
        """Have `zone` list 203.0.113.`number`."""
        self.dns.put(f"{number}.113.0.203.{zone}", *records)

    def everybody(self, zone: str, *records: str) -> None:
        """Have `zone` answer about every client."""
        for number in range(1, 255):
            self.put(zone, *records, number=number)


def settings(*lists: DnsblSettings, enough: float = 1.0) -> Settings:
    return Settings(
        "mx.example",
        TlsSettings(),
        (),
        {},
        dns=DnsSettings(deadline_s=DEADLINE_S),
        dnsbl=lists,
        policy=PolicySettings(dnsbl_reject_score=enough),
    )


def peer(number: int) -> Client:
    return client(f"203.0.113.{number}", MailProtocol.SMTP)


async def test_a_listed_client_is_told_of_with_its_codes(autojump_clock: object) -> None:
    desk = Desk(ZEN)
    desk.put("zen.spamhaus.org", "127.0.0.9", "127.0.0.2")
    codes = ("127.0.0.2", "127.0.0.9")
    assert await desk.ask() == (Listing("zen.spamhaus.org", codes, 1.0, name="SBL+DROP"),)
    assert desk.dns.asked == [f"{STEM}.zen.spamhaus.org"]
    assert await desk.ask(10) == ()


async def test_ipv6_clients_are_asked_about_by_nibbles(autojump_clock: object) -> None:
    desk = Desk(ONE)
    name = "1.0.0.0" + ".0" * 20 + ".8.b.d.0.1.0.0.2.one.example"
    desk.dns.put(name, "127.0.0.2")
    found = await desk.blocklists.listings(
        client("2001:db8::1", MailProtocol.SMTP), AskedOn.CONNECT
    )
    assert [one.zone for one in found] == ["one.example"]


async def test_codes_that_are_not_wanted_are_no_listing(autojump_clock: object) -> None:
    desk = Desk(DnsblSettings("zen.spamhaus.org", codes=("127.0.0.4-7",)))
    desk.put("zen.spamhaus.org", "127.0.0.2", "127.0.0.10")
    assert await desk.ask() == ()
    desk.put("zen.spamhaus.org", "127.0.0.2", "127.0.0.4", number=10)
    assert [one.codes for one in await desk.ask(10)] == [("127.0.0.4",)]


async def test_entries_of_one_zone_share_its_answer(autojump_clock: object) -> None:
    policy = DnsblSettings("zen.spamhaus.org", codes=("127.0.0.10-11",), weight=0.5)
    spam = DnsblSettings("zen.spamhaus.org", codes=("127.0.0.2",), weight=3.0)
    desk = Desk(policy, spam)
    desk.put("zen.spamhaus.org", "127.0.0.2", "127.0.0.10")
    assert [(one.name, one.weight) for one in await desk.ask()] == [("PBL", 0.5), ("SBL", 3.0)]
    assert len(desk.dns.asked) == 1


async def test_each_occasion_has_lists_of_its_own(autojump_clock: object) -> None:
    guessers = DnsblSettings("two.example", on=AskedOn.AUTH)
    desk = Desk(ONE, guessers)
    desk.put("one.example", "127.0.0.2")
    desk.put("two.example", "127.0.0.20")
    assert [one.zone for one in await desk.ask()] == ["one.example"]
    assert desk.dns.asked == [f"{STEM}.one.example"]
    found = await desk.blocklists.listings(peer(9), AskedOn.AUTH)
    assert [one.zone for one in found] == ["two.example"]
    assert desk.dns.asked[1:] == [f"{STEM}.two.example"]
    assert list(desk.blocklists.report()) == ["one.example", "two.example"]


async def test_what_is_ignored_is_not_asked_and_what_is_observed_is_marked(
    autojump_clock: object,
) -> None:
    ignored = DnsblSettings("one.example", policy=Treatment.IGNORE)
    observed = DnsblSettings("two.example", policy=Treatment.OBSERVE)
    desk = Desk(ignored, observed)
    desk.put("one.example", "127.0.0.2")
    desk.put("two.example", "127.0.0.2")
    assert await desk.ask() == (Listing("two.example", ("127.0.0.2",), 1.0, observed=True),)
    assert desk.dns.asked == [f"{STEM}.two.example"]


async def test_allow_lists_weigh_the_other_way(autojump_clock: object) -> None:
    desk = Desk(GOOD)
    desk.put("good.example", "127.0.5.3")
    assert await desk.ask() == (Listing("good.example", ("127.0.5.3",), -1.0),)


async def test_exempt_clients_are_not_asked_about(autojump_clock: object) -> None:
    desk = Desk(ONE)
    desk.put("one.example", "127.0.0.2")
    desk.exempt.add(MX_PEER.entity)
    assert await desk.ask() == ()
    assert desk.dns.asked == []


async def test_what_is_known_is_not_asked_for(autojump_clock: object) -> None:
    desk = Desk(ONE, TWO)
    desk.put("one.example", "127.0.0.2")
    desk.put("two.example")
    desk.dns.remembered |= {Question(f"{STEM}.{zone.zone}", RecordType.A) for zone in (ONE, TWO)}
    assert [one.zone for one in await desk.ask()] == ["one.example"]
    assert desk.dns.asked == []


# -- time ---------------------------------------------------------------------------------------


async def test_lists_are_asked_all_at_once(autojump_clock: object) -> None:
    desk = Desk(ONE, TWO)
    desk.dns.delay_s = 1.0
    started = trio.current_time()
    assert await desk.ask() == ()
    assert trio.current_time() - started == 1.0


async def test_enough_is_enough_however_slow_the_others_are(autojump_clock: object) -> None:
    desk = Desk(ONE, TWO)
    desk.put("one.example", "127.0.0.2")
    desk.dns.delays_s = {f"{STEM}.one.example": 0.25, f"{STEM}.two.example": 1.5}
    started = trio.current_time()
    assert [one.zone for one in await desk.ask()] == ["one.example"]
    assert trio.current_time() - started == 0.25
    assert desk.blocklists.unanswered == 0


async def test_a_list_that_is_only_observed_decides_nothing(autojump_clock: object) -> None:
    desk = Desk(DnsblSettings("one.example", policy=Treatment.OBSERVE), TWO)
    desk.put("one.example", "127.0.0.2")
    desk.put("two.example", "127.0.0.2")
    desk.dns.delays_s = {f"{STEM}.two.example": 1.0}
    assert [one.zone for one in await desk.ask()] == ["one.example", "two.example"]


async def test_an_allow_list_is_waited_for(autojump_clock: object) -> None:
    desk = Desk(ONE, GOOD)
    desk.put("one.example", "127.0.0.2")
    desk.put("good.example", "127.0.5.3")
    desk.dns.delays_s = {f"{STEM}.good.example": 1.5}
    assert sum(one.weight for one in await desk.ask()) == 0.0


async def test_a_list_that_takes_too_long_has_no_opinion(autojump_clock: object) -> None:
    desk = Desk(ONE, TWO, enough=2.0)
    desk.put("one.example", "127.0.0.2")
    desk.put("two.example", "127.0.0.2")
    desk.dns.delays_s = {f"{STEM}.two.example": 60.0}
    started = trio.current_time()
    assert [one.zone for one in await desk.ask()] == ["one.example"]
    assert trio.current_time() - started == DEADLINE_S
    assert desk.blocklists.unanswered == 1


async def test_a_dead_resolver_soon_delays_nobody(autojump_clock: object) -> None:
    desk = Desk(ONE, TWO)
    waits = []
    for number in range(1, 20):
        desk.dns.silent |= {f"{number}.113.0.203.{zone.zone}" for zone in (ONE, TWO)}
        started = trio.current_time()
        assert await desk.ask(number) == ()
        waits.append(trio.current_time() - started)
    assert waits == [DEADLINE_S] * FAILURES + [0.0] * (19 - FAILURES)
    assert sorted(desk.told) == [("one.example", IN_TIME), ("two.example", IN_TIME)]


# -- lists that cannot be believed --------------------------------------------------------------


async def test_a_list_that_errs_is_switched_off_and_told_once(autojump_clock: object) -> None:
    desk = Desk(ONE, TWO, enough=2.0)
    desk.everybody("one.example", PUBLIC)
    desk.put("two.example", "127.0.0.2", number=5)
    for number in range(1, 10):
        assert [one.zone for one in await desk.ask(number)] == ["two.example"] * (number == 5)
    assert desk.told == [("one.example", "it does not answer queries through a public resolver")]
    assert desk.dns.asked.count("1.113.0.203.one.example") == 1
    assert not any(name.endswith("one.example") for name in desk.dns.asked[2:])
    assert "public resolver" in desk.blocklists.report()["one.example"]
    assert desk.blocklists.report()["two.example"] == "on"


async def test_it_is_tried_again_and_then_believed(autojump_clock: object) -> None:
    desk = Desk(ONE)
    desk.everybody("one.example", PUBLIC)
    assert await desk.ask(1) == ()
    await trio.sleep(FIRST_OFF_S)
    assert await desk.ask(2) == ()  # a trial that fails
    desk.everybody("one.example", "127.0.0.2")
    await trio.sleep(FIRST_OFF_S)
    assert await desk.ask(3) == ()  # its time was doubled
    await trio.sleep(FIRST_OFF_S)
    assert [one.zone for one in await desk.ask(4)] == ["one.example"]
    assert [one.zone for one in await desk.ask(5)] == ["one.example"]
    assert [why for _, why in desk.told][1:] == [""]
    assert desk.dns.asked == [f"{number}.113.0.203.one.example" for number in (1, 2, 4, 5)]


async def test_a_trial_is_asked_anew_and_not_remembered(autojump_clock: object) -> None:
    desk = Desk(ONE)
    desk.put("one.example", "127.0.0.2", number=2)
    desk.put("one.example", PUBLIC, number=1)
    desk.dns.remembered.add(Question("2.113.0.203.one.example", RecordType.A))
    assert await desk.ask(1) == ()
    assert await desk.ask(2) == ()  # off: what was heard before counts no more
    await trio.sleep(FIRST_OFF_S)
    assert len(await desk.ask(2)) == 1
    assert desk.dns.asked[-1] == "2.113.0.203.one.example"


@asynccontextmanager
async def remembering(desk: Desk) -> AsyncIterator[None]:
    """Have a memory between the lists and what they ask."""
    shared = SharedResolver(desk.dns)
    desk.blocklists = Blocklists(
        settings(ONE), shared, exempt=lambda _: False, on_zone=lambda *_: None
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shared.run)
        await trio.testing.wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


async def test_an_error_is_not_remembered(autojump_clock: object) -> None:
    desk = Desk(ONE)
    desk.dns.answers[NINE] = Answer((PUBLIC,), 3600.0)
    async with remembering(desk):
        assert await desk.ask() == ()
        desk.put("one.example", "127.0.0.2")
        await trio.sleep(FIRST_OFF_S)
        assert await desk.ask(1) == ()  # the trial
        assert len(await desk.ask()) == 1


async def test_a_trial_is_no_question_of_memory(autojump_clock: object) -> None:
    desk = Desk(ONE)
    desk.dns.answers[NINE] = Answer(("127.0.0.2",), 3600.0)
    desk.put("one.example", PUBLIC, number=1)
    async with remembering(desk):
        assert len(await desk.ask()) == 1
        assert await desk.ask(1) == ()
        desk.everybody("one.example", PUBLIC)
        await trio.sleep(FIRST_OFF_S)
        assert await desk.ask() == ()
        assert "off" in desk.blocklists.report()["one.example"]


async def test_nobody_is_refused_by_an_answer_under_way_when_its_list_errs(
    autojump_clock: object,
) -> None:
    desk = Desk(ONE)
    desk.put("one.example", PUBLIC, number=1)
    desk.put("one.example", "127.0.0.2", number=2)
    desk.dns.delays_s = {"1.113.0.203.one.example": 0.5, "2.113.0.203.one.example": 1.0}
    heard: list[tuple[Listing, ...]] = []

    async def ask(number: int) -> None:
        heard.append(await desk.ask(number))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 1)
        nursery.start_soon(ask, 2)
    assert heard == [(), ()]


async def test_failures_of_servers_switch_off_as_silence_does(autojump_clock: object) -> None:
    desk = Desk(ONE)
    for number in range(1, 20):
        desk.dns.failures[f"{number}.113.0.203.one.example"] = "SERVFAIL"
        assert await desk.ask(number) == ()
    assert desk.told == [("one.example", "SERVFAIL")]
    assert len(desk.dns.asked) == FAILURES


async def test_a_flood_of_questions_switches_nothing_off(autojump_clock: object) -> None:
    desk = Desk(ONE)
    desk.everybody("one.example", "127.0.0.2")
    desk.dns.overloaded = True
    for number in range(1, 3 * FAILURES):
        assert await desk.ask(number) == ()
    assert desk.blocklists.unanswered == 3 * FAILURES - 1
    assert desk.blocklists.lookups == {("one.example", Lookup.OVERLOADED): 3 * FAILURES - 1}
    desk.dns.overloaded = False
    assert len(await desk.ask(100)) == 1
    assert desk.told == []


async def test_one_client_switches_nothing_off(autojump_clock: object) -> None:
    desk = Desk(ONE)
    desk.dns.failures[f"{STEM}.one.example"] = "SERVFAIL"
    for _ in range(3 * FAILURES):
        assert await desk.ask() == ()
    assert desk.told == []


async def test_new_settings_count_from_the_next_client(autojump_clock: object) -> None:
    desk = Desk(ONE)
    desk.everybody("one.example", PUBLIC)
    desk.everybody("two.example", "127.0.0.2")
    await desk.ask(1)
    desk.everybody("one.example", "127.0.0.2")
    desk.blocklists.reconfigure(settings(ONE, TWO, enough=5.0))
    assert [one.zone for one in await desk.ask(2)] == ["one.example", "two.example"]
    desk.blocklists.reconfigure(settings())
    assert await desk.ask(3) == ()
    assert desk.blocklists.report() == {}


# -- counts -------------------------------------------------------------------------------------


async def test_each_answer_is_counted_by_what_it_says(autojump_clock: object) -> None:
    desk = Desk(DnsblSettings("one.example", weight=0.5), TWO)  # so both are waited for
    desk.put("one.example", "127.0.0.2")
    desk.dns.failures[f"{STEM}.two.example"] = "SERVFAIL"
    await desk.ask()
    await desk.ask()
    assert desk.blocklists.lookups == {
        ("one.example", Lookup.LISTED): 2,
        ("two.example", Lookup.FAILED): 2,
    }
    await desk.ask(10)
    assert desk.blocklists.lookups["one.example", Lookup.CLEAR] == 1
    assert desk.blocklists.zones() == {"one.example": True, "two.example": True}


async def test_silence_and_errors_are_counted_too(autojump_clock: object) -> None:
    desk = Desk(ONE, TWO)
    desk.put("one.example", PUBLIC)
    desk.dns.silent.add(f"{STEM}.two.example")
    await desk.ask()
    assert desk.blocklists.lookups == {
        ("one.example", Lookup.REFUSED): 1,
        ("two.example", Lookup.LATE): 1,
    }
    assert desk.blocklists.zones() == {"one.example": False, "two.example": True}
    await desk.ask()  # the one that is off is not asked
    assert desk.blocklists.lookups["one.example", Lookup.REFUSED] == 1


# -- keys ---------------------------------------------------------------------------------------


async def test_a_key_is_asked_with_and_shown_nowhere(autojump_clock: object) -> None:
    desk = Desk(DQS)
    desk.put(f"{KEY}.zen.dq.spamhaus.net", "127.0.0.4")
    found = await desk.ask()
    desk.put(f"{KEY}.zen.dq.spamhaus.net", "127.255.255.255", number=10)
    assert await desk.ask(10) == ()
    assert desk.dns.asked[0] == f"{STEM}.{KEY}.zen.dq.spamhaus.net"
    assert desk.told == [("KEY.zen.dq.spamhaus.net", "too many queries")]
    seen = f"{found} {found[0]} {desk.told} {desk.blocklists.report()} {DQS} {settings(DQS)}"
    assert "KEY.zen.dq.spamhaus.net" in seen
    assert KEY not in seen
