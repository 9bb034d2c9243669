"""Verbs of the control socket for the day on which the guard does harm: pause, resume,
breaker-reset, ban-flush.

`ban-flush` answers with a row for each `ROW_EVERY` bans it has looked at, and lifts a few hundred
between two pieces of its reply, so that half a million lifts neither stop the loop nor try the
client's patience. A client that goes away ends it where it is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import trio

from gatekeeper.abc import Enforcer, HeldBan, Lift
from gatekeeper.ban import Origin, Scope
from gatekeeper.banning import Banning, told
from gatekeeper.control_words import Arguments, Code, Pieces, Refusal, Verb, listing, whole
from gatekeeper.errors import EnforcerError
from gatekeeper.guard import Guard
from gatekeeper.ledger import Ledger
from gatekeeper.pausing import Pause
from gatekeeper.prefix import Prefix
from gatekeeper.verdict import Reason

MAX_NOTE_CHARACTERS: Final = 200
BANS_AT_ONCE: Final = 200  # as many rows as a piece of a reply has: some 10 ms of the loop
ROW_EVERY: Final = 10_000  # bans: a second or less, far below the client's patience
WALK_S: Final = 8.0  # for all that the kernel holds; below the client's patience
KERNEL_BATCH: Final = 2_000  # as the feed's

Row = dict[str, object]
Key = tuple[Prefix, Scope]
Wanted = Callable[[Prefix, Scope], bool]


class SafetyVerbs:
    """The verbs, over a guard's parts."""

    def __init__(self, guard: Guard, ledger: Ledger, enforcer: Enforcer, pause: Pause) -> None:
        self._guard = guard
        self._banning: Banning = guard.banning
        self._ledger = ledger
        self._enforcer = enforcer
        self._pause = pause

    def verbs(self) -> Mapping[str, Verb]:
        """By name."""
        return {
            "pause": self._do_pause,
            "resume": self._do_resume,
            "breaker-reset": self._do_breaker_reset,
            "ban-flush": self._do_ban_flush,
        }

    async def _do_pause(self, arguments: Arguments) -> Pieces:
        seconds = arguments.seconds("seconds")
        note = arguments.text("note", "")[:MAX_NOTE_CHARACTERS]
        arguments.done()
        if seconds is None:
            raise Refusal(Code.BAD_REQUEST, "a pause needs a time")
        paused = await self._pause.begin(seconds, note)
        return whole({"until": round(paused.until, 3), "kernel": self._pause.kernel})

    async def _do_resume(self, arguments: Arguments) -> Pieces:
        arguments.done()
        if not await self._pause.end():
            raise Refusal(Code.NOT_FOUND, "the guard is not paused")
        return whole({"kernel": self._pause.kernel, "bans": len(self._ledger)})

    async def _do_breaker_reset(self, arguments: Arguments) -> Pieces:
        arguments.done()
        trip = self._banning.breaker.reset(self._guard.now)
        if trip is None:
            raise Refusal(Code.NOT_FOUND, "the breaker is closed")
        return whole({"cause": trip.cause.value, "figures": told(trip)})

    async def _do_ban_flush(self, arguments: Arguments) -> Pieces:
        """Lift bans; with `go` other than "yes" only tell how many."""
        scopes = frozenset(arguments.scopes())
        word = arguments.text("origin", "")
        origin = Origin(word) if word else None
        word = arguments.text("reason", "")
        reason = Reason(word) if word else None
        forget = arguments.text("forget", "no") == "yes"
        go = arguments.text("go", "no") == "yes"
        arguments.done()

        everything = origin is None and reason is None

        def wanted(prefix: Prefix, scope: Scope) -> bool:
            if scope not in scopes:
                return False
            if everything:
                return True
            ban = self._ledger.latest(prefix, scope)
            return ban is not None and origin in {None, ban.origin} and reason in {None, ban.reason}

        alien, kernel = await self._only_in_kernel(scopes) if everything else ([], "ok")
        extra = {"kernel_only": len(alien), "kernel": kernel}
        if not go:
            return whole(extra | {"found": await self._count(wanted)})
        if alien:
            extra["kernel"] = await self._lift_in_kernel(alien)
        return listing("progress", self._lifted(wanted, forget=forget), extra)

    async def _count(self, wanted: Wanted) -> int:
        found = 0
        for page in self._ledger.slices(BANS_AT_ONCE):
            found += sum(wanted(prefix, scope) for prefix, scope, _ in page)
            await trio.lowlevel.checkpoint()
        return found

    def _lifted(self, wanted: Wanted, *, forget: bool) -> Iterator[Row | None]:
        """Lift what is wanted, a row for each ban looked at, most of them None; in the end how many
        there were. What is banned meanwhile may be among them."""
        looked_at = lifted = 0
        for page in self._ledger.slices(BANS_AT_ONCE):
            for prefix, scope, _ in page:
                if wanted(prefix, scope):
                    lifted += self._ledger.lift(prefix, scope, forget=forget) is not None
                looked_at += 1
                yield {"lifted": lifted} if looked_at % ROW_EVERY == 0 else None
        yield {"lifted": lifted}

    async def _only_in_kernel(self, scopes: frozenset[Scope]) -> tuple[list[Key], str]:
        """What the kernel holds and the Ledger does not know, and how it is with the kernel."""
        found: list[Key] = []

        def look(page: Sequence[HeldBan]) -> None:
            found.extend(
                (one.prefix, one.scope)
                for one in page
                if one.scope in scopes and self._ledger.remaining_s(one.prefix, one.scope) is None
            )

        try:
            with trio.fail_after(WALK_S):
                await self._enforcer.walk(look)
        except EnforcerError as error:
            return [], str(error) or type(error).__name__
        except trio.TooSlowError:
            return [], f"not all told within {WALK_S:g} s"
        return found, "ok"

    async def _lift_in_kernel(self, keys: list[Key]) -> str:
        """Lift these in the kernel alone; how it went."""
        try:
            for start in range(0, len(keys), KERNEL_BATCH):
                lifts = [Lift(*key) for key in keys[start : start + KERNEL_BATCH]]
                await self._enforcer.apply(lifts, self._ledger.now)
        except EnforcerError as error:
            return str(error) or type(error).__name__
        return "ok"
