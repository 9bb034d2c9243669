"""What is going on, for people who look: `gatekeeper top` and the status page read the same record.

Nothing is counted for it. Every few seconds the totals of `gatekeeper.tally` are read into rings
(`gatekeeper.series`), and the rest is asked of the parts when somebody looks. What the kernel has
dropped is asked by the same task, so that whoever looks waits for nobody.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

import trio

from gatekeeper.control_words import Arguments, Code, Pieces, Refusal, Verb, whole
from gatekeeper.errors import EnforcerError
from gatekeeper.lately import AttackedAccount, BusyNetwork, Lately, lately
from gatekeeper.metrics.readings import KERNEL_DEADLINE_S, Parts
from gatekeeper.series import Series
from gatekeeper.sessions import Phase
from gatekeeper.tally import LoginResult, RecipientResult, Tally

LOOK_S: Final = 2.0  # from one reading of the totals to the next; it divides a slot of an hour
RATE_SLOTS: Final = 6  # of an hour's: rates are those of the last minute
WORST: Final = 20  # networks and accounts that are told
WORST_S: Final = 1.0  # how old they may be: 8 to 13 ms of the loop each time they are worked out
NAMES: Final = (
    *("sessions", "logins_good", "logins_failed", "logins_refused"),
    *("recipients_accepted", "recipients_refused", "violations", "bans", "dropped"),
)

Row = dict[str, object]  # JSON at the edge


class Overview:
    """The record, over the parts of a guard. `clock` goes on evenly, in Unix time."""

    def __init__(self, parts: Parts, clock: Callable[[], float]) -> None:
        self._parts = parts
        self._clock = clock
        self._series = Series(NAMES)
        self._dropped: Mapping[str, int] | None = None  # None: the kernel has not answered
        self._looked = False
        self._worst: tuple[float, Lately] | None = None  # and when it was worked out

    async def run(self) -> None:
        """Read the totals until cancelled."""
        while True:
            await self._look()
            await trio.sleep(LOOK_S)

    def verbs(self) -> Mapping[str, Verb]:
        """For the control socket, by name."""
        return {"overview": self._do_overview, "series": self._do_series}

    # -- the record -------------------------------------------------------------------------

    def now(self) -> Row:
        """Everything but the charts."""
        console = self._parts.console
        return {
            "at": round(self._clock(), 3),
            "status": console.status(),
            "listeners": self._listeners(),
            "per_minute": self._rates(),
            "dropped": None if self._dropped is None else dict(self._dropped),
            "health": self._health(),
            **_worst(self._lately()),
        }

    def chart(self, span: str) -> Row:
        """What the totals grew by, of the last `hour` or `day`. Raises `KeyError`."""
        ring = {"hour": self._series.rings[0], "day": self._series.rings[1]}[span]
        since, rows = ring.read()
        return {"span": span, "step_s": ring.span.step_s, "since": since, "rows": rows}

    async def _do_overview(self, arguments: Arguments) -> Pieces:
        arguments.done()
        return whole(self.now())

    async def _do_series(self, arguments: Arguments) -> Pieces:
        span = arguments.text("span", "hour")
        arguments.done()
        try:
            return whole(self.chart(span))
        except KeyError:
            raise Refusal(Code.BAD_REQUEST, "span must be hour or day") from None

    # -- the parts --------------------------------------------------------------------------

    async def _look(self) -> None:
        self._dropped = await self._asked_kernel()
        self._looked = True
        totals = totals_of(self._parts.tally)
        if self._dropped is not None:
            totals["dropped"] = sum(self._dropped.values())
        self._series.note(totals, self._clock())

    async def _asked_kernel(self) -> Mapping[str, int] | None:
        if self._parts.without_kernel:
            return None
        with trio.move_on_after(KERNEL_DEADLINE_S), contextlib.suppress(EnforcerError):
            return await self._parts.console.enforcement.enforcer.dropped()
        return None

    def _lately(self) -> Lately:
        """The worst, worked out once in `WORST_S` however many look."""
        at = self._clock()
        if self._worst is None or at - self._worst[0] >= WORST_S:
            guard = self._parts.console.guard
            self._worst = at, lately(guard.journal.refusals(), guard.now, WORST)
        return self._worst[1]

    def _rates(self) -> Row:
        """What happened in the last minute: the slot that is filling, and the six before it."""
        _, rows = self._series.rings[0].read()
        return {name: round(sum(row[-RATE_SLOTS - 1 :])) for name, row in rows.items()}

    def _listeners(self) -> list[Row]:
        settings, census = self._parts.console.settings(), self._parts.console.table.census()
        return [
            {
                "listener": one.name,
                "backend": one.backend,
                "backend_away": self._parts.tally.away(one.backend),
                **{phase.value: census[one.name, phase] for phase in Phase},
            }
            for one in settings.listeners
        ]

    def _health(self) -> Row:
        """Of each part `ok`, or what is wrong with it."""
        parts = self._parts
        zones = parts.dns.blocklists.zones()
        return {
            "kernel": parts.without_kernel or self._kernel_state(),
            "store": parts.health.state("store"),
            **{f"list {zone}": "ok" if up else "switched off" for zone, up in zones.items()},
            **{
                f"backend {name}": parts.tally.away(name) or "ok"
                for name in parts.console.settings().backends
            },
        }

    def _kernel_state(self) -> str:
        state = self._parts.health.state("enforcer")
        silent = state == "ok" and self._looked and self._dropped is None
        return "the kernel process does not answer" if silent else state


def totals_of(tally: Tally) -> dict[str, float]:
    """All that grows, but for what the kernel drops."""
    good, failed = LoginResult.SUCCESS, LoginResult.FAILURE
    here = {LoginResult.PUT_OFF, LoginResult.REFUSED_HERE, LoginResult.CLOSED}
    logins = dict.fromkeys(LoginResult, 0)
    for (_, _, login), count in tally.logins.items():
        logins[login] += count
    recipients = dict.fromkeys(RecipientResult, 0)
    for (_, _, recipient), count in tally.recipients.items():
        recipients[recipient] += count
    accepted = recipients.pop(RecipientResult.ACCEPTED)
    return {
        "sessions": tally.begun.total(),
        "logins_good": logins[good],
        "logins_failed": logins[failed],
        "logins_refused": sum(logins[one] for one in here),
        "recipients_accepted": accepted,
        "recipients_refused": sum(recipients.values()),
        "violations": tally.violations.total(),
        "bans": tally.bans.total(),
    }


def _worst(worst: Lately) -> Row:
    return {
        "networks": [_network(one) for one in worst.networks],
        "accounts": [_account(one) for one in worst.accounts],
        "refusals": {"looked_at": worst.refusals, "since": round(worst.since, 3)},
    }


def _network(one: BusyNetwork) -> Row:
    return dataclasses.asdict(one) | {"network": str(one.network)}


def _account(one: AttackedAccount) -> Row:
    return dataclasses.asdict(one)
