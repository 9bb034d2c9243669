"""What can be asked of a running guard: status, who, kick, ban-list, ban-add, ban-del, and the
verbs of others (`account_verbs`, `explain`).

A request is `{"verb": …, its arguments}`, a reply `{"ok": true, …}` or
`{"ok": false, "code": …, "error": …}` with the codes of `Code`. A request with an argument the
verb does not know is refused: a slip must not do something else.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

import trio

from gatekeeper.abc import Enforcer, HeldBan, Lift
from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.control_words import Arguments, Code, Pieces, Refusal, Verb, listing, whole
from gatekeeper.errors import EnforcerError
from gatekeeper.prefix import Prefix
from gatekeeper.sessions import SessionView
from gatekeeper.verdict import Reason

ENFORCER_DEADLINE_S: Final = 3.0  # below the client's patience: a stuck kernel process is told of


class Bans(Protocol):
    """What is needed of the Ledger."""

    def ban(
        self,
        prefix: Prefix,
        scope: Scope,
        reason: Reason,
        *,
        seconds: float | None = None,
        origin: Origin = Origin.RULE,
        note: str = "",
    ) -> Ban | None:
        """Ban `prefix`; None where it is never banned. Raises `ValueError`."""
        ...

    def lift(self, prefix: Prefix, scope: Scope) -> Ban | None:
        """Take a ban back; None where none was. Raises `ValueError`."""
        ...

    @property
    def now(self) -> float:
        """Unix time as bans go by it."""
        ...

    def bans(self) -> list[Ban]:
        """Every ban in force."""
        ...


class Sessions(Protocol):
    """What is needed of the table of sessions."""

    def list(self) -> Sequence[SessionView]:
        """All sessions."""
        ...

    def kick(self, selector: str) -> int:
        """End those with this id, address or account; the count."""
        ...


class Control:
    """The verbs, over a guard's parts."""

    def __init__(
        self,
        bans: Bans,
        enforcer: Enforcer,
        sessions: Sessions,
        status: Callable[[], Mapping[str, object]],
        clock: Callable[[], float] = time.time,
        more: Mapping[str, Verb] = MappingProxyType({}),
    ) -> None:
        """`status` gives what JSON can carry; `clock` the system's Unix time in seconds; `more` are
        further verbs by name."""
        self._bans = bans
        self._enforcer = enforcer
        self._sessions = sessions
        self._status = status
        self._clock = clock
        self._verbs: Mapping[str, Verb] = {
            "status": self._do_status,
            "who": self._do_who,
            "kick": self._do_kick,
            "ban-list": self._do_ban_list,
            "ban-add": self._do_ban_add,
            "ban-del": self._do_ban_del,
            **more,
        }

    async def answer(self, request: Mapping[str, object]) -> Pieces:
        """Do `request`. Raises `Refusal`; then nothing was changed."""
        arguments = Arguments(request)
        verb = arguments.text("verb")
        if verb not in self._verbs:
            raise Refusal(Code.BAD_REQUEST, f"no such verb: {verb[:40]}")
        try:
            return await self._verbs[verb](arguments)
        except ValueError as error:
            raise Refusal(Code.BAD_REQUEST, str(error)) from error

    async def _do_status(self, arguments: Arguments) -> Pieces:
        arguments.done()
        report = dict(self._status())
        try:
            report["dropped_packets"] = sum((await self._enforcer.dropped()).values())
        except EnforcerError as error:
            report["dropped_packets"] = f"unknown: {error}"
        return whole({"status": report})

    async def _do_who(self, arguments: Arguments) -> Pieces:
        arguments.done()
        views = self._sessions.list()
        extra = {"paused_for_s": self._status().get("paused_for_s")}
        return listing("sessions", (dataclasses.asdict(view) for view in views), extra)

    async def _do_kick(self, arguments: Arguments) -> Pieces:
        selector = arguments.text("selector")
        arguments.done()
        kicked = self._sessions.kick(selector)
        if not kicked:
            raise Refusal(Code.NOT_FOUND, f"no session with id, address or account {selector!r}")
        return whole({"kicked": kicked})

    async def _do_ban_list(self, arguments: Arguments) -> Pieces:
        arguments.done()
        held: Mapping[tuple[Prefix, Scope], HeldBan] = {}
        kernel = "ok"
        try:
            with trio.fail_after(ENFORCER_DEADLINE_S):
                held = {(one.prefix, one.scope): one for one in await self._enforcer.held()}
        except EnforcerError as error:
            kernel = str(error) or type(error).__name__
        except trio.TooSlowError:
            kernel = f"no answer within {ENFORCER_DEADLINE_S:g} s"
        return listing("bans", self._rows(held), {"kernel": kernel})

    def _rows(self, held: Mapping[tuple[Prefix, Scope], HeldBan]) -> Iterator[dict[str, object]]:
        """The Ledger's bans, soonest to end first, then what only the kernel holds."""
        bans = sorted(self._bans.bans(), key=lambda ban: ban.until)
        known = {(ban.prefix, ban.scope) for ban in bans}
        for ban in bans:
            yield self._row(ban, held.get((ban.prefix, ban.scope)))
        for key, one in held.items():
            if key not in known:
                yield kernel_row(one)

    def _row(self, ban: Ban, held: HeldBan | None) -> dict[str, object]:
        now = self._bans.now
        return ban_row(ban, now, held, self._clock() - now)

    async def _do_ban_add(self, arguments: Arguments) -> Pieces:
        prefix = Prefix.parse(arguments.text("prefix"))
        scopes = arguments.scopes()
        seconds = arguments.seconds("seconds")
        note = arguments.text("note", "")
        arguments.done()
        made = []
        for scope in scopes:
            ban = self._bans.ban(
                prefix, scope, Reason.OPERATOR, seconds=seconds, origin=Origin.OPERATOR, note=note
            )
            if ban is None:
                raise Refusal(Code.EXEMPT, f"{prefix} is never banned: it holds an allowed address")
            made.append(ban)
        return whole({"bans": [self._row(ban, None) for ban in made]})

    async def _do_ban_del(self, arguments: Arguments) -> Pieces:
        prefix = Prefix.parse(arguments.text("prefix"))
        scopes = arguments.scopes()
        arguments.done()
        lifted = [ban for scope in scopes if (ban := self._bans.lift(prefix, scope)) is not None]
        if not lifted:
            return whole({"bans": await self._lift_in_kernel(prefix, scopes)})
        return whole({"bans": [self._row(ban, None) for ban in lifted]})

    async def _lift_in_kernel(
        self, prefix: Prefix, scopes: Sequence[Scope]
    ) -> list[dict[str, object]]:
        """Lift what the kernel holds and the Ledger does not know: bans of a run without a store,
        or added by hand."""
        try:
            held = [
                HeldBan(prefix, scope, left_s)
                for scope in scopes
                if (left_s := await self._enforcer.remaining_s(prefix, scope)) is not None
            ]
            if held:
                lifts = [Lift(ban.prefix, ban.scope) for ban in held]
                await self._enforcer.apply(lifts, self._bans.now)
        except EnforcerError as error:
            raise Refusal(Code.FAILED, str(error)) from error
        if not held:
            raise Refusal(Code.NOT_FOUND, f"{prefix} is not banned")
        return [kernel_row(ban) | {"remaining_s": round(ban.remaining_s, 1)} for ban in held]


def ban_row(ban: Ban, now: float, held: HeldBan | None, ahead_s: float = 0.0) -> dict[str, object]:
    """A ban as it is told, at `now` of the clock that bans go by; its instants are those of the
    system's clock, which is `ahead_s` of that one. `held` is what the kernel holds of it."""
    return {
        "prefix": str(ban.prefix),
        "scope": ban.scope.value,
        "level": ban.level,
        "reason": ban.reason.value,
        "origin": ban.origin.value,
        "since": round(ban.since + ahead_s, 3),
        "until": round(ban.until + ahead_s, 3),
        "remaining_s": round(ban.remaining_s(now), 1),
        "kernel_s": None if held is None else round(held.remaining_s, 1),
        "note": ban.note,
    }


def kernel_row(held: HeldBan) -> dict[str, object]:
    """A ban the kernel holds and the Ledger does not know, in the shape of `ban_row`."""
    return {
        "prefix": str(held.prefix),
        "scope": held.scope.value,
        "level": 0,
        "reason": "",
        "origin": "kernel-only",
        "since": None,
        "until": None,
        "remaining_s": None,
        "kernel_s": round(held.remaining_s, 1),
        "note": "",
    }
