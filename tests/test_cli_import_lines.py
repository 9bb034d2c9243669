"""Log files to familiar pairs: years that are not written, bounds, files of all sorts."""

import gzip
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from gatekeeper.cli import import_lines
from gatekeeper.cli.import_lines import Logins, Reading, opened, unix_time
from gatekeeper.errors import GatekeeperError
from gatekeeper.prefix import Prefix
from gatekeeper.wire.log_stamps import Stamp
from gatekeeper.wire.login_lines import MAX_LINE_OCTETS

NOW: Final = 1_795_608_000.0  # 2026-11-25T12:00:00Z
DAY_S: Final = 86_400.0
LOOPBACK: Final = Prefix.parse("127.0.0.0/8")
PROXY: Final = Prefix.parse("198.51.100.4")
NET: Final = Prefix.parse("203.0.113.0/24")


@pytest.fixture(autouse=True)
def _somewhere_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is an hour ahead of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1")
        time.tzset()
        yield
    time.tzset()


def line(
    name: str = "ann@example.org", rip: str = "203.0.113.9", stamp: str = "Nov 25 12:00:00"
) -> str:
    return (
        f"{stamp} mail dovecot: imap-login: Login: user=<{name}>, method=PLAIN, rip={rip}, lip=x\n"
    )


def read(*lines: str, latest: float = NOW) -> Logins:
    reading = Reading([LOOPBACK, PROXY], NOW)
    reading.read(io.BytesIO("".join(lines).encode()), latest)
    return reading.found


def stamp(
    year: int | None, month: int, day: int, hour: int = 13, offset_s: int | None = None
) -> Stamp:
    return Stamp(year, month, day, hour, 0, 0, offset_s)


# -- instants -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "latest", "at"),
    [
        (stamp(2026, 11, 25, 12, 0), NOW, NOW),
        (stamp(2026, 11, 25, 13, 3600), NOW, NOW),
        (stamp(2026, 11, 25, 4, -8 * 3600), NOW, NOW),
        (stamp(2026, 11, 25), NOW, NOW),  # local
        (stamp(None, 11, 25), NOW, NOW),
        (stamp(None, 11, 26), NOW, NOW + DAY_S),  # a clock that was ahead, a zone
        (stamp(None, 11, 27), NOW, NOW - 363 * DAY_S),  # there is no future: last year's
        (stamp(None, 11, 25), NOW - 3 * 365 * DAY_S, NOW - (3 * 365 + 1) * DAY_S),
        (stamp(None, 1, 1, 1), 1_798_761_600.0 - 60, 1_798_761_600.0),  # it is 2027 here already
        (stamp(None, 12, 31, 13), 1_798_761_600.0, 1_798_761_600.0 - DAY_S / 2),
        (stamp(None, 2, 29), NOW, 1_709_208_000.0),  # of 2024
    ],
)
def test_instants_are_of_the_last_year_they_can_be_of(
    read: Stamp, latest: float, at: float
) -> None:
    assert unix_time(read, latest) == at


@pytest.mark.parametrize("year", [2025, 2100])
def test_a_day_that_never_was_has_no_instant(year: int) -> None:
    assert unix_time(stamp(year, 2, 29), NOW) is None


def test_a_leap_day_is_found_over_a_century_without_one() -> None:
    assert unix_time(stamp(None, 2, 29), 4_230_000_000.0) == 3_981_355_200.0


# -- pairs ----------------------------------------------------------------------------------


def test_logins_of_one_account_in_one_network_are_one_pair() -> None:
    found = read(
        line(stamp="Nov 24 13:00:00"),
        line("Ann@Example.org", "203.0.113.77", stamp="Nov 20 13:00:00"),
        line(stamp="Nov 22 13:00:00"),
    )
    (pair,) = found.pairs.values()
    assert (pair.net, pair.first_at, pair.last_at) == (NET, NOW - 5 * DAY_S, NOW - DAY_S)
    assert (found.lines, found.logins, found.accounts, found.networks) == (3, 3, 1, 1)


def test_accounts_and_networks_are_kept_apart() -> None:
    found = read(line(), line("bob"), line(rip="2001:db8:1:2::7"), line(rip="2001:db8:1:2:ffff::"))
    assert set(found.pairs) == {
        ("ann@example.org", NET),
        ("bob", NET),
        ("ann@example.org", Prefix.parse("2001:db8:1:2::/64")),
    }
    assert (found.accounts, found.networks) == (2, 2)


def test_our_own_addresses_are_nobodys_home() -> None:
    found = read(
        line(rip="127.0.0.1"), line(rip="198.51.100.4"), line(rip="::ffff:127.0.0.9"), line()
    )
    assert (found.logins, found.our_own, len(found.pairs)) == (4, 3, 1)


def test_logins_of_long_ago_make_nobody_familiar() -> None:
    found = read(line(stamp="2026-10-26T11:59:59Z"), line(stamp="2026-10-26T12:00:00Z"))
    assert (found.too_old, len(found.pairs)) == (1, 1)


def test_no_login_is_in_the_future() -> None:
    found = read(line(stamp="2027-03-01T00:00:00Z"), line("bob", stamp="Nov 26 03:00:00"))
    assert {pair.last_at for pair in found.pairs.values()} == {NOW}


def test_a_file_is_not_newer_than_now() -> None:
    """A wrong modification time does not make last year's lines this year's."""
    found = read(line(stamp="Nov 27 13:00:00"), latest=NOW + 30 * DAY_S)
    assert found.too_old == 1


def test_what_cannot_be_read_is_counted() -> None:
    found = read(
        "nothing\n",
        line("a?b"),
        line(stamp="2025-02-29T00:00:00Z"),
        line("x" * 2_000),
        line(),
    )
    assert (found.lines, found.unreadable, found.logins) == (5, 3, 1)


@pytest.mark.parametrize("over", [0, 1, MAX_LINE_OCTETS, 3 * MAX_LINE_OCTETS])
def test_a_line_over_its_bound_is_one_line(over: int) -> None:
    found = read("x" * (MAX_LINE_OCTETS + over) + line("bob"), line())
    assert (found.lines, found.unreadable, set(found.pairs)) == (2, 1, {("ann@example.org", NET)})


def test_the_last_line_needs_no_end() -> None:
    assert read(line(), line("bob").rstrip("\n")).logins == 2
    assert read("x" * (MAX_LINE_OCTETS + 2)).lines == 1


def test_pairs_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_lines, "MAX_PAIRS", 2)
    found = read(
        *(line(f"a{number}", f"203.0.{number}.9") for number in range(5)), line("a0", "203.0.0.1")
    )
    assert (len(found.pairs), found.left_out, found.logins) == (2, 3, 6)


# -- files ----------------------------------------------------------------------------------


def test_a_file_has_the_year_it_was_last_written_in(tmp_path: Path) -> None:
    path = tmp_path / "mail.log.1"
    path.write_text(line(stamp="Nov 24 13:00:00"))
    os.utime(path, (NOW - 365 * DAY_S, NOW - 365 * DAY_S))
    reading = Reading([], NOW)
    with opened(str(path), io.BytesIO(), NOW) as (stream, latest):
        reading.read(stream, latest)
    assert reading.found.too_old == 1


def test_a_compressed_file_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "mail.log.2.gz"
    path.write_bytes(gzip.compress((line() + line("bob")).encode()))
    reading = Reading([], NOW)
    with opened(str(path), io.BytesIO(), NOW) as (stream, _):
        reading.read(stream, NOW)
    assert reading.found.accounts == 2


def test_a_dash_is_standard_input() -> None:
    stdin = io.BytesIO(line().encode())
    with opened("-", stdin, NOW) as (stream, latest):
        assert (stream, latest) == (stdin, NOW)
    assert not stdin.closed


@pytest.mark.parametrize("damage", ["short", "flipped", "plain"])
def test_a_damaged_archive_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "mail.log.gz"
    octets = bytearray(gzip.compress(os.urandom(4_000) + line().encode()))
    match damage:
        case "short":
            del octets[-100:]
        case "flipped":
            octets[10] ^= 0xFF
        case _:
            octets[:] = line().encode()
    path.write_bytes(octets)
    with (
        pytest.raises(GatekeeperError, match=f"^{path}: damaged"),
        opened(str(path), io.BytesIO(), NOW) as (stream, latest),
    ):
        Reading([], NOW).read(stream, latest)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match="missing"),
        opened(str(tmp_path / "missing"), io.BytesIO(), NOW),
    ):
        pass
