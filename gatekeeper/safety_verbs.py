"""Verbs of the control socket for the day on which the guard does harm: pause, resume,
breaker-reset, ban-flush.

`ban-flush` answers with a row for each `ROW_EVERY` bans lifted, and lifts a few hundred between two
pieces of its reply, so that half a million lifts neither stop the loop nor try the client's
patience. A client that goes away ends it where it is.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import trio

from gatekeeper.abc import Enforcer, Lift
from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.banning import Banning, told
from gatekeeper.control_verbs import ENFORCER_DEADLINE_S
from gatekeeper.control_words import Arguments, Code, Pieces, Refusal, Verb, listing, whole
from gatekeeper.errors import EnforcerError
from gatekeeper.guard import Guard
from gatekeeper.ledger import Ledger
from gatekeeper.pausing import Pause
from gatekeeper.prefix import Prefix
from gatekeeper.verdict import Reason

MAX_NOTE_CHARACTERS: Final = 200
ROW_EVERY: Final = 10_000  # lifts: a second or less, far below the client's patience
KERNEL_BATCH: Final = 2_000  # as the feed's

Row = dict[str, object]
Key = tuple[Prefix, Scope]


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

        def wanted(ban: Ban) -> bool:
            return (
                ban.scope in scopes
                and origin in {None, ban.origin}
                and reason in {None, ban.reason}
            )

        keys = [(ban.prefix, ban.scope) for ban in self._ledger.bans() if wanted(ban)]
        alien: list[Key] = []
        kernel = "ok"
        if origin is None and reason is None:
            alien, kernel = await self._only_in_kernel(scopes)
        extra = {"found": len(keys), "kernel_only": len(alien), "kernel": kernel}
        if not go:
            return whole(extra)
        if alien:
            extra["kernel"] = await self._lift_in_kernel(alien)
        return listing("progress", self._lifted(keys, forget=forget), extra)

    def _lifted(self, keys: list[Key], *, forget: bool) -> Iterator[Row | None]:
        """Lift `keys`, one for each None; a row now and then, the last one at the end."""
        lifted = 0
        for number, (prefix, scope) in enumerate(keys, 1):
            lifted += self._ledger.lift(prefix, scope, forget=forget) is not None
            yield {"lifted": lifted} if number % ROW_EVERY == 0 else None
        yield {"lifted": lifted}

    async def _only_in_kernel(self, scopes: frozenset[Scope]) -> tuple[list[Key], str]:
        """What the kernel holds and the Ledger does not know, and how it is with the kernel."""
        try:
            with trio.fail_after(ENFORCER_DEADLINE_S):
                held = await self._enforcer.held()
        except EnforcerError as error:
            return [], str(error) or type(error).__name__
        except trio.TooSlowError:
            return [], f"no answer within {ENFORCER_DEADLINE_S:g} s"
        known = {(ban.prefix, ban.scope) for ban in self._ledger.bans()}
        found = [(one.prefix, one.scope) for one in held if one.scope in scopes]
        return [key for key in found if key not in known], "ok"

    async def _lift_in_kernel(self, keys: list[Key]) -> str:
        """Lift these in the kernel alone; how it went."""
        try:
            for start in range(0, len(keys), KERNEL_BATCH):
                lifts = [Lift(*key) for key in keys[start : start + KERNEL_BATCH]]
                await self._enforcer.apply(lifts, self._ledger.now)
        except EnforcerError as error:
            return str(error) or type(error).__name__
        return "ok"
