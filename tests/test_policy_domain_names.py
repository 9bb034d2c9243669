"""Domains as DNS is asked for them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy.domain_names import dns_name, is_address_literal, sender_domain
from gatekeeper.policy.mailboxes import canonical_domain


@pytest.mark.parametrize(
    ("domain", "name"),
    [
        ("Example.ORG", "example.org"),
        ("example.org.", "example.org"),
        ("localhost", "localhost"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("B\u00dcCHER.example", "xn--bcher-kva.example"),
        ("xn--BCHER-kva.example", "xn--bcher-kva.example"),
        ("\u4e2d\u56fd", "xn--fiqs8s"),
        ("a\u3002example", "a.example"),  # a dot as it is typed in Chinese
        ("xn--fhbei.example", "xn--fhbei.example"),  # it may hold a joiner, which nothing prints
        ("_dmarc.example.org", "_dmarc.example.org"),
        ("a--b.example", "a--b.example"),
        ("1.2.3.4.example", "1.2.3.4.example"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_names(domain: str, name: str) -> None:
    assert dns_name(domain) == name


@pytest.mark.parametrize(
    "domain",
    [
        *("", ".", "..", "a..b", ".a", "-a.example", "a-.example", "a b", "a@b", "a\\.b", "a/b"),
        *("a" * 64 + ".example", "\u00fc" * 64 + ".example", "a." * 130 + "a", "\udcff.example"),
        *("192.0.2.1", "example.1", "17", "[192.0.2.1]", "a\0b.example", "a\nb.example", "a!b.c"),
    ],
)
def test_what_dns_cannot_have(domain: str) -> None:
    assert dns_name(domain) == ""


@given(st.text())
def test_any_text_has_one_name_or_none(text: str) -> None:
    name = dns_name(text)
    assert dns_name(name) == name
    assert name.isascii()
    assert len(name) <= 253
    if name and canonical_domain(text):
        assert canonical_domain(name) == canonical_domain(text)


@pytest.mark.parametrize(
    ("path", "domain"),
    [
        ("", ""),
        ("root", ""),
        ("a@b.example", "b.example"),
        ('"a@c.example"@b.example', "b.example"),
        ("@r.example:a@b.example", "b.example"),
        ('a"b@b.example', "b.example"),  # no local part, and still the domain that is named
        ("a@[192.0.2.1]", "[192.0.2.1]"),
        ("a@", ""),
        ("a@b.example ", "b.example"),
        ("a@ b . example", "b.example"),
        ("a@b.example(a comment)", "b.example"),
        ("a@b.example(@c.example)", "b.example"),
        ("a@(one (in another))b.example", "b.example"),
        ("a@b\\.example", "b.example"),
        ('a@"c.example"b.example', "b.example"),
        ("a%b.example", "b.example"),
        ("a%c.example@b.example", "b.example"),
        ("b.example!a", "b.example"),
        ("b.example!c.example!a", "b.example"),
        ("a@b.example(", "b.example("),  # no domain then
        ("(" * 2000 + "a@b.example", "b.example"),
        ('"' * 2000 + "a@b.example", "b.example"),
        ('"a@b.example', "b.example"),
        ('"a@c.example"b@b.example', "b.example"),
    ],
)
def test_the_domain_of_a_sender_is_behind_its_last_at(path: str, domain: str) -> None:
    assert sender_domain(path) == domain


def test_literals() -> None:
    assert is_address_literal("[192.0.2.1]")
    assert not is_address_literal("192.0.2.1")
    assert not is_address_literal("[192.0.2.1")


@pytest.mark.parametrize(
    "path", ['"' + '\\"' * 50_000, '"\\' * 50_000, "(" * 100_000, "(a" * 50_000 + ")" * 50_000]
)
def test_the_time_it_takes_is_linear(path: str) -> None:
    """Seconds, if it were not."""
    started = time.perf_counter()
    sender_domain(path + "@b.example")
    assert time.perf_counter() - started < 1.0
