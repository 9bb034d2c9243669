"""`gatekeeper check --dns`: lists that answer wrongly, and resolvers that lists do not answer."""

import pytest
import trio
from fake_resolver import FakeResolver

from gatekeeper.check.dns import check_resolvers, check_zones
from gatekeeper.check.finding import Finding, warning
from gatekeeper.secret import Secret
from gatekeeper.settings import DnsblSettings, Endpoint, Settings, TlsSettings, Treatment

KEY = "abcdefghijklmnopqrstuvwxyz"
ZONE = "bl.example"


def settings(*lists: DnsblSettings) -> Settings:
    return Settings("mx.example", TlsSettings(), (), {}, dnsbl=lists)


def look(dns: FakeResolver, *lists: DnsblSettings) -> list[Finding]:
    return trio.run(check_zones, settings(*lists), dns)


def good(zone: str = ZONE) -> FakeResolver:
    dns = FakeResolver()
    dns.put(f"2.0.0.127.{zone}", "127.0.0.2")
    return dns


def test_a_good_list_is_passed_over() -> None:
    dns = good()
    assert look(dns, DnsblSettings(ZONE), DnsblSettings(ZONE, codes=("127.0.0.4",))) == []
    assert dns.asked == [f"2.0.0.127.{ZONE}", f"1.0.0.127.{ZONE}"]


def test_dnswl_has_a_code_of_its_own_for_tests() -> None:
    dns = FakeResolver()
    dns.put("2.0.0.127.list.dnswl.org", "127.0.10.0")
    assert look(dns, DnsblSettings("list.dnswl.org")) == []


@pytest.mark.parametrize(
    ("name", "record", "text"),
    [
        ("1.0.0.127", "127.0.0.2", "it lists 127.0.0.1"),
        ("2.0.0.127", "127.255.255.254", "public resolver"),
        ("1.0.0.127", "127.255.255.255", "too many queries"),
        ("2.0.0.127", "203.0.113.1", "outside 127.0.0.0/8"),
    ],
)
def test_wrong_answers_are_told(name: str, record: str, text: str) -> None:
    dns = good()
    dns.put(f"{name}.{ZONE}", record)
    [finding] = look(dns, DnsblSettings(ZONE))
    assert finding.subject == f"dnsbl {ZONE}"
    assert text in finding.text


def test_a_zone_that_is_not_there_is_told() -> None:
    [finding] = look(FakeResolver(), DnsblSettings(ZONE))
    assert "does not list 127.0.0.2" in finding.text


@pytest.mark.parametrize("name", ["1.0.0.127", "2.0.0.127"])
def test_a_list_that_does_not_answer_is_told(name: str) -> None:
    dns = good()
    dns.failures[f"{name}.{ZONE}"] = "SERVFAIL"
    expected = warning(f"dnsbl {ZONE}", "does not answer: SERVFAIL")
    assert look(dns, DnsblSettings(ZONE)) == [expected]


def test_each_list_is_told_of_by_itself_and_without_its_key() -> None:
    zone = "zen.dq.spamhaus.net"
    dns = good(f"{KEY}.{zone}")
    lists = (DnsblSettings("one.example"), DnsblSettings(zone, key=Secret(KEY.encode())))
    assert [one.subject for one in look(dns, *lists)] == ["dnsbl one.example"]
    found = look(FakeResolver(), *lists)
    assert [one.subject for one in found] == ["dnsbl one.example", f"dnsbl KEY.{zone}"]
    assert KEY not in repr(found)


def test_lists_that_are_not_asked_are_not_looked_at() -> None:
    assert look(FakeResolver(), DnsblSettings(ZONE, policy=Treatment.IGNORE)) == []


def test_public_resolvers_are_named() -> None:
    hosts = ("127.0.0.1", "8.8.8.8", "2001:4860:4860::8844")
    found = list(check_resolvers(Endpoint(host, 53) for host in hosts))
    assert [one.text.partition(" is ")[0] for one in found] == ["8.8.8.8", "2001:4860:4860::8844"]
