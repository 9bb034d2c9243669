"""The log: one event a line, `name key=value …`, which no value can forge and no reader can stall.

Theory of operation. `event` formats its line and puts it in a bounded queue; one task hands all
that is queued to a thread, which writes it. A standard error that nobody reads stops that thread
and nothing else: the queue fills, further lines are counted, and the count is itself a line once
there is room.

A value of letters, digits and `._:@/+,-` stands bare; any other is quoted, with backslash escapes
for the quote, the backslash and everything that is not printable ASCII. So a line end, a space or
an `=` in an account name never makes a line, a word or a key, and terminals get no control codes.
"""

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Final

import trio

from gatekeeper.prefix import Prefix

MAX_QUEUED_LINES: Final = 10_000  # some seconds of a flood; about 2 MB at the usual 200 octets
MAX_VALUE_CHARACTERS: Final = 256  # an address is at most 254 (RFC 5321 4.5.3.1.3 less brackets)
GATHER_S: Final = 0.05  # lines of this long are written together
FLUSH_DEADLINE_S: Final = 2.0  # how long an end of the process waits for its last lines
_STDERR: Final = 2
_BARE: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:@/+,-".decode()
)
_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}

Field = str | int | float | bool | bytes | Enum | Prefix | None


class Level(Enum):
    """How much a line asks of its reader: the priorities of syslog (RFC 5424 6.2.1) used here."""

    ERROR = 3
    WARNING = 4
    INFO = 6


class Log:
    """A sink for events, to be used from the thread that runs Trio.

    Keys and event names are the caller's own words, never a peer's. Values may be anything.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        *,
        journal: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`write` takes whole lines and may block and raise `OSError`; it is called in a thread,
        one call at a time. With `journal` lines start with `<N>`, their priority, else with the
        UTC time by `clock`, in Unix seconds."""
        self._write = write
        self._journal = journal
        self._clock = clock
        self._queue: deque[bytes] = deque()
        self._dropped = 0  # since the line that told of it
        self.lost = 0  # lines that were never written, since the start
        self._lock = threading.Lock()  # for the count alone: deques are safe by themselves
        self._limiter = trio.CapacityLimiter(1)  # an abandoned write still holds it
        self._wake = trio.Event()
        self._day = (-1, "")

    def event(self, name: str, /, **fields: object) -> None:
        """Log `name` with `fields`. Never waits and never raises."""
        self._put(Level.INFO, name, fields)

    def warning(self, name: str, /, **fields: object) -> None:
        """As `event`, for what an operator should look at."""
        self._put(Level.WARNING, name, fields)

    def error(self, name: str, /, **fields: object) -> None:
        """As `event`, for what an operator must mend."""
        self._put(Level.ERROR, name, fields)

    async def run(self) -> None:
        """Write queued lines until cancelled; `aclose` writes what is left then."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await trio.sleep(GATHER_S)  # a thread for many lines costs what it costs for one
            await self._flush()

    async def aclose(self) -> None:
        """Write what is queued, waiting `FLUSH_DEADLINE_S` at most, even when cancelled.

        To be called after `run` has ended or been cancelled; more may be logged and closed again.
        """
        with trio.move_on_after(FLUSH_DEADLINE_S, shield=True):
            await self._flush()

    async def _flush(self) -> None:
        """Hand all that is queued to the writing thread. A cancelled call leaves the thread to
        finish, or to hang, by itself; the limiter keeps a second one from overtaking it."""
        await trio.to_thread.run_sync(
            self._write_queued, abandon_on_cancel=True, limiter=self._limiter
        )

    def _write_queued(self) -> None:
        lines = []
        while self._queue:
            lines.append(self._queue.popleft())
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            lines.append(self._line(Level.WARNING, "log-dropped", {"lines": dropped}))
        if not lines:
            return
        try:
            self._write(b"".join(lines))
        except OSError:
            with self._lock:
                fresh = len(lines) - bool(dropped)
                self._dropped += dropped + fresh
                self.lost += fresh

    def _put(self, level: Level, name: str, fields: Mapping[str, object]) -> None:
        if len(self._queue) >= MAX_QUEUED_LINES:
            with self._lock:
                self._dropped += 1
                self.lost += 1
            return
        try:
            line = self._line(level, name, fields)
        except Exception as error:  # a value that cannot be shown must not end a session
            line = self._line(level, name, {"unprintable": type(error).__name__})
        self._queue.append(line)
        self._wake.set()

    def _line(self, level: Level, name: str, fields: Mapping[str, object]) -> bytes:
        head = f"<{level.value}>{name}" if self._journal else f"{self._timestamp()} {name}"
        words = "".join([f" {key}={show(value)}" for key, value in fields.items()])
        return f"{head}{words}\n".encode("ascii")

    def _timestamp(self) -> str:
        now = self._clock()
        second, shown = self._day
        if second != int(now):
            second = int(now)
            shown = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._day = (second, shown)
        return f"{shown}.{int(now % 1 * 1000):03d}Z"


def show(value: object) -> str:
    """`value` as it stands after `key=`: printable ASCII without spaces outside quotes."""
    match value:
        case str():
            text = value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return f"{value:.3f}"
        case None:
            return "-"
        case bytes():
            text = value[: MAX_VALUE_CHARACTERS + 1].decode("latin-1")
        case Enum():
            text = str(value.value)
        case _:
            text = str(value)  # Prefix, Path, addresses; a Secret shows as nothing but its name
    return _quote(text)


def _quote(text: str) -> str:
    if len(text) > MAX_VALUE_CHARACTERS:
        text = text[:MAX_VALUE_CHARACTERS] + "..."
    if text and text != "-" and _BARE.issuperset(text):
        return text
    return f'"{text.translate(_ESCAPES).encode("ascii", "backslashreplace").decode()}"'


def where(error: BaseException) -> str:
    """Where `error` was raised. The log tells this and the error's class, never its text, which may
    hold a client's octets."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else ""


def stderr_log() -> Log:
    """A log on standard error, in the form its reader expects."""
    return Log(write_stderr, journal=under_journal(os.environ))


def under_journal(environ: Mapping[str, str], fd: int = _STDERR) -> bool:
    """Whether `fd` goes to the journal: systemd names its device and inode in JOURNAL_STREAM
    (systemd.exec(5))."""
    try:
        device, inode = map(int, environ.get("JOURNAL_STREAM", "").split(":"))
        status = os.fstat(fd)
    except (ValueError, OSError):
        return False
    return (status.st_dev, status.st_ino) == (device, inode)


def write_stderr(lines: bytes, fd: int = _STDERR) -> None:
    """Write all of `lines`, waiting as long as it takes. Raises `OSError`."""
    view = memoryview(lines)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # whoever shares the descriptor made it non-blocking
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
