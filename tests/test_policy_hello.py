"""What is wrong with the domain of EHLO."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.findings import HelloFault
from gatekeeper.policy.hello import hello_fault

CLIENT, LOCAL = "203.0.113.9", "192.0.2.1"
OURS = {"mx.example.org", "bücher.example"}


def fault(domain: str, client: str = CLIENT, local: str = LOCAL) -> HelloFault | None:
    return hello_fault(domain, client, local, OURS.__contains__)


@pytest.mark.parametrize(
    "domain",
    [
        *("mail.example.net", "MAIL.example.net", "mail.example.net.", "a.b", "my_host.example"),
        *("xn--bcher-kva.net", "bücher.net", "xn--fhbei.net", "1and1.example", "org.mx.example"),
        *("[203.0.113.9]", "[::ffff:203.0.113.9]", "[IPv6:::ffff:203.0.113.9]"),
    ],
)
def test_decent_names(domain: str) -> None:
    assert fault(domain) is None


@pytest.mark.parametrize(
    ("domain", "found"),
    [
        *((text, HelloFault.NO_NAME) for text in ("", " ", ".", "a..b", "-a.b", "a b.example")),
        *((text, HelloFault.NO_NAME) for text in ("[", "[]", "[192.0.2]", "[mail.example.net]")),
        *((text, HelloFault.NO_NAME) for text in ("[203.0.113.9", "203.0.113.9]", "a\x1b.example")),
        *((text, HelloFault.NO_NAME) for text in ("\udcff.example", "1.2.3", "[IPv6:192.0.2.1]")),
        *((text, HelloFault.NO_NAME) for text in ("[x-tag:203.0.113.9]", "a@b.example")),
        *((text, HelloFault.BARE_ADDRESS) for text in (CLIENT, LOCAL, "2001:db8::1")),
        ("IPv6:2001:db8::1", HelloFault.BARE_ADDRESS),
        *((text, HelloFault.OURS) for text in ("mx.example.org", "MX.Example.org.")),
        *((text, HelloFault.OURS) for text in ("bücher.example", "xn--bcher-kva.example")),
        (f"[{LOCAL}]", HelloFault.OURS),
        ("[127.0.0.1]", HelloFault.OTHER_ADDRESS),
        ("[IPv6:2001:db8::1]", HelloFault.OTHER_ADDRESS),
        *((text, HelloFault.NO_DOT) for text in ("localhost", "WIN-4F2K", "example.")),
    ],
)
def test_faults(domain: str, found: HelloFault) -> None:
    assert fault(domain) is found


@pytest.mark.parametrize("domain", ["[IPv6:2001:db8::1]", "[ipv6:2001:DB8:0::1]", "[2001:db8::1]"])
def test_a_client_of_ipv6_by_its_own_literal(domain: str) -> None:
    assert fault(domain, client="2001:db8::1") is None
    assert fault(domain, client="2001:db8::2") is HelloFault.OTHER_ADDRESS
    assert fault(domain, client="2001:db8::2", local="2001:db8::1") is HelloFault.OURS


def test_a_host_that_mails_itself_may_name_its_address() -> None:
    assert fault("[192.0.2.1]", client=LOCAL, local=LOCAL) is None


@given(st.text() | st.text("[]:.0123456789abcdefIPv6"))
def test_any_text_has_one_fault_or_none(domain: str) -> None:
    found = fault(domain)
    assert found is None or isinstance(found, HelloFault)
    if domain.isascii() and not domain.startswith("["):
        assert fault(domain.swapcase()) is found, "case does not count"


@given(st.ip_addresses())
def test_an_address_is_its_owners_literal_and_nobody_elses(address: object) -> None:
    text = str(address)
    tag = "IPv6:" if ":" in text else ""
    assert fault(f"[{tag}{text}]", client=text) is None
    assert fault(text, client=text) is HelloFault.BARE_ADDRESS
    if text not in {CLIENT, f"::ffff:{CLIENT}"}:
        assert fault(f"[{tag}{text}]") in {HelloFault.OTHER_ADDRESS, HelloFault.OURS}
