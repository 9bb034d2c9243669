"""Durations are read as written and shown in two units at most."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.config.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("10m", 600),
        ("4h", 14400),
        ("7d", 604800),
        ("1w", 604800),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("1.5h", 5400),
        ("90", 90),
        ("0.5", 0.5),
        ("0s", 0),
    ],
)
def test_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "10 m", "10x", "-5s", "1h-5m", "٣s", "1e3", "1hh", "5s\n"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (598, "9m58s"),
        (600, "10m"),
        (14400, "4h"),
        (0, "0s"),
        (0.4, "0s"),
        (-3, "0s"),
        (86400 * 2 + 3 * 3600 + 59, "2d3h"),
        (3601, "1h"),
        (86400, "1d"),
        (59.9, "59s"),
    ],
)
def test_duration_is_shown(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 10**9))
@settings(max_examples=100, deadline=None)
def test_shown_duration_reads_back_within_its_last_unit(seconds: int) -> None:
    shown = parse_duration(format_duration(seconds))
    assert shown <= seconds < shown + 3600
    assert seconds >= 86400 or shown + 60 > seconds
