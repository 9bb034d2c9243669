"""The one thing every header parser promises when it needs more."""

from collections.abc import Callable

import pytest

from gatekeeper.wire.client_hello import read_client_hello
from gatekeeper.wire.need_more import NeedMore
from gatekeeper.wire.proxy_header import LOCAL_V2, encode_v1, read_proxy_header


@pytest.mark.parametrize(
    ("read", "whole"),
    [
        (read_client_hello, b"\x16\x03\x01\x00\x40\x01\x00\x00\x3c" + bytes(59)),
        (read_proxy_header, LOCAL_V2),
        (read_proxy_header, encode_v1("192.0.2.1", 1, "192.0.2.2", 2)),
    ],
)
def test_more_is_wanted_than_was_given(read: Callable[[bytes], object], whole: bytes) -> None:
    for cut in range(len(whole)):
        answer = read(whole[:cut])
        assert isinstance(answer, NeedMore)
        assert cut < answer.wanted_octets <= len(whole) + 5
