"""The instant at the start of a log line, as rsyslog, Dovecot and journalctl write it.

Three forms: `Nov 25 13:00:01` (RFC 3164 4.1.2, local time without a year), RFC 3339 with its zone,
and `2026-11-25 13:00:01` (local time). Which zone is local is not known here.
"""

import re
from typing import Final, NamedTuple

_SHORT: Final = re.compile(
    rb"(?P<month>[A-Z][a-z]{2}) {1,2}(?P<day>\d{1,2}) "
    rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.\d{1,9})? "
)
_ISO: Final = re.compile(
    rb"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[T ]"
    rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.\d{1,9})?"
    rb"(?P<zone>Z|[+-]\d\d:?\d\d)? "
)
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(),
        1,
    )
}
_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FIRST_YEAR: Final = 1970


class Stamp(NamedTuple):
    """Civil time; `year` None where the line has none, `offset_s` None for local time.

    `offset_s` is what the zone is ahead of UTC. 29 February is one of any year.
    """

    year: int | None
    month: int
    day: int
    hour: int
    minute: int
    second: int
    offset_s: int | None


def read_stamp(line: bytes) -> tuple[Stamp, int] | None:
    """The instant a line starts with, and where the rest begins; None where it has none."""
    match = _SHORT.match(line) or _ISO.match(line)
    if match is None:
        return None
    parts = match.groupdict()
    month = _MONTHS.get(parts["month"]) or _number(parts["month"])
    day, hour = int(parts["day"]), int(parts["hour"])
    minute, second = int(parts["minute"]), int(parts["second"])
    year = int(parts["year"]) if "year" in parts else None
    if not 1 <= month <= len(_DAYS) or not 1 <= day <= _DAYS[month - 1]:
        return None
    if hour > 23 or minute > 59 or second > 60:  # 60 is a leap second
        return None
    if year is not None and year < _FIRST_YEAR:
        return None
    offset_s = _offset_s(parts.get("zone"))
    return Stamp(year, month, day, hour, minute, second, offset_s), match.end()


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() else 0


def _offset_s(zone: bytes | None) -> int | None:
    if zone is None:
        return None
    if zone == b"Z":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
    return -seconds if zone.startswith(b"-") else seconds
