"""What the records of a sender's domain say."""

import pytest

from gatekeeper.findings import SenderDomain
from gatekeeper.policy.sender_records import by_addresses, by_mx


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ((), None),
        (("10 mx.example",), SenderDomain.FOUND),
        (("10 mx.example", "20 mx2.example"), SenderDomain.FOUND),
        (("0 .",), SenderDomain.NULL_MX),
        (("0 ",), SenderDomain.NULL_MX),
        (("10 .",), SenderDomain.NULL_MX),
        (("0 .", "10 mx.example"), SenderDomain.FOUND),
    ],
)
def test_mx(records: tuple[str, ...], says: SenderDomain | None) -> None:
    assert by_mx(records) is says


def test_without_mx_addresses_count() -> None:
    assert by_addresses((), ()) is SenderDomain.MISSING
    assert by_addresses(("192.0.2.1",), ()) is SenderDomain.FOUND
    assert by_addresses((), ("2001:db8::1",)) is SenderDomain.FOUND
