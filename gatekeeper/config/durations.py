"""Durations as operators write and read them: `10m`, `1h30m`, `9m58s`."""

import re
from typing import Final

_UNITS_S: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d|w)", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds of `text`: numbers each with a unit of ms, s, m, h, d or w, or plain seconds.

    Raises `ValueError`.
    """
    if re.fullmatch(r"\d{1,12}(\.\d{1,6})?", text, re.ASCII):
        return float(text)
    end = 0
    seconds = 0.0
    while match := _PART.match(text, end):
        seconds += float(match[1]) * _UNITS_S[match[2]]
        end = match.end()
    if end == 0 or end != len(text):
        raise ValueError(f'not a duration: "{text}" (write 30s, 10m, 4h, 7d or 1h30m)')
    return seconds


def format_duration(seconds: float) -> str:
    """`seconds` in its two largest units: `9m58s`, `4h`, `2d3h`; whole seconds, rounded down."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, int(_UNITS_S[unit]))
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
        if len(parts) == 2:
            break
    return "".join(parts) or "0s"
