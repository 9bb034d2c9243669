"""What DNS calls a client: its name, where that is its own (`policy.reverse_dns`).

Who connects chooses which servers are asked about him, and they may be silent. So few are asked
about at once: the Resolver's questions must not all be theirs while senders need some.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Final

import trio

from gatekeeper.abc import Resolver
from gatekeeper.errors import ResolverError
from gatekeeper.events import ReverseDns, ReverseState
from gatekeeper.policy.reverse_dns import forward_questions, read_reverse, reverse_question
from gatekeeper.records import Answer, Question
from gatekeeper.settings import DnsSettings

# Addresses looked up at once, with some questions each. Where names take 20 ms that is 5,000 a
# second, and 50 where nobody answers; the Resolver has room for 1,000 (`resolver.shared`).
MAX_LOOKUPS: Final = 100


class ReverseNames:
    """Names of addresses, asked of the Resolver that all share."""

    def __init__(self, settings: DnsSettings, resolver: Resolver) -> None:
        self.unanswered = 0  # clients of whom nothing could be said
        self._under_way: Counter[str] = Counter()  # by address, for its connections share answers
        self._resolver = resolver
        self._deadline_s = settings.deadline_s

    def reconfigure(self, settings: DnsSettings) -> None:
        """Ask by these settings from the next client on."""
        self._deadline_s = settings.deadline_s

    def known(self, address: str) -> ReverseDns | None:
        """What `lookup` would give without asking anybody, None where it would have to ask."""
        pointers = self._resolver.known(reverse_question(address))
        if pointers is None:
            return None
        questions = forward_questions(address, pointers.records)
        answers = {name: self._resolver.known(question) for name, question in questions.items()}
        return read_reverse(address, pointers.records, answers)

    async def lookup(self, address: str) -> ReverseDns | None:
        """What DNS says of the name of `address`; None where it cannot be told.

        Never raises, and returns within the deadline of the settings.
        """
        now = self._under_way
        if address not in now and len(now) >= MAX_LOOKUPS:
            found = None
        else:
            now[address] += 1
            try:
                found = await self._look_up(address)
            finally:
                now[address] -= 1
                if not now[address]:
                    del now[address]
        self.unanswered += found is None
        return found

    async def _look_up(self, address: str) -> ReverseDns | None:
        records: tuple[str, ...] | None = None
        answers: dict[str, Answer | None] = {}
        with trio.move_on_after(self._deadline_s):
            records = await self._ask(reverse_question(address))
            questions = forward_questions(address, records or ())
            answers = dict.fromkeys(questions)
            await self._confirm(address, records or (), questions, answers)
        return None if records is None else read_reverse(address, records, answers)

    async def _ask(self, question: Question) -> tuple[str, ...] | None:
        try:
            return (await self._resolver.resolve(question)).records
        except ResolverError:
            return None

    async def _confirm(
        self,
        address: str,
        records: tuple[str, ...],
        questions: Mapping[str, Question],
        answers: dict[str, Answer | None],
    ) -> None:
        """Fill in `answers`, all at once, until one of them is enough."""

        async def confirm(name: str, question: Question, enough: trio.CancelScope) -> None:
            try:
                answers[name] = await self._resolver.resolve(question)
            except ResolverError:
                return
            found = read_reverse(address, records, answers)
            if found is not None and found.state is ReverseState.CONFIRMED:
                enough.cancel()

        async with trio.open_nursery() as nursery:
            for each in questions.items():
                nursery.start_soon(partial(confirm, *each, nursery.cancel_scope))
