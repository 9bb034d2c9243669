"""The herald: takes notices to the operator's program and web service, one at a time.

Theory of operation. Whoever notices something calls `tell`, which neither waits nor fails: the
notice is let through or held for a summary (`policy.notice_rate`), and what was let through waits
in a queue for the one task that runs here. That task hands a notice to one messenger after the
other, each within its own time, so that a messenger that hangs holds up notices and nothing else.
The queue needs no bound of its own: only this task begins a window anew when something was held in
it, and only when it has emptied the queue; so of each kind there wait what a window lets through
and a summary. What does not arrive is a line of the log, never a notice.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from gatekeeper.abc import Messenger
from gatekeeper.errors import DeliveryError
from gatekeeper.log import Log
from gatekeeper.notices import Notice, encoded
from gatekeeper.policy.notice_rate import NoticeRate

MAX_EARLY: Final = 20  # notices from before the run: a start that fails has fewer


@dataclass(frozen=True, slots=True)
class _Waiting:
    notice: Notice
    at: float
    others: tuple[Notice, ...] = ()
    more: int = 0


class Herald:
    """Tells the operator. `clock` gives Unix time, to be shown."""

    def __init__(
        self,
        messengers: Sequence[Messenger],
        hostname: str,
        log: Log,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._clock = clock
        self._rate: NoticeRate[Notice] = NoticeRate()
        self._waiting: deque[_Waiting] = deque()
        self._woken = trio.Event()
        self._one_at_a_time = trio.Lock()
        self._early: list[Notice] | None = []  # told before there was a clock
        self._counts: Counter[str] = Counter(sent=0, failed=0)
        self.reconfigure(messengers, hostname)

    def reconfigure(self, messengers: Sequence[Messenger], hostname: str) -> None:
        """Tell these from the next notice on."""
        self._messengers = tuple(messengers)
        self._hostname = hostname

    @property
    def named(self) -> bool:
        """Whether there is anybody to be told."""
        return bool(self._messengers)

    def tell(self, notice: Notice) -> None:
        """Have the operator told, soon or in a summary. Never waits, never raises."""
        if not self._messengers:
            return
        if self._early is not None:
            self._early = [*self._early, notice][-MAX_EARLY:]
            return
        kind, subject = notice.kind.value, notice.subject
        if self._rate.admits(kind, subject, notice, trio.current_time()):
            self._waiting.append(_Waiting(notice, self._clock()))
        self._woken.set()

    async def run(self) -> None:
        """Hand over what is told until cancelled."""
        early, self._early = self._early or (), None
        for notice in early:
            self.tell(notice)
        while True:
            for summary in self._rate.due(trio.current_time()):
                waiting = _Waiting(summary.latest, self._clock(), summary.others, summary.more)
                self._waiting.append(waiting)
            while self._waiting:
                await self._hand_over(self._waiting.popleft(), patient=True)
            with trio.move_on_at(self._rate.next_at()):
                await self._woken.wait()
            self._woken = trio.Event()

    async def hand_over_now(self, notice: Notice) -> list[tuple[str, str]]:
        """Hand over one notice before those that wait and past the rate, once: each messenger's
        name with why it failed, or with nothing."""
        return await self._hand_over(_Waiting(notice, self._clock()), patient=False)

    async def _hand_over(self, waiting: _Waiting, *, patient: bool) -> list[tuple[str, str]]:
        """Have every messenger take a notice, one after the other, and none beside another."""
        results = []
        async with self._one_at_a_time:
            body = encoded(waiting.notice, self._hostname, waiting.at, waiting.others, waiting.more)
            for messenger in self._messengers:
                failure = await _failure(messenger, body, patient=patient)
                results.append((messenger.name, failure))
                self._note(messenger.name, waiting.notice, failure)
        return results

    def report(self) -> dict[str, int]:
        """How many notices went how, for `status`."""
        return {**self._counts, "waiting": len(self._waiting)}

    # -- the parts --------------------------------------------------------------------------

    def _note(self, name: str, notice: Notice, failure: str) -> None:
        self._counts["failed" if failure else "sent"] += 1
        if failure:
            kind, subject = notice.kind, notice.subject
            self._log.warning("notify-failed", by=name, kind=kind, subject=subject, error=failure)


async def _failure(messenger: Messenger, body: bytes, *, patient: bool) -> str:
    try:
        await messenger.send(body, patient=patient)
    except DeliveryError as error:
        return str(error) or type(error).__name__
    except Exception as error:  # a fault of ours costs a notice and not the guard
        return f"a fault of gatekeeper: {type(error).__name__}"
    return ""
