"""A guard and its Ledger on a clock that moves when told to."""

from gatekeeper.ban import Ban, Scope
from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    AuthResult,
    Client,
    MailProtocol,
    RcptAttempt,
    RcptOutcome,
    RcptResult,
)
from gatekeeper.guard import Guard
from gatekeeper.ledger import Ledger
from gatekeeper.policy.rules import BUILT_IN, BuiltIn
from gatekeeper.prefix import Prefix, entity
from gatekeeper.remembered import AccountLock
from gatekeeper.secret import Secret
from gatekeeper.settings import PolicySettings, Settings, TlsSettings
from gatekeeper.verdict import Action, Reason, Verdict

# Where failures are forwarded until they ban: what an address does is looked at by itself.
POLICY = PolicySettings(auth_suspect_share=1.0)
SETTINGS = Settings("mail.example.org", TlsSettings(), (), {}, policy=POLICY)
BANNED = Verdict(Action.CLOSE, Reason.BANNED)
BAN = Verdict(Action.CLOSE, Reason.AUTH_FAILURES, ban=True)
GUESSES = round(POLICY.auth_ban_score / POLICY.auth_failure_weight)  # of one account: a ban
MINUTE_S = 60.0


def client(
    address: str = "203.0.113.9", protocol: MailProtocol = MailProtocol.IMAP, port: int = 50_000
) -> Client:
    return Client(address, port, "192.0.2.1", 993, entity(address), "test", protocol)


OFFICE = client("203.0.113.200")
MX_PEER = client(protocol=MailProtocol.SMTP)


class Bench:
    """A guard and its Ledger on one clock that moves when told to."""

    def __init__(
        self,
        settings: Settings = SETTINGS,
        never: tuple[Prefix, ...] = (),
        rules: tuple[BuiltIn, ...] = BUILT_IN,
    ) -> None:
        self.now = 1_700_000_000.0
        self.ledger = Ledger(settings.policy, never, lambda: self.now)
        self.heard: list[tuple[Verdict, bool]] = []
        self.locked: list[tuple[AccountLock, str]] = []
        self.locks_enforced: list[bool] = []
        self.guard = Guard(
            settings,
            self.ledger,
            clock=lambda: self.now,
            account_secret=b"a" * 32,
            password_secret=b"p" * 32,
            rules=rules,
            on_verdict=lambda _client, _event, verdict, enforced: self.heard.append(
                (verdict, enforced)
            ),
            on_lock=self._on_lock,
        )

    def _on_lock(self, lock: AccountLock, account: str, enforced: bool) -> None:
        self.locked.append((lock, account))
        self.locks_enforced.append(enforced)

    async def attempt(self, who: Client, password: str, account: str = "ann") -> Verdict:
        return await self.guard.judge(attempt(password, account), who)

    async def outcome(
        self,
        who: Client,
        password: str,
        account: str = "ann",
        result: AuthResult = AuthResult.FAILURE,
    ) -> Verdict:
        return await self.guard.judge(AuthOutcome(attempt(password, account), result), who)

    async def guesses(self, who: Client, number: int = GUESSES) -> list[Verdict]:
        """So many wrong passwords for one account, one after another."""
        return [await self.outcome(who, f"guess {each}") for each in range(number)]

    async def rcpt(
        self, who: Client, result: RcptResult, name: str = "someone", authcid: str = ""
    ) -> Verdict:
        event = RcptOutcome(RcptAttempt(f"{name}@example.org", authcid), result)
        return await self.guard.judge(event, who)

    def score(self, who: Client, scope: Scope = Scope.AUTH) -> float:
        return self.guard.score(who.entity, scope)

    def bans(self) -> list[Ban]:
        return self.ledger.bans()


def attempt(password: str | None, account: str = "ann") -> AuthAttempt:
    secret = None if password is None else Secret(password.encode())
    return AuthAttempt("PLAIN", account, secret=secret)
