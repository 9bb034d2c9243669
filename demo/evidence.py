"""What the demo's tour takes for a proof: what nft printed, how a connection ended."""

import contextlib
import errno
import imaplib
import re
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Final

from demo.clients import TIMEOUT_S, Somebody

UNANSWERED_S: Final = 1.5  # the first SYN and its repetition after a second
KNOCKS: Final = 20  # connections the banned attacker tries while the person works
CUT_S: Final = 2.0  # a session that is still open then was not ended


class StepFailed(Exception):
    """Something did not happen as the story says."""


def verify(happened: bool, otherwise: str) -> None:
    """Raises `StepFailed` with `otherwise` where it did not happen."""
    if not happened:
        raise StepFailed(otherwise)


def read_element(listed: str, address: str) -> tuple[str, float]:
    """The element of `address` in what `nft list set` printed, and its seconds left; empty and 0
    where there is none."""
    match = re.search(rf"(?<![\w.:]){re.escape(address)} [^,}}]*expires ([\dhms]+)", listed)
    if match is None:
        return "", 0.0
    units_s = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    parts = re.findall(r"(\d+)(ms|[dhms])", match[1])
    return match[0], sum(int(number) * units_s[unit] for number, unit in parts)


def read_counter(listed: str) -> int:
    """The packets in what `nft list counter` printed. Raises `StepFailed` where it has none."""
    match = re.search(r"packets (\d+)", listed)
    verify(match is not None, "nft knows no such counter")
    return int(match[1]) if match else 0


def read_scores(told: str) -> tuple[float, float]:
    """The score of an address that is not banned, and that of a ban, in what `gatekeeper explain`
    told. Raises `StepFailed` where it tells something else."""
    match = re.search(r" is not banned; score ([\d.]+) of ([\d.]+)", told)
    if match is None:
        raise StepFailed(f"no score of an address that is not banned: {told}")
    return float(match[1]), float(match[2])


def guess(session: imaplib.IMAP4, user: str, password: str) -> str:
    """The answer to a wrong password. Raises `StepFailed` where it was let in."""
    try:
        session.login(user, password)
    except (imaplib.IMAP4.abort, OSError) as error:
        return f"cut off ({str(error) or type(error).__name__})"
    except imaplib.IMAP4.error as error:
        answer = error.args[0] if error.args else ""
        text = answer.decode("ascii", "replace") if isinstance(answer, bytes) else str(answer)
        return f"NO {text}"
    raise StepFailed("a wrong password was let in")


def was_cut(sock: socket.socket, within_s: float = CUT_S) -> bool:
    """Whether the server ended the connection, perhaps after a farewell."""
    deadline = time.monotonic() + within_s
    with contextlib.suppress(TimeoutError, ssl.SSLWantReadError):
        while (left_s := deadline - time.monotonic()) > 0:
            sock.settimeout(left_s)
            try:
                if not sock.recv(4096):
                    return True
            except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return True
    sock.settimeout(TIMEOUT_S)
    return False


def is_unanswered(somebody: Somebody, port: int) -> bool:
    """Whether a connection gets neither yes nor no."""
    try:
        somebody.origin.connect(port, UNANSWERED_S).close()
    except TimeoutError:
        return True
    except OSError:
        return False
    return False


def is_refused(somebody: Somebody, port: int) -> bool:
    """Whether a connection is ended without a single octet of an answer."""
    try:
        with somebody.origin.connect(port) as sock:
            return not sock.recv(1)
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@contextlib.contextmanager
def knocking(somebody: Somebody, port: int, at_kernel: bool) -> Iterator[Callable[[], bool]]:
    """Try to connect, many times at once, for as long as the block lasts.

    Yields what tells whether there never was an answer; where not the kernel but the guard refuses,
    the tries are made when that is asked. Raises `StepFailed` for an answer at once.
    """
    if not at_kernel:
        yield lambda: all(is_refused(somebody, port) for _ in range(KNOCKS))
        return
    with contextlib.ExitStack() as open_sockets:
        knocks = []
        for _ in range(KNOCKS):
            sock = open_sockets.enter_context(socket.socket())
            sock.setblocking(False)
            sock.bind((somebody.origin.address, 0))
            status = sock.connect_ex((somebody.origin.server, port))
            verify(status == errno.EINPROGRESS, "a connection was answered")
            knocks.append(sock)
        yield lambda: not any(select.select([], knocks, [], 0))


def milliseconds(seconds: float) -> str:
    """`seconds` for the reader."""
    return f"{seconds * 1000:.0f} ms"
