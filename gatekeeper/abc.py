"""The seams: what the shell needs of the world, as Protocols.

Each has an in-memory form and a real one that pass the same contract suite (`tests/contracts/`).
"""

import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gatekeeper.ban import Ban, End, Scope
from gatekeeper.events import Client, JudgedEvent, Listing, ReverseDns
from gatekeeper.prefix import Prefix
from gatekeeper.records import Answer, Question
from gatekeeper.remembered import Memory
from gatekeeper.settings import AskedOn, Endpoint
from gatekeeper.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Lift:
    """A ban taken back before its time. Where it is not to `forget`, it counts as one that ended
    then: escalation goes by it."""

    prefix: Prefix
    scope: Scope
    forget: bool = True


BanChange = Ban | Lift


@dataclass(frozen=True, slots=True)
class HeldBan:
    """A ban as the enforcer holds it, with its own countdown."""

    prefix: Prefix
    scope: Scope
    remaining_s: float


class Enforcer(Protocol):
    """Applies bans below the application. A ban ends by itself: nobody calls for its end."""

    async def apply(self, changes: Sequence[BanChange], now: float) -> None:
        """Apply `changes` in order, all or none; the last change of a prefix and scope wins.

        `now` is Unix time: each ban is held for `until - now` seconds from here. Putting a held
        ban replaces its time; lifting what is not held is no error.
        Returns when the change is in force. Raises `EnforcerError`; then nothing was applied.
        """
        ...

    async def fill(self, ends: Iterable[End], now: float) -> None:
        """Hold each prefix in its scope until its instant, in Unix time; what is held already keeps
        its time. For many: it costs a fraction of `apply`. Raises `EnforcerError`; then some may
        be held."""
        ...

    async def held(self) -> list[HeldBan]:
        """Every ban in force. Raises `EnforcerError`."""
        ...

    async def walk(self, take: Callable[[Sequence[HeldBan]], None]) -> None:
        """Hand every ban in force to `take`, page by page. Those made and lifted meanwhile may be
        among them or not, and one may come twice. Raises `EnforcerError`; then some have come."""
        ...

    async def remaining_s(self, prefix: Prefix, scope: Scope) -> float | None:
        """Seconds left of one ban, None where it is not held; its cost does not grow with the
        number held. Raises `EnforcerError`."""
        ...

    async def dropped(self) -> dict[str, int]:
        """Packets dropped so far, by counter name. Raises `EnforcerError`."""
        ...

    async def suspend(self, *, on: bool) -> None:
        """Let everybody through and keep what is held, or end that. It ends with the owner, too.
        Raises `EnforcerError`."""
        ...

    async def aclose(self) -> None:
        """Let go of the enforcer. Bans in the kernel stay and run out by themselves."""
        ...


class EnforcerNews(Protocol):
    """What an Enforcer's owner is told unasked. Quick; must not raise nor call the Enforcer."""

    def rebuilt(self) -> None:
        """Somebody took everything away; it is back, and holds no ban."""
        ...

    def doubtful(self) -> None:
        """What is held may be anything: compare."""
        ...

    def refused(self, prefix: Prefix, scope: Scope) -> None:
        """This ban will never be held: the Enforcer's own never list covers an address of it."""
        ...

    def lifted(self, prefix: Prefix, scope: Scope) -> None:
        """Somebody other than the owner lifted this ban."""
        ...

    def added(self, held: HeldBan) -> None:
        """Somebody other than the owner put in this ban."""
        ...

    def flooding(self, prefix: Prefix) -> None:
        """The kernel drops this address for the new connections it makes."""
        ...


class Dialler(Protocol):
    """Connects to backends from clients' own addresses, which takes rights the guard has not."""

    async def dial(self, target: Endpoint, source: str, port: int) -> socket.socket:
        """A non-blocking socket on its way to `target` from the address `source`, and from `port`
        unless that is taken. `target` is numeric and of the family of `source`.

        It may have failed already: writable, with SO_ERROR. The caller closes it.
        Raises `EnforcerError`.
        """
        ...


class Store(Protocol):
    """Durable bans and their history. Losing it never stops a verdict."""

    async def load(self, now: float, after: Ban | None = None) -> list[Ban]:
        """The latest ban of every prefix and scope still of interest: those in force at Unix time
        `now`, and ended ones young enough for escalation to count.

        A page of them, of a size and in an order of the Store's own: the first one, or the one
        `after` the last ban of another; empty where there are no more. What is recorded between two
        pages may be among the later ones or not. Raises `StoreError`.
        """
        ...

    async def ends(self, now: float, after: End | None = None) -> list[End]:
        """Of the bans in force at Unix time `now` only what an Enforcer needs, in a fraction of the
        time; pages as `load` has them. Raises `StoreError`."""
        ...

    async def record(self, changes: Sequence[BanChange], now: float) -> None:
        """Write `changes` durably, in order, all or none. Raises `StoreError`."""
        ...

    async def recall(self, now: float) -> list[Memory]:
        """What `remember` was told and is still of interest at Unix time `now`: no `Unlocked`, no
        lock that has ended, no familiar pair or score older than the Store keeps them. In the order
        pairs, scores, locks, `Learned`; pairs and scores oldest first. Raises `StoreError`."""
        ...

    async def remember(self, memories: Sequence[Memory], now: float) -> None:
        """Write `memories` durably, in order, all or none; each replaces the one of its key.
        Raises `StoreError`."""
        ...

    async def aclose(self) -> None:
        """Flush and let go."""
        ...


class Resolver(Protocol):
    """Asks DNS. What was heard is remembered for all who ask through the same one."""

    async def resolve(self, question: Question) -> Answer:
        """The records of `question`, aliases followed; none where there are none.

        Raises `ResolverError` where no server gives an answer in the Resolver's own time, which
        bounds the call. Cancelling it harms nobody who asks the same.
        """
        ...

    def known(self, question: Question) -> Answer | None:
        """What `resolve` would give without asking anybody, None where it would have to ask."""
        ...

    def forget(self, question: Question) -> None:
        """Ask anew next time: the answer was of no use."""
        ...


class Screen(Protocol):
    """What is asked about a client before it is greeted, and about what it says before that is
    judged.

    Neither method raises, and both return within the deadline of the settings: what was not
    answered by then has no opinion.
    """

    async def listings(self, client: Client, on: AskedOn) -> tuple[Listing, ...]:
        """What the lists for this occasion say of the client's address; none where they say
        nothing."""
        ...

    async def complete(self, event: JudgedEvent, client: Client) -> JudgedEvent:
        """`event` with what else can be known of it: a credential with listings, EHLO with its
        fault, MAIL with what DNS says of the sender. Itself where there is nothing to add."""
        ...


class Names(Protocol):
    """Tells what DNS calls clients."""

    def known(self, address: str) -> ReverseDns | None:
        """What `lookup` would give without asking anybody, None where it would have to ask."""
        ...

    async def lookup(self, address: str) -> ReverseDns | None:
        """What DNS says of the name of `address`; None where it cannot be told.

        Never raises, and returns within the deadline of the settings.
        """
        ...


class Messenger(Protocol):
    """Takes notices to the operator."""

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        ...

    async def send(self, body: bytes, *, patient: bool = True) -> None:
        """Hand over one notice, in its own bounded time; where not `patient`, what may be tried
        again is tried once. Raises `DeliveryError`."""
        ...


class Judge(Protocol):
    """The one seam between sessions and policy; it may be local or, later, over a socket."""

    async def judge(self, event: JudgedEvent, client: Client) -> Verdict:
        """The strongest opinion of all Rules on `event`.

        Its side effects (counters, a ban) have happened when it returns. Never raises on what a
        client sent. The verdict of a local judge is made without a yield to the scheduler; before
        it the operator's hooks may be awaited (`gatekeeper.hooks`).
        """
        ...
