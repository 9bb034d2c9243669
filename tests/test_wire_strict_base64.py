"""Base64 without latitude."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.wire.strict_base64 import decode_base64


@given(st.binary(max_size=60))
def test_what_was_encoded_is_decoded(octets: bytes) -> None:
    assert decode_base64(base64.b64encode(octets)) == octets


@pytest.mark.parametrize(
    "text",
    [b"A", b"AA", b"AAA", b"=", b"====", b"AA=", b"A===", b"AAA=A", b"AA==AAAA", b"AAAA=",
     b"AAAA====", b"AAAA==AA", b"AA==AA==", b"AA A", b" AAAA", b"AAAA\t", b"AA-_", b"AA\xc3\xa4",
     b"AAAA\0", b"AAA\n", b"AAAA\n"],
)  # fmt: skip
def test_anything_else_is_refused(text: bytes) -> None:
    assert decode_base64(text) is None
