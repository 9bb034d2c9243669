"""Domains as DNS is asked for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy.domain_names import dns_name, is_address_literal
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


def test_literals() -> None:
    assert is_address_literal("[192.0.2.1]")
    assert not is_address_literal("192.0.2.1")
    assert not is_address_literal("[192.0.2.1")
