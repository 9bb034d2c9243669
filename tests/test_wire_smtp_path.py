"""Reading paths; most cases are in transcripts/smtp/paths.txt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.wire.smtp_path import read_path


@pytest.mark.parametrize(
    ("argument", "path"),
    [
        (b"TO:<a@b>", "a@b"),
        (b"TO:<a@b>junk", "<a@b>junk"),
        (b"TO:<>a@b", "<>a@b"),  # which Postfix takes for a@b
        (b"TO:<a@b> junk", "a@b"),
        (b"TO:<a@b>\tX=1", "a@b"),
        (b"TO:a@b\tX=1", "a@b"),
        (b"TO:<a\\>b@c>", "a\\>b@c"),
        (b'TO:"a b"@c X', '"a b"@c'),
        (b'TO:<"a@b>', '<"a@b>'),
        (b"TO", ""),
        (b"TO<a@b>", ""),
        (b"FROM:<a@b>", ""),
        (b"TO:", ""),
    ],
)
def test_path_is_without_brackets_and_parameters(argument: bytes, path: str) -> None:
    assert read_path(argument, b"TO") == path


@given(st.binary(max_size=40))
def test_no_octets_raise_and_the_path_is_among_them(octets: bytes) -> None:
    path = read_path(b"TO:" + octets, b"TO")
    assert path.encode("utf-8", "surrogateescape") in octets
