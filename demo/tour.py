"""The tour: what the guard is for, step by step, each verified where it happens.

A step either shows what it says or raises `StepFailed`; nothing is taken on trust. With `kernel`
the proof is the kernel's own (nft, packets without an answer), without it the guard's.
"""

import contextlib
import imaplib
import re
import smtplib
import statistics
import subprocess
import time
from collections.abc import Callable
from email.message import EmailMessage
from typing import Final

from demo.cast import Cast
from demo.clients import Account, Idling, Somebody
from demo.evidence import (
    KNOCKS,
    UNANSWERED_S,
    StepFailed,
    is_refused,
    is_unanswered,
    knocking,
    milliseconds,
    read_counter,
    read_element,
    read_scores,
    verify,
    was_cut,
)
from demo.guard import BAN_FIRST_S, GuardError
from demo.guessing import NAMES, WORDS, guess_along
from demo.narrator import Narrator

LOGINS: Final = 5  # measured, and the median told
NOTICE_S: Final = 5.0
_HELD_S: Final = 2.0  # the kernel has a ban after milliseconds; a busy machine may take longer
_RUNS_OUT_S: Final = BAN_FIRST_S + 10.0

FAILURES: Final = (
    *(OSError, smtplib.SMTPException, imaplib.IMAP4.error),
    *(GuardError, subprocess.SubprocessError),
)


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
            self.neighbour_guesses,
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
            f"a login takes {milliseconds(self._usual_s)} (median of {LOGINS}, handshake included)"
        )

    def attacker_guesses(self) -> None:
        """An attacker guesses passwords on imaps: slower, then unheard, then banned"""
        cast, port = self._cast, self._cast.ports["imaps"]
        self._idling = self._open.enter_context(cast.person.idling(port, cast.account))
        self._say.line("meanwhile the person's mail program waits for mail in IDLE")
        other = cast.attacker.imap(port)
        guessing = cast.attacker.imap(port)
        try:
            words = [Account(cast.account.user, word) for word in WORDS]
            done = guess_along(guessing, words, self._asked_by(cast.attacker), self._say)
            count = len(done.waits_s)
            verify(done.cut, f"{len(WORDS)} wrong passwords, and no ban")
            verify(count > 2, "banned before there was a tarpit")
            verify(max(done.waits_s) > done.waits_s[0] + 0.1, "the tarpit did not grow")
            verify(0 < done.asked < count, f"{count} guesses, the backend was asked {done.asked}")
            verify(was_cut(other.sock), "the attacker's other session is still open")
        finally:
            for session in (other, guessing):
                with contextlib.suppress(OSError):
                    session.shutdown()
        self._say.line(f"the backend's own log has {done.asked} of the {count} guesses")
        self._say.good(f"cut off after {count} guesses; his other open session was cut too")

    def ban_is_held(self) -> None:
        """The ban, with its countdown"""
        address = self._cast.attacker.origin.address
        if self._cast.nft is not None:
            deadline = time.monotonic() + _HELD_S
            while not (element := self._element())[1] and time.monotonic() < deadline:
                pass  # each look starts nft, which is pause enough
            line, left_s = element
            verify(left_s > 0, f"nft holds no ban of {address}")
            verify(left_s <= BAN_FIRST_S, f"nft holds a ban of {address} too long: {line}")
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
            verify(is_refused(attacker, port), "the guard still talks to the attacker")
            self._say.good("his connection was closed before a single octet of an answer")
            return
        before = self._dropped()
        verify(is_unanswered(attacker, port), "the attacker's connection was answered")
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
        with knocking(cast.attacker, cast.ports["imaps"], cast.nft is not None) as unanswered:
            body = f"A stranger wrote this at {time.time_ns()}."
            begun = time.monotonic()
            cast.stranger.deliver(cast.ports["mx"], self._message(body, "bob@example.net"))
            notice = idling.notice(NOTICE_S)
            verify("EXISTS" in notice, f"IDLE told {notice!r}, not of new mail")
            self._say.line(f"a stranger's mail server delivers on port {cast.ports['mx']}")
            told = f"{milliseconds(time.monotonic() - begun)} after it called"
            self._say.line(f"IDLE, open since before the attack, tells `{notice}` {told}")
            verify(" OK" in idling.done(), "the IDLE session did not end in order")
            self._read_back(cast.person, body)
            self._say.line(self._login_time())
            verify(unanswered(), "one of the attacker's connections was answered")
        after = self._dropped()
        if cast.nft is not None:
            verify(after > before, f"the kernel's drop counter stayed at {before}")
            knocks = f"{KNOCKS} connections of the attacker unanswered"
            self._say.good(f"{knocks} at the same time; packets dropped: {before} -> {after}")
        else:
            self._say.good(f"{KNOCKS} connections of the attacker refused at the same time")

    def neighbour_guesses(self) -> None:
        """A device behind the person's own address guesses, and the person is left alone"""
        cast, port = self._cast, self._cast.ports["imaps"]
        address = cast.person.origin.address
        guessing = cast.person.imap(port)
        try:
            with cast.person.imap(port) as working:
                working.login(cast.account.user, cast.account.password)
                names = [Account(name, WORDS[0]) for name in NAMES]
                done = guess_along(guessing, names, self._asked_by(cast.person), self._say)
                count = len(done.waits_s)
                verify(not done.cut, f"the session was cut after {count} guesses")
                verify(done.asked < count, f"the backend was asked about all {count} guesses")
                verify(working.noop()[0] == "OK", "the person's session was cut")
        finally:
            guessing.shutdown()
        told = cast.gatekeeper("explain", address).partition("\n")[0]
        self._say.line(f"gatekeeper explain {address}")
        self._say.shown(told)
        score, ban_score = read_scores(told)
        verify(score >= ban_score, f"too few guesses for a ban anywhere: {told}")
        self._say.line("a guesser elsewhere is banned at such a score; here people log in")
        self._say.line(self._login_time())
        asked = f"the backend was asked about {done.asked} of {count} guesses"
        self._say.good(f"{asked}; nobody at {address} was banned or cut off")

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
            f"fetched over imaps ({via}): the same body; the backend saw it come from {told}"
        )

    def _asked_by(self, somebody: Somebody) -> Callable[[], int]:
        return lambda: self._cast.asked(somebody.origin.address)

    def _median_login_s(self) -> float:
        port, account = self._cast.ports["imaps"], self._cast.account
        return statistics.median(self._cast.person.login_s(port, account) for _ in range(LOGINS))

    def _login_time(self) -> str:
        usual, now = milliseconds(self._usual_s), milliseconds(self._median_login_s())
        return f"a login of the person takes {now} (before the attack {usual})"

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
