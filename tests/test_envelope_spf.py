"""SPF by pyspf: results as RFC 7208 has them, and the bounds of what a record may cost."""

import time
from collections.abc import Iterator
from threading import Event, Semaphore

import pytest
import trio
from fake_resolver import FakeResolver
from hypothesis import given
from hypothesis import strategies as st
from rig import virtual_time

from gatekeeper.envelope import spf
from gatekeeper.envelope.spf import SpfChecks, identity
from gatekeeper.findings import SpfResult
from gatekeeper.policy.strict_paths import StrictPath, read_strictly
from gatekeeper.records import Answer, Question, RecordType

INSIDE, OUTSIDE, INSIDE_V6 = "192.0.2.10", "203.0.113.9", "2001:db8:1::10"
HELLO = "mail.example.net"
LATER_S = 2.0
MX, TXT, PTR, AAAA = RecordType.MX, RecordType.TXT, RecordType.PTR, RecordType.AAAA


def zone(*records: str, name: str = "b.example") -> FakeResolver:
    """DNS with these texts at a sender's domain, and hosts that records speak of."""
    dns = FakeResolver()
    dns.put(name, *records, type_=TXT)
    dns.put("host.example", INSIDE)
    dns.put("host.example", INSIDE_V6, type_=AAAA)
    dns.put("inside.example", "v=spf1 ip4:192.0.2.0/24 -all", type_=TXT)
    dns.put("10.2.0.192.in-addr.arpa", "host.example", type_=PTR)
    return dns


async def checked(
    checks: SpfChecks, client: str = OUTSIDE, path: str = "a@b.example", hello: str = HELLO
) -> SpfResult | None:
    sender = read_strictly(path)
    assert sender is not None
    return await checks.check(client, sender, hello, trio.current_time() + LATER_S)


async def result(
    dns: FakeResolver, client: str = OUTSIDE, sender: str = "a@b.example", hello: str = HELLO
) -> SpfResult | None:
    return await checked(SpfChecks(dns), client, sender, hello)


# Record, and the results for a client inside of it and one outside.
RECORDS = [
    ("v=spf1 -all", "fail", "fail"),
    ("v=spf1 ~all", "softfail", "softfail"),
    ("v=spf1 ?all", "neutral", "neutral"),
    ("v=spf1", "neutral", "neutral"),
    ("v=spf1 +all", "pass", "pass"),
    ("V=SPF1 IP4:192.0.2.0/24 -ALL", "pass", "fail"),
    ("v=spf1 ip4:192.0.2.10 -all", "pass", "fail"),
    ("v=spf1 a:host.example -all", "pass", "fail"),
    ("v=spf1 a:host.example/24 -all", "pass", "fail"),
    ("v=spf1 mx:mailed.example ~all", "pass", "softfail"),
    ("v=spf1 include:inside.example ?all", "pass", "neutral"),
    ("v=spf1 -include:inside.example +all", "fail", "pass"),
    ("v=spf1 redirect=inside.example", "pass", "fail"),
    ("v=spf1 exists:%{ir}.allowed.example -all", "pass", "fail"),
    ("v=spf1 ptr:host.example -all", "pass", "fail"),
    ("v=spf1 ip4:192.0.2.10 -all exp=why.example", "pass", "fail"),
    ("v=spf1 unknown=modifier -all", "fail", "fail"),
    ("v=spf1 ip4:192.0.2.999 -all", "permerror", "permerror"),
    ("v=spf1 no-such-mechanism -all", "permerror", "permerror"),
    ("v=spf1 include:no-record.example -all", "permerror", "permerror"),
    ("v=spf1 redirect=no-record.example", "permerror", "permerror"),
    ("v=spf10 -all", "none", "none"),
    ("spf1 -all", "none", "none"),
    ("", "none", "none"),
]


@pytest.mark.parametrize(("record", "inside", "outside"), RECORDS, ids=[one[0] for one in RECORDS])
async def test_records(record: str, inside: str, outside: str) -> None:
    dns = zone(record)
    dns.put("mailed.example", "20 other.example", "10 host.example", type_=MX)
    dns.put("10.2.0.192.allowed.example", "127.0.0.2")
    assert await result(dns, INSIDE) is SpfResult(inside)
    assert await result(dns) is SpfResult(outside)
    assert "why.example" not in dns.asked, "explanations are not fetched"


async def test_addresses_of_the_clients_family_are_asked_for() -> None:
    dns = zone("v=spf1 a:host.example ip6:2001:db8:2::/48 -all")
    assert await result(dns, INSIDE_V6) is SpfResult.PASS
    assert await result(dns, "2001:db8:2::1") is SpfResult.PASS
    assert await result(dns, "2001:db8:3::1") is SpfResult.FAIL


async def test_two_records_are_an_error_and_other_texts_are_none() -> None:
    assert await result(zone("v=spf1 -all", "v=spf1 +all")) is SpfResult.PERMERROR
    assert await result(zone("some verification=1", "v=spf1 -all")) is SpfResult.FAIL


async def test_a_domain_without_a_record_needs_no_thread() -> None:
    dns = zone("v=DMARC1; p=none")
    checks = SpfChecks(dns)
    assert await checked(checks) is SpfResult.NONE
    assert checks.evaluated == 0


# -- who is checked -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "hello", "local", "domain"),
    [
        ("", "Mail.Example.net", "postmaster", "mail.example.net"),
        ("", "[192.0.2.1]", "postmaster", ""),
        ("a@b.example", HELLO, "a", "b.example"),
        ('"a@c.example"@b.example', HELLO, '"a@c.example"', "b.example"),
        ("josé@bücher.example", HELLO, "josé", "xn--bcher-kva.example"),
        ("root", HELLO, "root", ""),
        ("a@[192.0.2.1]", HELLO, "a", ""),
    ],
)
def test_identities(path: str, hello: str, local: str, domain: str) -> None:
    sender = read_strictly(path)
    assert sender is not None
    assert identity(sender, hello) == (local, domain)


async def test_of_the_null_sender_the_domain_of_ehlo_is_checked() -> None:
    dns = zone("v=spf1 -all", name=HELLO)
    assert await result(dns, sender="") is SpfResult.FAIL
    assert await result(dns, sender="", hello="other.example.net") is SpfResult.NONE
    assert await result(dns, sender="", hello="") is SpfResult.NONE


@pytest.mark.parametrize("sender", ["a", "a@localhost", "a@[192.0.2.10]", "a@b..example"])
async def test_what_is_no_domain_has_no_record(sender: str) -> None:
    dns = zone("v=spf1 -all")
    assert await result(dns, sender=sender) is SpfResult.NONE
    assert dns.asked == []


async def test_a_quoted_local_part_hides_no_domain() -> None:
    dns = zone("v=spf1 -all")
    dns.put("friendly.example", "v=spf1 +all", type_=TXT)
    assert await result(dns, sender='"a@friendly.example"@b.example') is SpfResult.FAIL


async def test_an_internationalised_domain_is_asked_by_its_a_labels() -> None:
    dns = zone("v=spf1 -all", name="xn--bcher-kva.example")
    assert await result(dns, sender="josé@bücher.example") is SpfResult.FAIL
    assert await result(dns, sender="a@xn--bcher-kva.example") is SpfResult.FAIL


@pytest.mark.parametrize("local", ["josé", "a=b/c", "\udcff", "a" * 300, '"a b"', r'"a\b"'])
async def test_a_local_part_that_no_name_can_hold_matches_nothing(local: str) -> None:
    dns = zone("v=spf1 exists:%{l}.users.example -all")
    assert await result(dns, sender=f"{local}@b.example") is SpfResult.FAIL


async def test_macros_are_of_this_sender() -> None:
    dns = zone("v=spf1 exists:%{l}.%{d}.%{h}.users.example -all")
    dns.put(f"ann.b.example.{HELLO}.users.example", "127.0.0.2")
    assert await result(dns, sender="ann@b.example") is SpfResult.PASS
    assert await result(dns, sender="bob@b.example") is SpfResult.FAIL


# -- bounds -------------------------------------------------------------------------------------


async def test_ten_terms_may_ask_and_no_more() -> None:
    hosts = [f"a:h{number}.example" for number in range(11)]
    dns = zone(f"v=spf1 {' '.join(hosts[:10])} -all")
    for number in range(11):
        dns.put(f"h{number}.example", INSIDE)
    assert await result(dns) is SpfResult.FAIL
    dns.put("b.example", f"v=spf1 {' '.join(hosts)} -all", type_=TXT)
    assert await result(dns) is SpfResult.PERMERROR


async def test_two_questions_may_be_in_vain_and_no_more() -> None:
    dns = zone("v=spf1 a:no1.example a:no2.example -all")
    assert await result(dns) is SpfResult.FAIL
    dns.put("b.example", "v=spf1 a:no1.example a:no2.example a:no3.example -all", type_=TXT)
    assert await result(dns) is SpfResult.PERMERROR


async def test_a_loop_of_includes_ends() -> None:
    dns = zone("v=spf1 include:c.example -all")
    dns.put("c.example", "v=spf1 include:b.example -all", type_=TXT)
    assert await result(dns) is SpfResult.PERMERROR


async def test_hosts_of_many_mx_are_not_asked_without_end() -> None:
    dns = zone("v=spf1 " + " ".join(f"mx:m{number}.example" for number in range(9)) + " -all")
    for number in range(9):
        hosts = [f"h{number}-{host}.example" for host in range(10)]
        dns.put(f"m{number}.example", *(f"10 {host}" for host in hosts), type_=MX)
        for host in hosts:
            dns.put(host, INSIDE)
    assert await result(dns) is SpfResult.PERMERROR
    assert len(dns.asked) <= spf.MAX_QUESTIONS


@pytest.mark.parametrize(
    "record",
    [
        "v=spf1 " + "ip4:192.0.2.1 " * 300 + "-all",
        "v=spf1 exists:" + "a" * 290 + ".example -all",
    ],
    ids=["record", "term"],
)
async def test_what_is_too_long_is_an_error(record: str) -> None:
    assert await result(zone(record)) is SpfResult.PERMERROR


async def test_records_that_are_too_long_together_are_an_error() -> None:
    long = "v=spf1 " + "ip4:192.0.2.1 " * 280 + "?all"
    names = [f"w{number}.example" for number in range(4)]
    dns = zone("v=spf1 " + " ".join(f"include:{name}" for name in names[:3]) + " -all")
    for name in names:
        dns.put(name, long, type_=TXT)
    assert await result(dns) is SpfResult.FAIL
    dns.put("b.example", "v=spf1 " + " ".join(f"include:{one}" for one in names), type_=TXT)
    assert await result(dns) is SpfResult.PERMERROR


async def test_hosts_with_very_many_addresses_are_an_error() -> None:
    dns = zone("v=spf1 a:m0.example a:m1.example a:m2.example a:m3.example -all")
    for number in range(4):
        addresses = [f"192.0.{number}.{last}" for last in range(255)]
        dns.put(f"m{number}.example", *addresses)
    assert await result(dns) is SpfResult.PERMERROR


async def test_a_record_that_is_no_ascii_is_an_error() -> None:
    assert await result(zone("v=spf1 a:bücher.example -all")) is SpfResult.PERMERROR


async def test_a_fault_of_the_library_costs_nobody_his_mail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(self: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("spf.query.check", fails)
    checks = SpfChecks(zone("v=spf1 -all"))
    assert await checked(checks) is SpfResult.PERMERROR
    assert checks.faults == 1


# -- DNS that does not answer -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["b.example", "host.example"])
async def test_an_error_of_dns_is_a_temporary_one(name: str) -> None:
    dns = zone("v=spf1 a:host.example -all")
    dns.failures[name] = "SERVFAIL"
    assert await result(dns) is SpfResult.TEMPERROR


@pytest.mark.parametrize("name", ["b.example", "host.example"])
@virtual_time
async def test_silence_ends_with_the_deadline(name: str) -> None:
    dns = zone("v=spf1 a:host.example -all")
    dns.silent.add(name)
    dns.deadline_s = 60.0
    started = trio.current_time()
    assert await result(dns) is SpfResult.TEMPERROR
    assert trio.current_time() - started == pytest.approx(LATER_S)


class Stuck:
    """Evaluations that come to no end until they are released."""

    def __init__(self) -> None:
        self.begun = Semaphore(0)
        self.released = Event()

    def check(self) -> tuple[str, int, str]:
        """In the place of pyspf's."""
        self.begun.release()
        self.released.wait(30)
        return "pass", 250, ""


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stuck]:
    """All evaluations are stuck."""
    threads = Stuck()
    monkeypatch.setattr("spf.query.check", threads.check)
    yield threads
    threads.released.set()


async def ended(checks: SpfChecks) -> None:
    """No thread is left."""
    deadline = trio.current_time() + 5
    while trio.current_time() < deadline:  # nothing tells of the end of a thread
        if not checks.stuck:
            return
        await trio.lowlevel.checkpoint()
    raise AssertionError("a thread is left")


async def test_nobody_waits_for_threads_that_are_stuck(stuck: Stuck) -> None:
    checks = SpfChecks(zone("v=spf1 -all"), threads=2)
    for number in (1, 2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(checked, checks)
            await trio.to_thread.run_sync(stuck.begun.acquire)
            nursery.cancel_scope.cancel()
        assert checks.stuck == number
    with trio.fail_after(5):
        assert await checked(checks) is None
        stuck.released.set()
        await ended(checks)
        assert await checked(checks) is SpfResult.PASS


class Slow:
    """Has an answer to one question when it is told to."""

    def __init__(self, dns: FakeResolver) -> None:
        self.dns = dns
        self.asked = trio.Event()
        self.answers = trio.Event()

    async def resolve(self, question: Question) -> Answer:
        """See `Resolver.resolve`."""
        if question.name == "slow.example":
            self.asked.set()
            await self.answers.wait()
        return await self.dns.resolve(question)

    def known(self, question: Question) -> Answer | None:
        """See `Resolver.known`."""
        return self.dns.known(question)

    def forget(self, question: Question) -> None:
        """See `Resolver.forget`."""


async def test_a_thread_whose_client_has_gone_asks_no_more() -> None:
    slow = Slow(zone("v=spf1 a:slow.example a:host.example -all"))
    checks = SpfChecks(slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(checked, checks)
        await slow.asked.wait()
        nursery.cancel_scope.cancel()
    slow.answers.set()
    await ended(checks)
    assert "host.example" not in slow.dns.asked


# -- whatever strangers write -------------------------------------------------------------------

TERMS = st.sampled_from(
    [
        *("v=spf1", "all", "-all", "~a", "?mx", "a:", "mx:host.example", "ptr", "a/32//129"),
        *("include:b.example", "redirect=b.example", "exp=%{p}", "exists:%{i}.%{s4r-+}"),
        *("ip4:192.0.2.0/33", "ip6:::/0", "%{", "%", "%{d9999999999r}", "%{x}", "=", ":", "//"),
        *("exists:%{t}", "%%%_%-"),
    ]
)


@given(st.lists(TERMS | st.text(max_size=5), max_size=8), st.text(max_size=20))
def test_no_record_and_no_sender_raises_or_takes_long(terms: list[str], local: str) -> None:
    dns = zone(" ".join(["v=spf1", *terms]))
    started = time.perf_counter()

    async def check() -> SpfResult | None:
        sender = StrictPath(local, "b.example")
        return await SpfChecks(dns).check(OUTSIDE, sender, local, trio.current_time() + LATER_S)

    assert isinstance(trio.run(check), SpfResult)
    assert time.perf_counter() - started < 1.0
