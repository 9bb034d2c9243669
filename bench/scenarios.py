"""What is measured: units of work, how the load makes them, and what the project wants to reach."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

MIB: Final = 1024 * 1024
_BULK_OCTETS: Final = 64 * MIB
_MESSAGE_OCTETS: Final = 10 * 1024


class Service(Enum):
    """The port a scenario goes to."""

    IMAPS = "imaps"
    SUBMISSIONS = "submissions"
    SUBMISSION = "submission"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One line of the report: `count` sessions of `load`, CPU divided by the units in them."""

    name: str
    title: str
    load: str  # the load generator's own scenario
    service: Service
    count: int  # sessions in a round of a full run
    threads: int = 16
    octets: int = 0  # content of one session
    commands: int = 0  # NOOPs of one session
    resume: bool = False
    rsa: bool = False
    bulk: bool = False  # the unit is a GiB of content, not a session
    target: float | None = None  # CPU against nginx with default buffers, at most
    without: tuple[str, ...] = ()  # families of contenders that cannot do it

    @property
    def unit(self) -> str:
        """What the figure counts, with its unit of measure."""
        return "s per GiB" if self.bulk else "µs"

    @property
    def scale(self) -> float:
        """From seconds of CPU to the figure's unit of measure."""
        return 1.0 if self.bulk else 1e6

    def units(self, sessions: int) -> float:
        """Units of work in `sessions` sessions."""
        return sessions * self.octets / 1024**3 if self.bulk else float(sessions)

    def arguments(self, port: int, count: int, threads: int, password: str) -> list[str]:
        """The load generator's command line behind its name."""
        options = {
            "--port": port,
            "--count": count,
            "--threads": threads,
            "--octets": self.octets,
            "--commands": self.commands,
            "--password": password,
        }
        flags = {
            "--starttls": self.service is Service.SUBMISSION,
            "--resume": self.resume,
            "--rsa": self.rsa,
        }
        words = [self.load]
        for name, value in options.items():
            words += [name, str(value)]
        return words + [name for name, on in flags.items() if on]


SCENARIOS: Final = (
    Scenario(
        name="login",
        title="IMAP login, full handshake, P-256",
        load="imap-login",
        service=Service.IMAPS,
        count=3000,
        target=1.25,
    ),
    Scenario(
        name="login-resumed",
        title="IMAP login, resumed",
        load="imap-login",
        service=Service.IMAPS,
        count=3000,
        resume=True,
        target=1.25,
    ),
    Scenario(
        name="login-rsa",
        title="IMAP login, full handshake, RSA-2048",
        load="imap-login",
        service=Service.IMAPS,
        count=2000,
        rsa=True,
    ),
    Scenario(
        name="login-quiet",
        title="IMAP login, P-256, one client at a time",
        load="imap-login",
        service=Service.IMAPS,
        count=1000,
        threads=1,
    ),
    Scenario(
        name="noop",
        title="IMAP login and 100 NOOPs",
        load="imap-noop",
        service=Service.IMAPS,
        count=400,
        commands=100,
    ),
    Scenario(
        name="submission",
        title="SMTP submission of 10 KB, implicit TLS",
        load="submission",
        service=Service.SUBMISSIONS,
        count=2000,
        octets=_MESSAGE_OCTETS,
        target=1.3,
    ),
    Scenario(
        name="submission-starttls",
        title="SMTP submission of 10 KB, STARTTLS",
        load="submission",
        service=Service.SUBMISSION,
        count=2000,
        octets=_MESSAGE_OCTETS,
        target=1.3,
        without=("haproxy",),
    ),
    Scenario(
        name="fetch",
        title="GiB down, IMAP FETCH",
        load="fetch",
        service=Service.IMAPS,
        count=16,
        threads=4,
        octets=_BULK_OCTETS,
        bulk=True,
        target=0.75,
    ),
    Scenario(
        name="append",
        title="GiB up, IMAP APPEND",
        load="append",
        service=Service.IMAPS,
        count=16,
        threads=4,
        octets=_BULK_OCTETS,
        bulk=True,
        target=1.0,
    ),
    Scenario(
        name="data",
        title="GiB up, SMTP DATA",
        load="data",
        service=Service.SUBMISSIONS,
        count=16,
        threads=4,
        octets=_BULK_OCTETS,
        bulk=True,
        target=1.0,
    ),
)

# Memory is read, not timed: its own kind of scenario.
IDLE: Final = Scenario(
    name="idle",
    title="KiB per idle IMAP IDLE session",
    load="idle",
    service=Service.IMAPS,
    count=5000,
    target=0.8,
)
IDLE_ROUNDS_MAX: Final = 3  # memory hardly varies, and 5,000 sessions take their time
