"""What can be asked of a running guard: status, who, kick, ban-list, ban-add, ban-del.

A request is `{"verb": …, its arguments}`, a reply `{"ok": true, …}` or
`{"ok": false, "code": …, "error": …}` with the codes of `Code`. A request with an argument the
verb does not know is refused: a slip must not do something else.
"""

import dataclasses
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Final, Protocol

import trio

from gatekeeper.abc import Enforcer, HeldBan, Lift
from gatekeeper.ban import Ban, Origin, Scope
from gatekeeper.errors import EnforcerError
from gatekeeper.prefix import Prefix
from gatekeeper.sessions import SessionView
from gatekeeper.verdict import Reason

ENFORCER_DEADLINE_S: Final = 3.0  # below the client's patience: a stuck kernel process is told of
LONGEST_BAN_S: Final = 366 * 86400.0  # all bans are temporary
ROWS_PER_PIECE: Final = 200  # about 30 KB, 2 ms of the loop


class Code(Enum):
    """Why a request was not done; stable words."""

    BAD_REQUEST = "bad-request"
    NOT_FOUND = "not-found"
    EXEMPT = "exempt"  # this prefix is never banned
    FAILED = "failed"


class Refusal(Exception):
    """A request that is not done. `text` is for the operator."""

    def __init__(self, code: Code, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(text)


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


Pieces = Iterator[str]  # a reply, in pieces made as they are sent; without its line end


class Control:
    """The verbs, over a guard's parts."""

    def __init__(
        self,
        bans: Bans,
        enforcer: Enforcer,
        sessions: Sessions,
        status: Callable[[], Mapping[str, object]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`status` gives what JSON can carry; `clock` Unix time in seconds."""
        self._bans = bans
        self._enforcer = enforcer
        self._sessions = sessions
        self._status = status
        self._clock = clock
        self._verbs: Mapping[str, Callable[[_Arguments], Awaitable[Pieces]]] = {
            "status": self._do_status,
            "who": self._do_who,
            "kick": self._do_kick,
            "ban-list": self._do_ban_list,
            "ban-add": self._do_ban_add,
            "ban-del": self._do_ban_del,
        }

    async def answer(self, request: Mapping[str, object]) -> Pieces:
        """Do `request`. Raises `Refusal`; then nothing was changed."""
        arguments = _Arguments(request)
        verb = arguments.text("verb")
        if verb not in self._verbs:
            raise Refusal(Code.BAD_REQUEST, f"no such verb: {verb[:40]}")
        try:
            return await self._verbs[verb](arguments)
        except ValueError as error:
            raise Refusal(Code.BAD_REQUEST, str(error)) from error

    async def _do_status(self, arguments: "_Arguments") -> Pieces:
        arguments.done()
        report = dict(self._status())
        try:
            report["dropped_packets"] = sum((await self._enforcer.dropped()).values())
        except EnforcerError as error:
            report["dropped_packets"] = f"unknown: {error}"
        return _whole({"status": report})

    async def _do_who(self, arguments: "_Arguments") -> Pieces:
        arguments.done()
        views = self._sessions.list()
        return _listing("sessions", (dataclasses.asdict(view) for view in views), {})

    async def _do_kick(self, arguments: "_Arguments") -> Pieces:
        selector = arguments.text("selector")
        arguments.done()
        kicked = self._sessions.kick(selector)
        if not kicked:
            raise Refusal(Code.NOT_FOUND, f"no session with id, address or account {selector!r}")
        return _whole({"kicked": kicked})

    async def _do_ban_list(self, arguments: "_Arguments") -> Pieces:
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
        return _listing("bans", self._rows(held), {"kernel": kernel})

    def _rows(self, held: Mapping[tuple[Prefix, Scope], HeldBan]) -> Iterator[dict[str, object]]:
        """The Ledger's bans, soonest to end first, then what only the kernel holds."""
        now = self._clock()
        bans = sorted(self._bans.bans(), key=lambda ban: ban.until)
        known = {(ban.prefix, ban.scope) for ban in bans}
        for ban in bans:
            yield _row(ban, now, held.get((ban.prefix, ban.scope)))
        for key, one in held.items():
            if key not in known:
                yield _kernel_row(one)

    async def _do_ban_add(self, arguments: "_Arguments") -> Pieces:
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
        now = self._clock()
        return _whole({"bans": [_row(ban, now, None) for ban in made]})

    async def _do_ban_del(self, arguments: "_Arguments") -> Pieces:
        prefix = Prefix.parse(arguments.text("prefix"))
        scopes = arguments.scopes()
        arguments.done()
        lifted = [ban for scope in scopes if (ban := self._bans.lift(prefix, scope)) is not None]
        if not lifted:
            return _whole({"bans": await self._lift_in_kernel(prefix, scopes)})
        now = self._clock()
        return _whole({"bans": [_row(ban, now, None) for ban in lifted]})

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
                await self._enforcer.apply(lifts, self._clock())
        except EnforcerError as error:
            raise Refusal(Code.FAILED, str(error)) from error
        if not held:
            raise Refusal(Code.NOT_FOUND, f"{prefix} is not banned")
        return [_kernel_row(ban) | {"remaining_s": round(ban.remaining_s, 1)} for ban in held]


class _Arguments:
    """A request's arguments, taken one by one; `Refusal` for a wrong, absent or unknown one."""

    def __init__(self, request: Mapping[str, object]) -> None:
        self._left = dict(request)

    def text(self, name: str, default: str | None = None) -> str:
        value = self._left.pop(name, default)
        if not isinstance(value, str) or (not value and default is None):
            raise Refusal(Code.BAD_REQUEST, f"{name} must be a string")
        return value

    def scopes(self) -> tuple[Scope, ...]:
        word = self.text("scope", "all")
        return tuple(Scope) if word == "all" else (Scope(word),)

    def seconds(self, name: str) -> float | None:
        match self._left.pop(name, None):
            case None:
                return None
            case bool():
                pass
            case (int() | float()) as value if 0 < value <= LONGEST_BAN_S:
                return float(value)
            case _:
                pass
        raise Refusal(Code.BAD_REQUEST, f"{name} must be above 0 and at most a year")

    def done(self) -> None:
        for name in self._left:
            raise Refusal(Code.BAD_REQUEST, f"unknown argument: {name[:40]}")


def _row(ban: Ban, now: float, held: HeldBan | None) -> dict[str, object]:
    return {
        "prefix": str(ban.prefix),
        "scope": ban.scope.value,
        "level": ban.level,
        "reason": ban.reason.value,
        "origin": ban.origin.value,
        "since": round(ban.since, 3),
        "until": round(ban.until, 3),
        "remaining_s": round(ban.remaining_s(now), 1),
        "kernel_s": None if held is None else round(held.remaining_s, 1),
        "note": ban.note,
    }


def _kernel_row(held: HeldBan) -> dict[str, object]:
    """A ban the kernel holds and the Ledger does not know, in the shape of `_row`."""
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


def _whole(reply: Mapping[str, object]) -> Pieces:
    return iter((json.dumps({"ok": True, **reply}, default=str),))


def _listing(
    name: str, rows: Iterator[Mapping[str, object]], extra: Mapping[str, object]
) -> Pieces:
    """`{"ok": true, extra…, name: [rows…]}`, a few hundred rows a piece: a million bans neither
    stop the loop nor stand in memory as text."""
    yield json.dumps({"ok": True, **extra})[:-1] + f', "{name}": ['
    comma = ""
    while batch := [json.dumps(row) for _, row in zip(range(ROWS_PER_PIECE), rows, strict=False)]:
        yield comma + ", ".join(batch)
        comma = ", "
    yield "]}"
