"""The tour: what the guard is for, step by step, each verified where it happens.

A step either shows what it says or raises `StepFailed`; nothing is taken on trust. With `kernel`
the proof is the kernel's own (nft, packets without an answer), without it the guard's.
"""

import contextlib
import errno
import imaplib
import re
import select
import smtplib
import socket
import ssl
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Final

from demo.clients import Account, Idling, Somebody
from demo.guard import BAN_FIRST_S, GuardError
from demo.narrator import Narrator

GUESSES: Final = (
    *("123456", "password", "qwerty", "letmein", "iloveyou"),
    *("dragon", "monkey", "sunshine", "football", "admin123"),
)
LOGINS: Final = 5  # measured, and the median told
KNOCKS: Final = 20  # connections the banned attacker tries while the person works
UNANSWERED_S: Final = 1.5  # the first SYN and its repetition after a second
NOTICE_S: Final = 5.0
_RUNS_OUT_S: Final = BAN_FIRST_S + 10.0

FAILURES: Final = (
    *(OSError, smtplib.SMTPException, imaplib.IMAP4.error),
    *(GuardError, subprocess.SubprocessError),
)


class StepFailed(Exception):
    """Something did not happen as the story says."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part, and the tools that show what the guard did."""

    person: Somebody
    person_v6: Somebody | None
    stranger: Somebody
    attacker: Somebody
    account: Account
    ports: Mapping[str, int]
    nft: Callable[..., str] | None  # None: no kernel, the guard alone
    gatekeeper: Callable[..., str]


def verify(happened: bool, otherwise: str) -> None:
    """Raises `StepFailed` with `otherwise` where it did not happen."""
    if not happened:
        raise StepFailed(otherwise)


class Tour:
    """The steps, in their order, over one `Cast`."""

    def __init__(self, cast: Cast, narrator: Narrator) -> None:
        self._cast = cast
        self._say = narrator
        self._usual_s = 0.0
        self._idling: Idling | None = None
        self._open = contextlib.ExitStack()

    def run(self) -> bool:
        """Take the tour; whether each step happened."""
        with self._open:
            for number, step in enumerate(self.steps, 1):
                what = (step.__doc__ or "").partition("\n")[0]
                self._say.title(f"[{number}/{len(self.steps)}] {what}")
                try:
                    step()
                except StepFailed as error:
                    self._say.bad(str(error))
                    return False
                except FAILURES as error:
                    self._say.bad(f"{type(error).__name__}: {error}")
                    return False
        return True

    @property
    def steps(self) -> tuple[Callable[[], None], ...]:
        """What there is to see."""
        return (
            self.person_mails,
            self.attacker_guesses,
            self.ban_is_held,
            self.attacker_is_unheard,
            self.person_goes_on,
            self.ban_runs_out,
        )

    # -- the steps --------------------------------------------------------------------------

    def person_mails(self) -> None:
        """A person logs in, sends mail and reads it"""
        cast, ports = self._cast, self._cast.ports
        for name, starttls in (("submission", True), ("submissions", False)):
            body = f"Sent through {name} at {time.time_ns()}."
            version = cast.person.submit(
                ports[name], cast.account, self._message(body), starttls=starttls
            )
            how = "after STARTTLS" if starttls else "from the first octet"
            self._say.line(f"{name}: sent over {version} {how}")
            reader = cast.person_v6 or cast.person
            self._read_back(reader, body)
        self._usual_s = self._median_login_s()
        self._say.good(
            f"a login takes {_ms(self._usual_s)} (median of {LOGINS}, handshake included)"
        )

    def attacker_guesses(self) -> None:
        """An attacker guesses passwords on imaps, slower and slower, until banned"""
        cast, port = self._cast, self._cast.ports["imaps"]
        self._idling = self._open.enter_context(cast.person.idling(port, cast.account))
        self._say.line("meanwhile the person's mail program waits for mail in IDLE")
        other = cast.attacker.imap(port)
        guessing = cast.attacker.imap(port)
        waits_s = []
        try:
            for number, guess in enumerate(GUESSES, 1):
                begun = time.monotonic()
                answer, over = _guess(guessing, cast.account.user, guess)
                waits_s.append(time.monotonic() - begun)
                self._say.line(f"guess {number:2}  {guess:10} {_ms(waits_s[-1]):>8}  {answer}")
                if over:
                    break
            verify(over, f"{len(GUESSES)} wrong passwords, and no ban")
            verify(len(waits_s) > 2, "banned before there was a tarpit")
            verify(max(waits_s) > waits_s[0] + 0.1, "the tarpit did not grow")
            verify(_was_cut(other.sock), "the attacker's other session is still open")
        finally:
            for session in (other, guessing):
                with contextlib.suppress(OSError):
                    session.shutdown()
        self._say.good(f"cut off after {len(waits_s)} guesses; his other open session was cut too")

    def ban_is_held(self) -> None:
        """The ban, with its countdown"""
        address = self._cast.attacker.origin.address
        if self._cast.nft is not None:
            line, left_s = self._element()
            verify(0 < left_s <= BAN_FIRST_S, f"nft holds no ban of {address}")
            self._say.line("nft list set inet gatekeeper ban4_auth")
            self._say.shown(line)
        listed = self._cast.gatekeeper("ban", "list")
        verify(address in listed, f"`gatekeeper ban list` does not name {address}:\n{listed}")
        self._say.line("gatekeeper ban list")
        self._say.shown(listed)
        where = "in the kernel and in the guard" if self._cast.nft else "in the guard"
        self._say.good(f"{address} is banned {where}")

    def attacker_is_unheard(self) -> None:
        """The attacker gets no answer any more"""
        attacker, port = self._cast.attacker, self._cast.ports["imaps"]
        if self._cast.nft is None:
            verify(_is_refused(attacker, port), "the guard still talks to the attacker")
            self._say.good("his connection was closed before a single octet of an answer")
            return
        before = self._dropped()
        verify(_is_unanswered(attacker, port), "the attacker's connection was answered")
        after = self._dropped()
        verify(after > before, f"the kernel's drop counter stayed at {before}")
        self._say.line(f"connect() waited {UNANSWERED_S} s: no SYN+ACK, no reset, nothing")
        self._say.good(f"the kernel's counter of dropped packets went from {before} to {after}")

    def person_goes_on(self) -> None:
        """Meanwhile the person notices nothing"""
        cast, idling = self._cast, self._idling
        verify(idling is not None, "the person's IDLE session is not there")
        assert idling is not None
        before = self._dropped()
        with self._knocking() as unanswered:
            body = f"From a stranger at {time.time_ns()}."
            begun = time.monotonic()
            cast.stranger.deliver(cast.ports["mx"], self._message(body, "bob@example.net"))
            notice = idling.notice(NOTICE_S)
            verify("EXISTS" in notice, f"IDLE told {notice!r}, not of new mail")
            self._say.line(
                f"a stranger's mail server delivered on port {cast.ports['mx']}; the IDLE session,"
                f" open since before the attack, told `{notice}` {_ms(time.monotonic() - begun)}"
                " after he called"
            )
            verify(" OK" in idling.done(), "the IDLE session did not end in order")
            self._read_back(cast.person, body)
            now_s = self._median_login_s()
            self._say.line(f"a login takes {_ms(now_s)} (before the attack {_ms(self._usual_s)})")
            verify(unanswered(), "one of the attacker's connections was answered")
        after = self._dropped()
        if cast.nft is not None:
            verify(after > before, f"the kernel's drop counter stayed at {before}")
            knocks = f"{KNOCKS} connections of the attacker unanswered"
            self._say.good(f"{knocks} at the same time; packets dropped: {before} -> {after}")
        else:
            self._say.good(f"{KNOCKS} connections of the attacker refused at the same time")

    def ban_runs_out(self) -> None:
        """The ban runs out by itself"""
        attacker, port = self._cast.attacker, self._cast.ports["imaps"]
        deadline = time.monotonic() + _RUNS_OUT_S
        while (left := self._ban_left()) and time.monotonic() < deadline:
            self._say.over(f"left: {left}")
            time.sleep(0.25)
        self._say.over("")
        verify(not left, "the ban is still there")
        if self._cast.nft is not None:
            self._say.line("the kernel removed the element by its own timeout; nobody lifted it")
        session = attacker.imap(port)
        greeting = session.welcome.decode("ascii", "replace")
        session.logout()
        verify(greeting.startswith("* OK"), f"the attacker was greeted with {greeting!r}")
        self._say.shown(greeting)
        self._say.good(
            "the attacker's address is served again; the next ban would be twice as long"
        )

    # -- what they are made of --------------------------------------------------------------

    def _message(self, body: str, sender: str = "") -> EmailMessage:
        message = EmailMessage()
        message["From"] = sender or self._cast.account.user
        message["To"] = self._cast.account.user
        message["Subject"] = "gatekeeper demo"
        message.set_content(body)
        return message

    def _read_back(self, reader: Somebody, body: str) -> None:
        octets = reader.newest(self._cast.ports["imaps"], self._cast.account)
        header, _, text = octets.partition(b"\r\n\r\n")
        verify(text.decode().strip() == body, "what was fetched is not what was sent")
        trace = re.search(rb"Received: from \S+ \(\[(.*?)\]\)", header)
        told = trace[1].decode() if trace else "nothing"
        known = {self._cast.person.origin.address, self._cast.stranger.origin.address}
        verify(told in known, f"the backend was told {told} as the client's address")
        via = "IPv6" if ":" in reader.origin.server else "IPv4"
        self._say.good(
            f"fetched over imaps ({via}): the same body; the backend knows the sender came from {told}"
        )

    def _median_login_s(self) -> float:
        port, account = self._cast.ports["imaps"], self._cast.account
        return statistics.median(self._cast.person.login_s(port, account) for _ in range(LOGINS))

    def _element(self) -> tuple[str, float]:
        """The attacker's element in the kernel and its seconds left; 0 where there is none."""
        assert self._cast.nft is not None
        listed = self._cast.nft("list", "set", "inet", "gatekeeper", "ban4_auth")
        return read_element(listed, self._cast.attacker.origin.address)

    def _ban_left(self) -> str:
        """What is left of the ban, empty where it is over."""
        if self._cast.nft is not None:
            left_s = self._element()[1]
            return f"{left_s:.1f} s" if left_s else ""
        listed = self._cast.gatekeeper("ban", "list")
        lines = listed.splitlines()
        return next((line for line in lines if self._cast.attacker.origin.address in line), "")

    def _dropped(self) -> int:
        """Packets the kernel dropped on the login ports over IPv4."""
        if self._cast.nft is None:
            return 0
        return read_counter(
            self._cast.nft("list", "counter", "inet", "gatekeeper", "dropped4_auth")
        )

    @contextlib.contextmanager
    def _knocking(self) -> Iterator[Callable[[], bool]]:
        """The attacker tries to connect, many times at once; yields what tells whether he was
        never answered."""
        attacker, port = self._cast.attacker, self._cast.ports["imaps"]
        if self._cast.nft is None:
            yield lambda: all(_is_refused(attacker, port) for _ in range(KNOCKS))
            return
        with contextlib.ExitStack() as open_sockets:
            knocks = []
            for _ in range(KNOCKS):
                sock = open_sockets.enter_context(socket.socket())
                sock.setblocking(False)
                sock.bind((attacker.origin.address, 0))
                verify(
                    sock.connect_ex((attacker.origin.server, port)) == errno.EINPROGRESS,
                    "the attacker's connection was answered",
                )
                knocks.append(sock)
            yield lambda: not any(select.select([], knocks, [], 0))


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


def _guess(session: imaplib.IMAP4, user: str, password: str) -> tuple[str, bool]:
    """The answer to one guess, and whether it was the last on this session."""
    try:
        session.login(user, password)
    except (imaplib.IMAP4.abort, OSError) as error:
        return f"cut off ({error or type(error).__name__})", True
    except imaplib.IMAP4.error as error:
        answer = error.args[0] if error.args else ""
        text = answer.decode("ascii", "replace") if isinstance(answer, bytes) else str(answer)
        return f"NO {text}", _was_cut(session.sock, 0.0)
    raise StepFailed("a wrong password was let in")


def _was_cut(sock: socket.socket, within_s: float = 2.0) -> bool:
    """Whether the server ended the connection, perhaps after a farewell."""
    deadline = time.monotonic() + max(within_s, 0.05)
    with contextlib.suppress(TimeoutError, ssl.SSLWantReadError):
        while (left_s := deadline - time.monotonic()) > 0:
            sock.settimeout(left_s)
            try:
                if not sock.recv(4096):
                    return True
            except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return True
    sock.settimeout(15.0)
    return False


def _is_unanswered(somebody: Somebody, port: int) -> bool:
    """Whether a connection gets neither yes nor no."""
    try:
        somebody.origin.connect(port, UNANSWERED_S).close()
    except TimeoutError:
        return True
    except OSError:
        return False
    return False


def _is_refused(somebody: Somebody, port: int) -> bool:
    """Whether a connection is ended without a single octet of an answer."""
    try:
        with somebody.origin.connect(port) as sock:
            return not sock.recv(1)
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
