"""Stories told to the guard on a virtual clock: people, attackers, and a backend that knows.

    world = World()
    world.learn()                       # people have been seen where they are at home
    ann = world.person("ann", HOME)     # her password is known to the backend
    world.wait(hours=1)
    assert ann.logs_in().got_in
    assert ann.logs_in(AIRPORT).put_off

An `Answer` says what a client sees and whether the backend was asked.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from gatekeeper.settings import PolicySettings, Settings, TlsSettings
from gatekeeper.simulation import Simulation

POLICY: Final = PolicySettings()
SETTINGS: Final = Settings("mail.example.org", TlsSettings(), (), {})
RETRY_S: Final = POLICY.retry_after_s
DAY_S: Final = 86_400.0
LEARNERS: Final = 40  # people whose logins teach the guard who is at home where
MOST_LOGINS: Final = 20_000  # a guard that has not learnt by then never does


class Answer(NamedTuple):
    """What became of one event."""

    action: str
    forwarded: bool
    outcome: str | None
    reason: str
    banned: str | None  # the prefix, where this event made a ban

    @property
    def got_in(self) -> bool:
        """The client was let in, or its recipient accepted."""
        return self.outcome == "ok"

    @property
    def put_off(self) -> bool:
        """A 454, 451 or `NO [UNAVAILABLE]`: the client tries again by itself."""
        return self.action == "defer"

    @property
    def refused(self) -> bool:
        """The client was told that its password is wrong, or its connection was dropped."""
        return self.outcome == "fail" or self.action in {"reject", "decoy", "drop"}


class World:
    """A guard, its backend, and a clock that moves when told to."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.simulation = Simulation(settings)
        self.guard = self.simulation.guard
        self.t = 0.0
        self.passwords: dict[str, str] = {}
        self.refuses_everybody = False
        self.seen = Counter[str]()  # logins the backend was asked about, by account

    # -- time and the backend -----------------------------------------------------------------

    def wait(self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0) -> None:
        """Let time pass."""
        self.t += seconds + 60 * minutes + 3600 * hours

    def outage(self, on: bool) -> None:
        """The backend is unreachable, or back."""
        self.simulation.feed({"t": self.t, "kind": "outage", "on": on})

    def login(self, account: str, ip: str, password: str) -> Answer:
        """One attempt."""
        right = self.passwords.get(account) == password
        event = {
            "t": self.t,
            "kind": "auth",
            "ip": ip,
            "account": account,
            "password": password,
            "protocol": "imap",
            "valid": right and not self.refuses_everybody,
        }
        answer = self._feed(event)
        self.seen[account] += answer.forwarded
        return answer

    def rcpt(self, ip: str, name: str, *, exists: bool, account: str | None = None) -> Answer:
        """One recipient, on port 25 or of a logged-in account."""
        recipient = f"{name}@example.org"
        event = {"t": self.t, "kind": "rcpt", "ip": ip, "account": account}
        return self._feed({**event, "recipient": recipient, "exists": exists})

    # -- people -------------------------------------------------------------------------------

    def person(self, account: str, home: str) -> "Person":
        """Somebody with a mailbox, who has logged in from home."""
        self.passwords[account] = f"{account}'s own"
        person = Person(self, account, home)
        assert person.logs_in().got_in
        return person

    def learn(self) -> "list[Person]":
        """People log in from home until the guard has learnt who is at home where; then two days
        pass, for their first logins were strangers'."""
        people = [self.person(f"user{n}", f"10.{n}.0.1") for n in range(LEARNERS)]
        logins = self.guard.evidence.logins
        for number in range(MOST_LOGINS):
            if logins.familiarity.learned and logins.newcomers.learned:
                self.wait(hours=48)
                return people
            self.wait(10)
            assert people[number % LEARNERS].logs_in().got_in
        raise AssertionError("the guard has not learnt its people")

    # -- what the operator sees ---------------------------------------------------------------

    @property
    def bans(self) -> list[str]:
        """The prefixes banned."""
        return [str(ban.prefix) for ban in self.simulation.ledger.bans()]

    def _feed(self, event: dict[str, object]) -> Answer:
        decision = self.simulation.feed(event)
        ban = decision["ban"]
        return Answer(
            decision["action"],
            decision["forwarded"],
            decision["outcome"],
            decision["reason"],
            None if ban is None else ban["prefix"],
        )


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who knows the password, and types or stores another at times."""

    world: World
    account: str
    home: str

    def logs_in(self, ip: str | None = None) -> Answer:
        """With the right password, from home where nothing else is said."""
        return self.tries(self.world.passwords[self.account], ip)

    def tries(self, password: str, ip: str | None = None) -> Answer:
        """With this password."""
        return self.world.login(self.account, ip or self.home, password)

    def changes_password(self) -> str:
        """Somewhere the guard does not see; the password before."""
        before = self.world.passwords[self.account]
        self.world.passwords[self.account] = f"{before}, changed"
        return before

    def gets_in(self, ip: str | None = None, retries: int = 3) -> float | None:
        """As a mail program does it: again after a while where put off. Seconds it took, None where
        it was refused or given up."""
        started = self.world.t
        for _ in range(retries + 1):
            answer = self.logs_in(ip)
            if answer.got_in:
                return self.world.t - started
            if not answer.put_off:
                return None
            self.world.wait(RETRY_S)
        return None


@dataclass(slots=True)
class Campaign:
    """What became of many guesses."""

    answers: list[Answer]

    @property
    def made(self) -> int:
        """Guesses made."""
        return len(self.answers)

    @property
    def forwarded(self) -> int:
        """Guesses the backend saw."""
        return sum(answer.forwarded for answer in self.answers)

    @property
    def share(self) -> float:
        """Of the guesses, those the backend saw."""
        return self.forwarded / len(self.answers)

    @property
    def reasons(self) -> set[str]:
        """Why guesses were refused."""
        return {answer.reason for answer in self.answers if not answer.forwarded}


def attack(world: World, guesses: Iterable[tuple[str, str, str]], every_s: float = 1.0) -> Campaign:
    """Guesses of (account, address, password), one each `every_s`."""
    answers = []
    for account, ip, password in guesses:
        answers.append(world.login(account, ip, password))
        world.wait(every_s)
    return Campaign(answers)


def addresses(count: int) -> list[str]:
    """A botnet: addresses that share no /24, and hardly ever a /16."""
    return [f"{101 + n % 89}.{n // 89 % 251}.{n * 37 % 256}.{1 + n % 250}" for n in range(count)]
