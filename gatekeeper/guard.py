"""The local judge: evidence, Facts, Rules, one verdict.

Nothing here awaits, so between reading a counter and making the ban no other session runs: of
parallel guesses exactly the one that reaches the threshold bans, whichever connection it is on.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from gatekeeper.ban import Scope
from gatekeeper.banning import Banning
from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    AuthResult,
    Client,
    ConnectionClosed,
    EarlyTalk,
    JudgedEvent,
    RcptAttempt,
    RcptOutcome,
    RcptResult,
    Violation,
    ViolationKind,
)
from gatekeeper.journal import Journal
from gatekeeper.ledger import Ledger
from gatekeeper.opinions import OnVerdict, Opinions
from gatekeeper.policy.domains import Domains
from gatekeeper.policy.evidence import Evidence, Seen
from gatekeeper.policy.facts import Facts
from gatekeeper.policy.keys import Place, place
from gatekeeper.policy.prefix_set import PrefixSet
from gatekeeper.policy.rules import BANNED, BUILT_IN, BuiltIn
from gatekeeper.policy.thresholds import ban_due, tarpit_s
from gatekeeper.prefix import Prefix
from gatekeeper.remembered import AccountLock, LockKind
from gatekeeper.settings import Settings, Treatment
from gatekeeper.tickets import Tickets, has_ticket
from gatekeeper.verdict import PASS, Action, Reason, Verdict, strongest

OnJudged = Callable[[Client, JudgedEvent, Verdict], None]
OnLock = Callable[[AccountLock, str, bool], None]


_NOWHERE: Final = Prefix(bytes(4), 32)
_LOCKED: Final = Verdict(Action.REJECT, Reason.ACCOUNT_LOCKED)
_COUNTED: Final = frozenset({AuthAttempt, AuthOutcome, RcptAttempt, RcptOutcome, Violation})
# What was counted already, and what says nothing of the client.
_NO_GUESSES: Final = (Reason.REPEATED_PASSWORD, Reason.ACCOUNT_LOCKED, Reason.HOOK_FAILED)


def _ignore(*_: object) -> None:
    """What a guard nobody listens to calls."""


class Guard:
    """Judges every Event of this process (`gatekeeper.abc.Judge`).

    `clock` gives Unix time that never goes back. `account_secret` is kept over restarts,
    `password_secret` is made anew at each start and never stored (at most 64 octets each).
    `on_verdict(client, event, verdict, enforced)` hears every verdict other than `PASS`, also those
    that observe mode does not carry out; `on_lock(lock, account, enforced)` of accounts that are
    held, or that strangers begin to be kept off, by rules that may only watch. Both must be quick
    and must not raise, and so must `on_judged(client, event, verdict)`, the owner's to set, which
    hears every Event with its verdict.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        *,
        clock: Callable[[], float],
        account_secret: bytes,
        password_secret: bytes,
        rules: Sequence[BuiltIn] = BUILT_IN,
        on_verdict: OnVerdict = _ignore,
        on_lock: OnLock = _ignore,
    ) -> None:
        self.evidence = Evidence(
            settings.policy, account_secret=account_secret, password_secret=password_secret
        )
        self.journal = Journal()
        self.tickets = Tickets()
        self.opinions = Opinions(settings, rules, on_verdict)
        self.banning = Banning(settings.policy, ledger, self.evidence)
        self._ledger = ledger
        self._clock = clock
        self.domains: Domains | None = None  # the operator's files; replaced as they change
        self._on_verdict = on_verdict
        self._on_lock = on_lock
        self.on_judged: OnJudged = _ignore
        self._last_place = _NOWHERE, place(_NOWHERE)
        self.reconfigure(settings)

    def reconfigure(self, settings: Settings) -> None:
        """Judge by new settings from the next Event on; all counters stay as they are."""
        self._settings = settings
        self.opinions.reconfigure(settings)
        self._allowed = PrefixSet(settings.allow)
        self.evidence.reconfigure(settings.policy)
        self.banning.reconfigure(settings.policy)
        logins = self.evidence.logins
        logins.traps = frozenset(map(logins.account_key, settings.trap_accounts))
        self.evidence.sending.overrides = {
            logins.account_key(name): own for name, own in settings.accounts.items()
        }

    def suspend(self, on: bool) -> None:
        """See `Opinions.suspend`."""
        self.opinions.suspend(on)

    @property
    def suspended(self) -> bool:
        """Whether all Rules only watch, whatever the settings say."""
        return self.opinions.suspended

    @property
    def would_have(self) -> Counter[Reason]:
        """Verdicts that were not carried out, by reason."""
        return self.opinions.would_have

    async def judge(self, event: JudgedEvent, client: Client) -> Verdict:
        """See `gatekeeper.abc.Judge`."""
        return self.decide(event, client)

    def decide(self, event: JudgedEvent, client: Client, given: Sequence[Verdict] = ()) -> Verdict:
        """The verdict on `event`, to which `given` opinions of hooks belong as a Rule's do. Allowed
        clients pass and are never counted; but what the operator has locked is locked for them,
        too."""
        entity = client.entity
        if self._allowed and self._allowed.overlaps(entity):
            verdict = self._on_allowed(event, client)
            self.on_judged(client, event, verdict)
            return verdict
        banned = self._ledger.find(entity, client.scope) is not None
        kind = type(event)
        if not (banned or given or kind in _COUNTED) and self.opinions.unjudged(kind):
            self.on_judged(client, event, PASS)
            return PASS
        where = self._place(entity)
        now = self._clock()
        if banned and not self._only_watches_bans(event, client):
            seen = Seen(self._facts_of(client.scope, banned=True))
        else:
            seen = self._see(event, client, where, now)
        verdict = self.opinions.strongest(event, client, seen.facts, given=given)
        if isinstance(event, AuthAttempt):
            verdict, seen = self._after_attempt(event, client, seen, verdict, where, now)
        elif isinstance(event, RcptAttempt):
            verdict, seen = self._after_recipient(event, client, seen, verdict, where, now)
        elif isinstance(event, EarlyTalk) and verdict.reason is Reason.EARLY_TALKER:
            verdict, seen = self._after_early_talk(client, verdict, where, now)
        if seen.lock is not None and isinstance(event, AuthOutcome | RcptOutcome):
            enforced = self.treatment(Reason.ACCOUNT_HELD) is Treatment.ENFORCE
            self._on_lock(seen.lock, event.attempt.authcid, enforced)
        if self.evidence.logins.besieged is not None:
            self._tell_siege(event)
        if verdict.ban:
            verdict = self._ban(event, client, verdict, seen.facts, now)
        return self._told(event, client, seen, verdict, where, now)

    def look(self, event: JudgedEvent, client: Client) -> Facts | None:
        """What is known of `event` before it is judged; nothing is counted. None where no hook's
        opinion would matter: allowed clients pass, and banned ones are refused."""
        if self._allowed and self._allowed.overlaps(client.entity):
            return None
        if self.treatment(Reason.HOOK) is Treatment.IGNORE:
            return None
        banned = self._ledger.find(client.entity, client.scope) is not None
        if banned and self.treatment(Reason.BANNED) is Treatment.ENFORCE:
            return None
        where = self._place(client.entity)
        seen = Seen(self.evidence.look(event, client.scope, where, self._clock()))
        if isinstance(event, RcptAttempt):
            seen = self._by_domain(seen, event, client)
        return seen.facts._replace(tags=client.marks.tags)

    def _tell_siege(self, event: JudgedEvent) -> None:
        """Of an account that strangers have begun to be kept off."""
        logins = self.evidence.logins
        lock, logins.besieged = logins.besieged, None
        attempt = event.attempt if isinstance(event, AuthOutcome) else event
        if lock is not None and isinstance(attempt, AuthAttempt):
            enforced = self.treatment(Reason.ACCOUNT_ATTACKED) is Treatment.ENFORCE
            self._on_lock(lock, attempt.authcid, enforced and logins.familiarity.learned)

    @property
    def now(self) -> float:
        """The clock all counters go by: Unix time that never goes back."""
        return self._clock()

    def report(self) -> dict[str, object]:
        """The guard's state in a few words and numbers, for `status`."""
        logins, now = self.evidence.logins, self._clock()
        guesses, strangers = logins.level.figures(now)
        return {
            "attack_level": "high" if logins.level.high(now) else "low",
            "strangers_guesses": round(guesses, 1),
            "strangers_logins": round(strangers, 1),
            "learned": logins.familiarity.learned,
            "accounts": len(logins.accounts),
            "outage": logins.outages.outage(now),
            **self.banning.report(now),
            "would_have": {reason.value: count for reason, count in self.would_have.items()},
        }

    def treatment(self, rule: Reason) -> Treatment:
        """What is done now about the Rules of this name."""
        return self.opinions.treatment(rule)

    def score(self, entity: Prefix, scope: Scope) -> float:
        """The score of `entity` in `scope` as it is now; 0 where nothing is known of it."""
        evidence, where = self.evidence, place(entity)
        scores = evidence.mx_scores if scope is Scope.MX else evidence.logins.neighbourhood.scores
        return scores.sources.value(where.source, self._clock())

    # -- the parts --------------------------------------------------------------------------

    def _on_allowed(self, event: JudgedEvent, client: Client) -> Verdict:
        if isinstance(event, AuthOutcome):
            refusable, attempt = event.result is AuthResult.SUCCESS, event.attempt
        elif isinstance(event, AuthAttempt):
            refusable, attempt = True, event
        else:
            return PASS
        logins = self.evidence.logins
        account = logins.account_key(attempt.authcid)
        if not (refusable and logins.locks.find(account, LockKind.OPERATOR, self._clock())):
            return PASS
        done = self.treatment(Reason.ACCOUNT_LOCKED)
        if done is Treatment.OBSERVE:
            self.opinions.watched(event, client, _LOCKED)
        if done is not Treatment.ENFORCE:
            return PASS
        nothing = Seen(self._facts_of(client.scope, banned=False))
        where = self._place(client.entity)
        return self._told(event, client, nothing, _LOCKED, where, self._clock())

    def _told(
        self,
        event: JudgedEvent,
        client: Client,
        seen: Seen,
        verdict: Verdict,
        where: Place,
        now: float,
    ) -> Verdict:
        """The verdict as it is carried out, with its ticket; who wants to know hears it."""
        if verdict is not PASS and has_ticket(event, verdict):
            verdict = verdict.with_ticket(self.tickets.new())
        entry = self.journal.note(event, client, seen, verdict, where, now)
        if entry is not None and verdict.ticket:
            self.tickets.keep(entry, event, client.scope)
        if verdict is not PASS:
            self._on_verdict(client, event, verdict, True)
        self.on_judged(client, event, verdict)
        return verdict

    def _place(self, entity: Prefix) -> Place:
        """Where `entity` is; most Events come from where the last one did."""
        if self._last_place[0] is not entity:
            self._last_place = entity, place(entity)
        return self._last_place[1]

    def _see(self, event: JudgedEvent, client: Client, where: Place, now: float) -> Seen:
        """Count the Event and tell what is known of it."""
        evidence, scope = self.evidence, client.scope
        match event:
            case AuthAttempt():
                return evidence.attempt(event, where, now)
            case AuthOutcome():
                return evidence.outcome(event, where, now)
            case RcptAttempt():
                return self._by_domain(evidence.recipient(event, scope, where, now), event, client)
            case RcptOutcome(attempt=attempt):
                seen = evidence.recipient_outcome(event, scope, where, now)
                return self._by_domain(seen, attempt, client)
            case Violation():
                return evidence.violation(event, scope, where, now)
            case _:
                return evidence.anything(scope, where, now)

    def _by_domain(self, seen: Seen, event: RcptAttempt, client: Client) -> Seen:
        """`seen` with what the files of the recipient's domain say, on port 25."""
        recipient = seen.facts.recipient
        if self.domains is None or recipient is None or client.scope is not Scope.MX:
            return seen
        domain = self.domains.facts(
            client.address, client.reverse_name, event.reverse_path, event.forward_path
        )
        facts = seen.facts._replace(recipient=recipient._replace(domain=domain))
        return seen._replace(facts=facts)

    def _only_watches_bans(self, event: JudgedEvent, client: Client) -> bool:
        """Whether a ban is not carried out; then the Event is judged as without it."""
        done = self.treatment(Reason.BANNED)
        if done is Treatment.ENFORCE:
            return False
        if done is Treatment.OBSERVE and not isinstance(event, ConnectionClosed):
            self.opinions.watched(event, client, BANNED)
        return True

    def _facts_of(self, scope: Scope, *, banned: bool) -> Facts:
        """Facts of a client about whom nothing is counted."""
        policy = self._settings.policy
        return Facts(scope, banned, 0.0, 0.0, policy.auth_ban_score, False, policy)

    def _after_attempt(
        self,
        event: AuthAttempt,
        client: Client,
        seen: Seen,
        verdict: Verdict,
        where: Place,
        now: float,
    ) -> tuple[Verdict, Seen]:
        """Count a credential that is refused here as a guess; it may be the one that bans. Its
        answer is as late as the backend's would be at this score."""
        hung_up = verdict.action is Action.CLOSE and verdict.reason is Reason.HOOK
        if not (hung_up or Action.DEFER <= verdict.action <= Action.REJECT):
            if not seen.facts.banned:
                self.evidence.let_through(seen, now)
            return verdict, seen
        before = seen.facts
        if verdict.reason not in _NO_GUESSES:
            trapped = verdict.reason is Reason.TRAP_ACCOUNT
            after = self.evidence.refused(seen, where, now, trapped=trapped)
            seen = Seen(after, seen.credential)
        if ban_due(seen.facts):
            again = self.opinions.strongest(event, client, seen.facts, before=before)
            verdict = strongest([verdict, again])
        if Action.DECOY <= verdict.action <= Action.REJECT:
            delay_s = max(verdict.delay_s, tarpit_s(seen.facts))
            verdict = replace(verdict, delay_s=delay_s)
        return verdict, seen

    def _after_recipient(
        self,
        event: RcptAttempt,
        client: Client,
        seen: Seen,
        verdict: Verdict,
        where: Place,
        now: float,
    ) -> tuple[Verdict, Seen]:
        """Count a recipient that is refused here as the backend's refusal of it would be: whoever
        harvests gains nothing by being answered without the backend."""
        if verdict.reason is Reason.UNKNOWN_RECIPIENTS:
            self.evidence.recipient_refused(event, client.scope, where, now)
        elif verdict.reason is Reason.UNKNOWN_USER:
            outcome = RcptOutcome(event, RcptResult.UNKNOWN)
            seen = self._see(outcome, client, where, now)
            verdict = strongest([verdict, self.opinions.strongest(outcome, client, seen.facts)])
        return verdict, seen

    def _after_early_talk(
        self, client: Client, verdict: Verdict, where: Place, now: float
    ) -> tuple[Verdict, Seen]:
        """Count early talk that is refused as the breach of the protocol it is."""
        violation = Violation(ViolationKind.EARLY_TALKER, b"")
        seen = self._see(violation, client, where, now)
        return strongest([verdict, self.opinions.strongest(violation, client, seen.facts)]), seen

    def _ban(
        self, event: JudgedEvent, client: Client, verdict: Verdict, facts: Facts, now: float
    ) -> Verdict:
        done = self.banning.ban(client.entity, verdict, facts, now)
        if done.reason is Reason.BREAKER_OPEN:
            self.opinions.watched(event, client, verdict)
        return done
