"""What a backend's refusals look like, so that a local one cannot be told from them.

Theory of operation: whoever can tell that the backend was not asked learns that the guard knows
him, and goes on from elsewhere. So the guard repeats what its backend says to a wrong password, and
takes as long. Both are learnt from real failures, for each backend and protocol, because both
differ between servers, and within one between mechanisms.

*Words* are repeated only if two failures in a row, of different clients and different accounts,
had the same: then nothing in them is about one of the two. *Times* are drawn from the last
failures. An address that was itself refused lately gets a time like its own: servers slow an
address down more and more, and some answer at the ticks of a timer, with which a client that asks
again at once is in step.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final

from gatekeeper.events import AuthAttempt, Client
from gatekeeper.prefix import Prefix
from gatekeeper.wire.sasl import FAIL_IN_CHALLENGE

MAX_WORDS_OCTETS: Final = 1024  # a refusal is a line; an error document is a few hundred octets
SAMPLES: Final = 64  # latencies kept for each manner, of which there are some dozens at most
SAMPLES_OF_ONE: Final = 8  # of them from one entity: who guesses much must not set the pace of all
ENOUGH: Final = 8  # latencies that make a distribution
ENOUGH_OF_OWN: Final = 4  # the newest of one entity, where it has as many


class Stage(Enum):
    """What a backend answers a wrong credential with."""

    CHALLENGE = "challenge"  # an error document first (RFC 7628 3.2.3)
    FINAL = "final"  # the refusal itself


# Before enough is known. Dovecot's `auth_failure_delay` is 2 s, and its check for tokens is local.
_DEFAULT_S: Final = {Stage.CHALLENGE: (0.0, 0.02), Stage.FINAL: (2.0, 2.5)}


@dataclass(frozen=True, slots=True)
class Manner:
    """What the look of a refusal may depend on besides the client.

    `mechanism` is one of those allowed, so manners are few; `challenged` says that the credential
    came in answer to a challenge. IMAP's LOGIN is the mechanism LOGIN without one.
    """

    mechanism: str
    challenged: bool
    stage: Stage


class _Known:
    """What is known of the refusals in one manner."""

    __slots__ = ("last", "samples", "words")

    def __init__(self) -> None:
        self.words: bytes | None = None
        self.last: tuple[Prefix, str, bytes] | None = None  # entity, authcid, words
        self.samples: deque[tuple[Prefix, float]] = deque(maxlen=SAMPLES)

    def add_words(self, entity: Prefix, authcid: str, words: bytes) -> None:
        if self.last is not None:
            other, account, same = self.last
            if words == same and entity != other and authcid != account:
                self.words = words
        self.last = (entity, authcid, words)

    def add_sample(self, entity: Prefix, took_s: float) -> None:
        own = [sample for sample in self.samples if sample[0] == entity]
        if len(own) >= SAMPLES_OF_ONE:
            self.samples.remove(own[0])
        self.samples.append((entity, took_s))


class Likeness:
    """What one backend's refusals on one protocol look like; shared by all its sessions."""

    __slots__ = ("_answers_directly", "_known", "_random")

    def __init__(self, random: Random) -> None:
        """`random` need not be unpredictable for long: latencies are all that is drawn by it."""
        self._random = random
        self._known: dict[Manner, _Known] = {}
        self._answers_directly: set[str] = set()  # mechanisms that could fail in a challenge

    def learn(
        self,
        manner: Manner,
        client: Client,
        attempt: AuthAttempt,
        took_s: float,
        words: bytes | None,
    ) -> None:
        """Take in a refusal of the backend's: `words` are all its octets, an IMAP tag aside, or
        None where they are not to be repeated; `took_s` passed since the credential was sent."""
        known = self._known.setdefault(manner, _Known())
        known.add_sample(client.entity, took_s)
        if words is not None and _is_general(words, client, attempt):
            known.add_words(client.entity, attempt.authcid, words)

    def learn_shape(self, mechanism: str, *, challenges: bool) -> None:
        """Take in whether a failure of `mechanism` was told in a challenge."""
        if challenges:
            self._answers_directly.discard(mechanism)
        elif mechanism in FAIL_IN_CHALLENGE:
            self._answers_directly.add(mechanism)

    def challenges(self, mechanism: str) -> bool:
        """Whether a failure of `mechanism` is told in a challenge before it is final."""
        return mechanism in FAIL_IN_CHALLENGE and mechanism not in self._answers_directly

    def words(self, manner: Manner) -> bytes | None:
        """What the backend says in this manner or, where that is not known yet, in the manner most
        like it; None where nothing is known."""
        alike = [
            each
            for each, known in self._known.items()
            if each.stage is manner.stage and known.words is not None
        ]
        if not alike:
            return None
        nearest = max(alike, key=lambda it: (it == manner, it.mechanism == manner.mechanism))
        return self._known[nearest].words

    def delay_s(self, manner: Manner, entity: Prefix) -> float:
        """A latency as the backend's next refusal of `entity` might have it: drawn between
        neighbours of the measured ones, because a value that came twice would tell."""
        samples = sorted(self._samples(manner, entity))
        if not samples:
            return self._random.uniform(*_DEFAULT_S[manner.stage])
        place = self._random.random() * (len(samples) - 1)
        below = int(place)
        low, high = samples[below], samples[min(below + 1, len(samples) - 1)]
        return low + (high - low) * (place - below)

    def _samples(self, manner: Manner, entity: Prefix) -> list[float]:
        """The entity's own latencies, else all of the manner, else all of the stage; empty where
        none of these are enough."""
        known = self._known.get(manner)
        if known is not None:
            own = [took_s for whose, took_s in known.samples if whose == entity]
            if len(own) >= ENOUGH_OF_OWN:
                return own[-ENOUGH_OF_OWN:]
            if len(known.samples) >= ENOUGH:
                return [took_s for _, took_s in known.samples]
        pooled = [
            took_s
            for each, known in self._known.items()
            if each.stage is manner.stage
            for _, took_s in known.samples
        ]
        return pooled if len(pooled) >= ENOUGH else []


def _is_general(words: bytes, client: Client, attempt: AuthAttempt) -> bool:
    """Whether `words` are short enough to be kept and hold nothing of this client or account."""
    if len(words) > MAX_WORDS_OCTETS:
        return False
    if attempt.secret is not None and attempt.secret.declassify() in words:
        return False
    text = words.lower()
    names = [client.address]
    for name in (attempt.authcid, attempt.authzid):
        names += [name, name.partition("@")[0]]
    octets = [name.encode("utf-8", "surrogateescape").lower() for name in names if name]
    return not any(each in text for each in octets)
