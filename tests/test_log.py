"""Log lines: nothing in a value forges a line, a word or a key, and no reader stalls the guard."""

import os
import re
import threading
from collections.abc import Callable
from enum import Enum, IntEnum

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.log import (
    MAX_QUEUED_LINES,
    MAX_VALUE_CHARACTERS,
    Log,
    show,
    stderr_log,
    under_journal,
    write_stderr,
)
from gatekeeper.prefix import Prefix
from gatekeeper.secret import Secret

INSTANT = 1_700_000_000.25  # 2023-11-14T22:13:20.250Z
HEAD = "2023-11-14T22:13:20.250Z"


class Sink:
    """What was written, call by call."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []

    def __call__(self, lines: bytes) -> None:
        self.calls.append(lines)

    @property
    def lines(self) -> list[str]:
        return b"".join(self.calls).decode("ascii").splitlines()


def a_log(write: Callable[[bytes], None], *, journal: bool = False) -> Log:
    return Log(write, journal=journal, clock=lambda: INSTANT)


# -- a strict reader of the form, which knows nothing of how it is written ------------------------

WORD = re.compile(r'([a-z_0-9]+)=(?:([A-Za-z0-9._:@/+,-]+)|"((?:[ !#-\[\]-~]|\\.)*)")')
ESCAPE = re.compile(r'\\(?:x(..)|u(....)|U(........)|(["\\nrt]))')
NAMED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


def unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match[1] or match[2] or match[3]
        return chr(int(code, 16)) if code else NAMED[match[4]]

    assert "\\" not in ESCAPE.sub("", text)
    return ESCAPE.sub(one, text)


def parse(line: str) -> tuple[str, list[tuple[str, str]]]:
    """The event name and the fields of a line; fails on anything out of form."""
    stamp, name, *rest = line.split(" ", 2)
    assert stamp == HEAD
    fields = []
    at = 0
    text = rest[0] if rest else ""
    while at < len(text):
        match = WORD.match(text, at)
        assert match is not None, text[at:]
        bare = match[2] is not None
        fields.append((match[1], match[2] if bare else unescape(match[3])))
        at = match.end()
        assert at == len(text) or text[at] == " "
        at += 1
    return name, fields


VALUES = st.one_of(
    st.text(st.characters(exclude_categories=[]), max_size=40),  # surrogates too
    st.text(st.sampled_from('a="\\ \n\r\t\x00\x1b\x7f\x85\u2028\u202e\ud800é-'), max_size=20),
    st.binary(max_size=20),
)


@given(st.lists(VALUES, max_size=5))
@settings(max_examples=150, deadline=None)
async def test_no_value_forges_a_key_or_a_line(values: list[str | bytes]) -> None:
    sink = Sink()
    log = a_log(sink)
    log.event("auth-fail", **{f"k{n}": value for n, value in enumerate(values)})
    await log.aclose()
    (line,) = sink.lines
    expected = [
        (f"k{n}", value if isinstance(value, str) else value.decode("latin-1"))
        for n, value in enumerate(values)
    ]
    assert parse(line) == ("auth-fail", expected)


class Colour(Enum):
    RED = "deep red"


class Size(IntEnum):
    BIG = 7


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("user@example.org", "user@example.org"),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ("", '""'),
        ("-", '"-"'),
        ("\n\x1b[2J", '"\\n\\x1b[2J"'),
        ('"\\', '"\\"\\\\"'),
        ("é…😀\udcff", '"\\xe9\\u2026\\U0001f600\\udcff"'),
        (b"\xff\x00a", '"\\xff\\x00a"'),
        (7, "7"),
        (True, "true"),
        (False, "false"),
        (None, "-"),
        (0.25, "0.250"),
        (Colour.RED, '"deep red"'),
        (Size.BIG, "7"),
        (Prefix.parse("192.0.2.0/24"), "192.0.2.0/24"),
        (Prefix.parse("2001:db8::/48"), "2001:db8::/48"),
    ],
)
def test_value_is_shown(value: object, shown: str) -> None:
    assert show(value) == shown


def test_long_value_is_cut() -> None:
    assert show("a" * MAX_VALUE_CHARACTERS) == "a" * MAX_VALUE_CHARACTERS
    for value in ("a" * 100_000, b"a" * 100_000):
        assert show(value) == "a" * MAX_VALUE_CHARACTERS + "..."


async def test_secret_is_never_shown() -> None:
    sink = Sink()
    log = a_log(sink)
    log.event("x", secret=Secret(b"hunter2"), nested=[Secret(b"hunter2")])
    await log.aclose()
    assert "hunter2" not in sink.lines[0]
    assert "Secret(" in sink.lines[0]


async def test_value_that_cannot_be_shown_raises_nothing() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no")

    sink = Sink()
    log = a_log(sink)
    log.event("x", value=Broken())
    log.event("y", value=10**5000)
    await log.aclose()
    assert sink.lines == [f"{HEAD} x unprintable=RuntimeError", f"{HEAD} y unprintable=ValueError"]


async def test_journal_lines_start_with_their_priority() -> None:
    sink = Sink()
    log = a_log(sink, journal=True)
    log.event("a", name="field")
    log.warning("b")
    log.error("c")
    await log.aclose()
    assert sink.lines == ["<6>a name=field", "<4>b", "<3>c"]


async def test_run_writes_what_comes_in_batches() -> None:
    sink = Sink()
    written = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def write(lines: bytes) -> None:
        sink(lines)
        if b"third" in lines:
            token.run_sync_soon(written.set)

    log = a_log(write)
    log.event("before")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        await trio.testing.wait_all_tasks_blocked()
        log.event("first")
        log.event("second")
        log.event("third")
        with trio.fail_after(10):
            await written.wait()
        nursery.cancel_scope.cancel()
    assert [line.split()[1] for line in sink.lines] == ["before", "first", "second", "third"]
    assert len(sink.calls) <= 3


async def test_stuck_reader_stops_nothing_and_drops_are_counted() -> None:
    sink = Sink()
    stuck, released = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def write(lines: bytes) -> None:
        if not stuck.is_set():
            token.run_sync_soon(stuck.set)
            released.wait(30)
        sink(lines)

    log = a_log(write)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        log.event("first")
        with trio.fail_after(10):
            await stuck.wait()
        for number in range(MAX_QUEUED_LINES + 5):
            log.event("flood", n=number)
        released.set()
        await log.aclose()
        nursery.cancel_scope.cancel()
    assert sink.lines[0] == f"{HEAD} first"
    assert sink.lines[-1] == f"{HEAD} log-dropped lines=5"
    assert len(sink.lines) == MAX_QUEUED_LINES + 2
    assert log.lost == 5


async def test_close_gives_up_on_a_stuck_reader(autojump_clock: trio.testing.MockClock) -> None:
    released = threading.Event()

    def write(lines: bytes) -> None:
        released.wait(30)

    log = a_log(write)
    log.event("x")
    try:
        with trio.CancelScope() as scope:
            scope.cancel()  # the deadline holds even for a cancelled caller
            before = trio.current_time()
            await log.aclose()
        assert trio.current_time() - before == pytest.approx(2.0)
    finally:
        released.set()


async def test_lines_that_cannot_be_written_are_counted() -> None:
    sink = Sink()
    broken = True

    def write(lines: bytes) -> None:
        if broken:
            raise BrokenPipeError
        sink(lines)

    log = a_log(write)
    log.event("lost")
    log.event("lost")
    await log.aclose()
    await log.aclose()
    broken = False
    log.event("kept")
    await log.aclose()
    assert sink.lines == [f"{HEAD} kept", f"{HEAD} log-dropped lines=2"]
    assert log.lost == 2  # the line that told of them is none of them


def test_events_before_and_after_a_run_raise_nothing() -> None:
    sink = Sink()
    log = a_log(sink)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    log.event("before")
    trio.run(main)
    log.event("after")
    trio.run(log.aclose)
    assert [line.split()[1] for line in sink.lines] == ["before", "after"]


def test_journal_is_known_by_device_and_inode() -> None:
    reader, writer = os.pipe()
    try:
        status = os.fstat(writer)
        right = f"{status.st_dev}:{status.st_ino}"
        assert under_journal({"JOURNAL_STREAM": right}, writer)
        assert not under_journal({"JOURNAL_STREAM": f"{status.st_dev}:0"}, writer)
        assert not under_journal({"JOURNAL_STREAM": "nonsense"}, writer)
        assert not under_journal({}, writer)
    finally:
        os.close(reader)
        os.close(writer)


def test_all_is_written_to_a_pipe_smaller_than_the_lines() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    lines = b"x" * 300_000
    thread = threading.Thread(target=write_stderr, args=(lines, writer))
    thread.start()
    received = b""
    while len(received) < len(lines):
        received += os.read(reader, 65536)
    thread.join()
    os.close(reader)
    os.close(writer)
    assert received == lines


def test_standard_error_is_a_log() -> None:
    stderr_log().event("x")  # queued: nothing is written before a run
