"""The local judge: counters, Facts, Rules, one verdict.

Nothing here awaits, so between reading a counter and making the ban no other session runs: of
parallel guesses exactly the one that reaches the threshold bans, whichever connection it is on.
"""

from collections.abc import Callable, Sequence

from gatekeeper.abc import BanChange, Lift
from gatekeeper.ban import Scope
from gatekeeper.events import AuthOutcome, AuthResult, Client, JudgedEvent
from gatekeeper.ledger import Ledger
from gatekeeper.policy.counters import RecentPairs, ScoreTable
from gatekeeper.policy.facts import Facts
from gatekeeper.policy.prefix_set import PrefixSet
from gatekeeper.policy.rules import BUILT_IN, Rule
from gatekeeper.policy.weights import weight
from gatekeeper.prefix import Prefix
from gatekeeper.settings import Mode, Settings
from gatekeeper.verdict import PASS, Verdict, strongest

OnVerdict = Callable[[Client, JudgedEvent, Verdict, bool], None]


def _ignore(client: Client, event: JudgedEvent, verdict: Verdict, enforced: bool) -> None:
    """The `on_verdict` of a guard nobody listens to."""


class Guard:
    """Judges every Event of this process (`gatekeeper.abc.Judge`).

    `clock` gives monotonic seconds. `fingerprint_key` is random, made anew at each start and never
    stored (at most 64 octets). `on_verdict(client, event, verdict, enforced)` hears every verdict
    other than `PASS`, also those that observe mode does not carry out; it must be quick and must
    not raise.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        *,
        clock: Callable[[], float],
        fingerprint_key: bytes,
        rules: Sequence[Rule] = BUILT_IN,
        on_verdict: OnVerdict = _ignore,
    ) -> None:
        policy = settings.policy
        self._policy = policy
        self._enforced = settings.mode is Mode.ENFORCE
        self._allowed = PrefixSet(settings.allow)
        self._ledger = ledger
        self._clock = clock
        self._fingerprint_key = fingerprint_key
        self._rules = tuple(rules)
        self._on_verdict = on_verdict
        self._auth_scores: ScoreTable[Prefix] = ScoreTable(policy.auth_half_life_s)
        self._mx_scores: ScoreTable[Prefix] = ScoreTable(policy.mx_half_life_s)
        self._wrong_pairs = RecentPairs(policy.repeat_window_s)
        ledger.subscribe(self._forget_lifted)

    def reconfigure(self, settings: Settings) -> None:
        """Judge by new settings from the next Event on; all counters stay as they are. Half-lives
        and the repeat window belong to the counters and change with the next start."""
        self._policy = settings.policy
        self._enforced = settings.mode is Mode.ENFORCE
        self._allowed = PrefixSet(settings.allow)

    async def judge(self, event: JudgedEvent, client: Client) -> Verdict:
        """See `gatekeeper.abc.Judge`. Allowed clients always pass and are never counted."""
        entity = client.entity
        if self._allowed and self._allowed.overlaps(entity):
            return PASS
        facts = self._gather(event, client)
        opinions = [opinion for rule in self._rules if (opinion := rule(event, facts)) is not None]
        if not opinions:
            return PASS
        verdict = strongest(opinions)
        if verdict == PASS:
            return PASS
        if not self._enforced:
            self._on_verdict(client, event, verdict, False)
            return PASS
        if verdict.ban:
            if self._ledger.ban(entity, facts.scope, verdict.reason) is not None:
                self._start_anew(entity, facts)
            else:  # a host that is never banned, such as a webmail beside the guard, is slowed
                verdict = Verdict(verdict.action, verdict.reason, self._policy.tarpit_max_s)
        self._on_verdict(client, event, verdict, True)
        return verdict

    def score(self, entity: Prefix, scope: Scope) -> float:
        """The score of `entity` in `scope` as it is now; 0 where nothing is known of it."""
        return self._scores(scope).value(entity, self._clock())

    def _gather(self, event: JudgedEvent, client: Client) -> Facts:
        """Count the Event and tell what is known of its client.

        A banned entity is no longer counted: what its other connections had under way must not
        raise the level of a ban that is already made.
        """
        scope, entity, now = client.scope, client.entity, self._clock()
        scores = self._scores(scope)
        before = score = scores.value(entity, now)
        if self._ledger.find(entity, scope) is not None:
            return Facts(scope, True, before, score, False, self._policy)
        repeated = self._is_repeated(event, entity, now)
        added = weight(event, scope, repeated, self._policy)
        if added > 0:
            score = scores.add(entity, added, now)
        return Facts(scope, False, before, score, repeated, self._policy)

    def _is_repeated(self, event: JudgedEvent, entity: Prefix, now: float) -> bool:
        """Whether this very wrong password was counted before. Not knowable where the mechanism
        does not show the password (SCRAM): then each failure counts."""
        if not isinstance(event, AuthOutcome) or event.result is not AuthResult.FAILURE:
            return False
        secret = event.attempt.secret
        if secret is None:
            return False
        account = event.attempt.authcid.encode("utf-8", "surrogatepass")
        context = bytes((len(entity.packed),)) + entity.packed + account
        return self._wrong_pairs.seen(secret.fingerprint(self._fingerprint_key, context), now)

    def _scores(self, scope: Scope) -> ScoreTable[Prefix]:
        return self._mx_scores if scope is Scope.MX else self._auth_scores

    def _start_anew(self, entity: Prefix, facts: Facts) -> None:
        """What led to a ban is paid for by it, and counts half when it has run out: a person's next
        mistype is not a ban again. Who guesses on is banned sooner, and longer, by escalation."""
        scores = self._scores(facts.scope)
        scores.discard(entity)
        scores.add(entity, facts.ban_score / 2, self._clock())

    def _forget_lifted(self, change: BanChange) -> None:
        """Whoever is unbanned starts anew; else his next mistype would ban him again."""
        if isinstance(change, Lift):
            self._scores(change.scope).discard(change.prefix)
