"""Instants at the start of log lines: three forms, nothing else."""

import pytest

from gatekeeper.wire.log_stamps import Stamp, read_stamp


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        (b"Nov 25 13:00:01 ", Stamp(None, 11, 25, 13, 0, 1, None)),
        (b"Nov  5 00:59:60 ", Stamp(None, 11, 5, 0, 59, 60, None)),
        (b"Feb 29 23:00:00.123456 ", Stamp(None, 2, 29, 23, 0, 0, None)),
        (b"2026-11-25T13:00:01.123456+01:00 ", Stamp(2026, 11, 25, 13, 0, 1, 3600)),
        (b"2026-11-25T13:00:01+0530 ", Stamp(2026, 11, 25, 13, 0, 1, 19800)),
        (b"2026-11-25T13:00:01-08:00 ", Stamp(2026, 11, 25, 13, 0, 1, -28800)),
        (b"2026-11-25T13:00:01Z ", Stamp(2026, 11, 25, 13, 0, 1, 0)),
        (b"2026-11-25 13:00:01 ", Stamp(2026, 11, 25, 13, 0, 1, None)),
    ],
)
def test_each_form_is_read_up_to_the_rest(text: bytes, stamp: Stamp) -> None:
    assert read_stamp(text + b"mail dovecot: rest") == (stamp, len(text))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"Nov 25 13:00:01",
        b"nov 25 13:00:01 ",
        b"Now 25 13:00:01 ",
        b"Nov 31 13:00:01 ",
        b"Nov 0 13:00:01 ",
        b"Nov 25 24:00:01 ",
        b"Nov 25 13:60:01 ",
        b"Nov 25 13:00:61 ",
        b"2026-13-25T13:00:01Z ",
        b"2026-00-25T13:00:01Z ",
        b"1969-11-25T13:00:01Z ",
        b"2026-11-25T13:00:01+1 ",
        b"2026-11-25X13:00:01 ",
        b" Nov 25 13:00:01 ",
        b"-- Boot 1234 --",
    ],
)
def test_nothing_else_is(text: bytes) -> None:
    assert read_stamp(text) is None
