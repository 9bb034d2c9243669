"""Evidence: what each Event tells, and the Facts it is judged by.

One method for each kind of Event, and two for what a verdict made of it. Events of banned clients
are not shown to it: what a ban's own connections had under way must not raise the next one.

Locks that Events bring about are returned for the guard to announce.
"""

from typing import Final, NamedTuple

from gatekeeper.ban import Scope
from gatekeeper.events import (
    AuthAttempt,
    AuthOutcome,
    AuthResult,
    JudgedEvent,
    RcptAttempt,
    RcptOutcome,
    RcptResult,
    Violation,
)
from gatekeeper.policy.accounts import Account
from gatekeeper.policy.facts import Facts, LoginFacts, RecipientFacts
from gatekeeper.policy.keys import Place
from gatekeeper.policy.lessons import Lessons
from gatekeeper.policy.logins import Credential, Logins
from gatekeeper.policy.recipients import (
    NEW_NET_RECIPIENTS,
    NEW_NET_S,
    Harvest,
    Harvested,
    Sending,
)
from gatekeeper.policy.scores import SourceScores
from gatekeeper.policy.weights import violation_weight
from gatekeeper.remembered import AccountLock, LockKind
from gatekeeper.settings import PolicySettings

RELAY_DENIED_SHARE: Final = 0.5  # of an unknown recipient: a stale MX record does this as well


class Seen(NamedTuple):
    """An Event with its Facts and, for a login, the keys of its credential."""

    facts: Facts
    credential: Credential | None = None
    lock: AccountLock | None = None


class Evidence:
    """All counters of one guard."""

    def __init__(
        self, settings: PolicySettings, *, account_secret: bytes, password_secret: bytes
    ) -> None:
        self._settings = settings
        self.logins = Logins(
            settings, account_secret=account_secret, password_secret=password_secret
        )
        self._lessons = Lessons(self.logins)
        self.mx_scores = SourceScores(settings.mx_half_life_s)
        self.harvest = Harvest()
        self.sending = Sending(settings)
        self._last: tuple[AuthAttempt, Credential, LoginFacts] | None = None

    def reconfigure(self, settings: PolicySettings) -> None:
        """Judge by other numbers from now on. Half-lives, windows and rates belong to the counters
        and change with the next start."""
        self._settings = self.logins.settings = self.sending.settings = settings

    # -- Events -----------------------------------------------------------------------------

    def anything(self, scope: Scope, place: Place, now: float) -> Seen:
        """An Event that counts nothing."""
        score = self._scores(scope).sources.value(place.source, now)
        return Seen(self._facts(scope, place, score, score, now))

    def violation(self, event: Violation, scope: Scope, place: Place, now: float) -> Seen:
        """Bytes that are not the protocol."""
        sources = self._scores(scope).sources
        before = after = sources.value(place.source, now)
        weight = violation_weight(event.kind, scope, self._settings)
        if weight > 0:
            after = sources.add(place.source, weight, now)
            self.logins.changes.score(scope, place.source, parent=False)
        return Seen(self._facts(scope, place, before, after, now))

    def look(self, event: JudgedEvent, scope: Scope, place: Place, now: float) -> Facts:
        """What is known of an Event before it is judged; nothing is counted or used up."""
        match event:
            case AuthAttempt() | AuthOutcome():
                attempt = event.attempt if isinstance(event, AuthOutcome) else event
                login = self.logins.facts(self.logins.credential(attempt), place, now)
                score = self.logins.neighbourhood.scores.sources.value(place.source, now)
                return self._facts(Scope.AUTH, place, score, score, now, login)
            case RcptAttempt():
                account, harvested = self._account(event), self._harvested(scope, place, now)
                seen = self._seen_recipient(scope, place, account, harvested, now, probing=False)
                return seen.facts
            case _:
                return self.anything(scope, place, now).facts

    def attempt(self, event: AuthAttempt, place: Place, now: float) -> Seen:
        """A credential before the backend sees it; nothing is counted yet."""
        credential = self.logins.credential(event)
        login = self.logins.facts(credential, place, now)
        self._last = event, credential, login
        score = self.logins.neighbourhood.scores.sources.value(place.source, now)
        return Seen(self._facts(Scope.AUTH, place, score, score, now, login), credential)

    def outcome(self, event: AuthOutcome, place: Place, now: float) -> Seen:
        """The backend's word on a credential."""
        logins = self.logins
        credential, login = self._known(event.attempt, place, now)
        before = logins.neighbourhood.scores.sources.value(place.source, now)
        lock = None
        if event.result is AuthResult.FAILURE:
            self._lessons.failed(credential, place, login, now)
        elif event.result is AuthResult.SUCCESS and not login.locked:
            name = event.attempt.authcid
            lock = self._lessons.succeeded(credential, place, login, name, now)
        elif event.result is AuthResult.UNAVAILABLE:
            self._lessons.unavailable(now)
        after = logins.neighbourhood.scores.sources.value(place.source, now)
        return Seen(self._facts(Scope.AUTH, place, before, after, now, login), credential, lock)

    def recipient(self, event: RcptAttempt, scope: Scope, place: Place, now: float) -> Seen:
        """A recipient before the backend sees it."""
        account = self._account(event)
        return self._seen_recipient(scope, place, account, self._harvested(scope, place, now), now)

    def recipient_outcome(self, event: RcptOutcome, scope: Scope, place: Place, now: float) -> Seen:
        """The backend's word on a recipient."""
        account = self._account(event.attempt)
        self.sending.use(place.source, account, now)
        lock = None
        if account is not None:
            sent = account.sent_from(place.net, now, NEW_NET_S)
            if sent > NEW_NET_RECIPIENTS and self.logins.familiarity.learned:
                lock = self.logins.hold(account, "new-network-burst", now)
        if scope is Scope.MX:
            self._harvest(event, place, now)
        harvested = self._harvested(scope, place, now)
        return self._seen_recipient(scope, place, account, harvested, now, lock)

    # -- verdicts ---------------------------------------------------------------------------

    def refused(self, seen: Seen, place: Place, now: float, *, trapped: bool = False) -> Facts:
        """A credential was put off or refused without the backend, `trapped` by the Rule on trap
        accounts; the Facts with it counted."""
        login, credential = seen.facts.login, seen.credential
        assert login is not None, "only logins are refused so"
        assert credential is not None, "a login has its keys"
        before = seen.facts.score
        self._lessons.refused(credential, place, login, now, trapped=trapped)
        after = self.logins.neighbourhood.scores.sources.value(place.source, now)
        return self._facts(Scope.AUTH, place, before, after, now, login)

    def let_through(self, seen: Seen, now: float) -> None:
        """A credential goes on to the backend."""
        if seen.credential is not None and seen.facts.login is not None:
            self._lessons.let_through(seen.credential, seen.facts.login, now)

    def recipient_refused(self, event: RcptAttempt, scope: Scope, place: Place, now: float) -> None:
        """A recipient was put off unheard."""
        if scope is Scope.MX:
            self.harvest.unknown(place.source, self._recipient_key(event), 0.0, now)

    def start_anew(self, scope: Scope, source: int, ban_score: float, now: float) -> None:
        """What led to a ban is paid for by it, and counts half when it has run out: a person's next
        mistype is not a ban again. Who guesses on is banned sooner, and longer, by escalation."""
        sources = self._scores(scope).sources
        sources.discard(source)
        sources.add(source, ban_score / 2, now)
        if scope is Scope.MX:
            self.harvest.forget(source)
        self.logins.changes.score(scope, source, parent=False)

    def forget(self, scope: Scope, source: int) -> None:
        """Whoever is unbanned starts anew; else his next mistype would ban him again."""
        self._scores(scope).sources.discard(source)
        if scope is Scope.MX:
            self.harvest.forget(source)
        self.logins.changes.score(scope, source, parent=False)

    # -- the parts --------------------------------------------------------------------------

    def _scores(self, scope: Scope) -> SourceScores:
        return self.mx_scores if scope is Scope.MX else self.logins.neighbourhood.scores

    def _facts(
        self,
        scope: Scope,
        place: Place,
        before: float,
        after: float,
        now: float,
        login: LoginFacts | None = None,
        recipient: RecipientFacts | None = None,
    ) -> Facts:
        ban_score, spared = self._settings.mx_ban_score, False
        if scope is Scope.AUTH:
            if before > 0 or after > 0:
                ban_score = self.logins.neighbourhood.ban_score(place, now)
            else:
                ban_score = self._settings.auth_ban_score
            spared = login is not None and after > before and self._spared(login, place, now)
        return Facts(
            scope, False, before, after, ban_score, spared, self._settings, login, recipient
        )

    def _spared(self, login: LoginFacts, place: Place, now: float) -> bool:
        """Whether a guess is no cause for a ban: people log in from there, or it is one of few. A
        slow guesser is refused here, at little cost; a ban would sooner or later meet somebody who
        has come to his address."""
        if self.logins.neighbourhood.spared(place, now):
            return True
        return not login.trap and self.logins.pace.allows(place.source, now)

    def _known(
        self, attempt: AuthAttempt, place: Place, now: float
    ) -> tuple[Credential, LoginFacts]:
        """The keys of an attempt, and what is known of it now; where nothing came between it and
        its outcome, that is what was known before, but for a lock of the operator's."""
        last, self._last = self._last, None
        locks = self.logins.locks
        if (
            last is not None
            and last[0] is attempt
            and locks.find(last[1].account, LockKind.OPERATOR, now) is None
        ):
            return last[1], last[2]
        credential = self.logins.credential(attempt)
        return credential, self.logins.facts(credential, place, now)

    def _account(self, event: RcptAttempt) -> Account | None:
        if not event.authcid:
            return None
        return self.logins.accounts.get(self.logins.account_key(event.authcid))

    def _harvested(self, scope: Scope, place: Place, now: float) -> Harvested | None:
        return self.harvest.known(place.source, now) if scope is Scope.MX else None

    def _seen_recipient(
        self,
        scope: Scope,
        place: Place,
        account: Account | None,
        harvested: Harvested | None,
        now: float,
        lock: AccountLock | None = None,
        *,
        probing: bool = True,
    ) -> Seen:
        held = over = probe = False
        if account is not None:
            held = self.logins.locks.find(account.key, LockKind.HELD, now) is not None
            over = self.sending.account_over(account, now)
        unknown = 0 if harvested is None else harvested.unknown
        if unknown >= self._settings.harvest_defer and probing:
            probe = self.harvest.take_probe(place.source, now)
        recipient = RecipientFacts(
            held=held,
            over_rate=over or self.sending.address_over(place.source, now),
            unknown=unknown,
            mostly_unknown=harvested is not None and harvested.mostly_unknown,
            none_accepted=harvested is not None and harvested.none_accepted,
            probe=probe,
        )
        score = self._scores(scope).sources.value(place.source, now)
        facts = self._facts(scope, place, score, score, now, recipient=recipient)
        return Seen(facts, lock=lock)

    def _harvest(self, event: RcptOutcome, place: Place, now: float) -> None:
        match event.result:
            case RcptResult.ACCEPTED:
                self.harvest.accepted(place.source, now)
            case RcptResult.UNKNOWN | RcptResult.RELAY_DENIED:
                denied = event.result is RcptResult.RELAY_DENIED
                share = RELAY_DENIED_SHARE if denied else 1.0
                key = self._recipient_key(event.attempt)
                self.harvest.unknown(place.source, key, share, now)
            case RcptResult.DEFERRED | RcptResult.REFUSED:
                pass  # nobody's guess

    def _recipient_key(self, event: RcptAttempt) -> int:
        return self.logins.account_key(event.forward_path)
