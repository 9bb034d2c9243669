"""What is found out about a client of port 25 before it is greeted.

Theory of operation. Lists and reverse DNS are asked while the client is waited for to speak too
early, so that the three together take as long as the longest of them. Tasks of a nursery only ask;
what they hear is put down and wakes the session's own task, which alone watches the client and has
the judge judge, one thing at a time and as soon as it is known: the first refusal ends it all.
Until then nothing was done for the client, and the backend has not been called.

No teaser (`220-` ahead of the true greeting) is sent, though it lures more early talkers: the
greeting is the backend's, which may be no 220, and the lines of one reply have one code (RFC 5321
4.2.1).
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import inf

import trio

from gatekeeper.errors import ChannelError, PeerClosed
from gatekeeper.events import (
    ClientListed,
    ConnectionOpened,
    EarlyTalk,
    JudgedEvent,
    ReverseDns,
    ReverseState,
)
from gatekeeper.session.dialogue import Dialogue
from gatekeeper.session.entrance import Entrance, ignored
from gatekeeper.settings import AskedOn, TlsMode
from gatekeeper.verdict import PASS, Action, Reason, Verdict


async def before_greeting(dialogue: Dialogue, of_address: int, of_network: int) -> Verdict:
    """The verdict on a client of port 25 whose connection was accepted, the last of so many
    connections of its address and its network. Raises `ChannelError` when it leaves meanwhile."""
    entrance = dialogue.service.entrance
    if entrance is None or entrance.exempt(dialogue.session.client.entity):
        return await dialogue.judge(ConnectionOpened())
    verdict = await dialogue.judge(ConnectionOpened(of_address, of_network))
    if verdict.action > Action.DELAY:
        return verdict
    return await _Doorstep(dialogue, entrance).run()


class _Doorstep:
    """One client that is waiting to be greeted."""

    def __init__(self, dialogue: Dialogue, entrance: Entrance) -> None:
        self._dialogue = dialogue
        self._entrance = entrance
        self._found: list[JudgedEvent] = []  # and not judged yet
        self._asking = 0  # questions under way
        self._pause = trio.CancelScope()
        self._gone: ChannelError | None = None

    async def run(self) -> Verdict:
        """The verdict. Raises `ChannelError` where the client has gone."""
        service, client = self._dialogue.service, self._dialogue.session.client
        questions: list[Callable[[], Awaitable[None]]] = []
        if service.screen is not None and not ignored(Reason.DNS_LISTED, service.settings):
            questions.append(self._ask_lists)
        if not ignored(Reason.REVERSE_DNS, service.settings):
            known = self._entrance.names.known(client.address)
            if known is None:
                questions.append(self._ask_name)
            else:
                self._take_name(known)
        wait_s = self._entrance.wait_s(client, service.settings)
        if service.listener.tls is TlsMode.IMPLICIT:
            wait_s = 0.0  # it is the client who speaks first
        verdict = await self._ask(questions, wait_s)
        if self._gone is not None:
            raise self._gone
        return verdict

    async def _ask(self, questions: list[Callable[[], Awaitable[None]]], wait_s: float) -> Verdict:
        """Ask, wait and judge at once; with one thing to do alone it takes no task."""
        if len(questions) + (wait_s > 0) < 2:
            for ask in questions:
                await ask()
            return await self._until_decided(wait_s)
        async with trio.open_nursery() as nursery:
            for ask in questions:
                self._asking += 1
                nursery.start_soon(self._ask_beside, ask)
            verdict = await self._until_decided(wait_s)
            nursery.cancel_scope.cancel()
        return verdict

    # -- the questions ----------------------------------------------------------------------

    async def _ask_beside(self, ask: Callable[[], Awaitable[None]]) -> None:
        await ask()
        self._asking -= 1
        self._pause.cancel()

    async def _ask_lists(self) -> None:
        screen = self._dialogue.service.screen
        assert screen is not None, "not asked without one"
        listings = await screen.listings(self._dialogue.session.client, AskedOn.CONNECT)
        if listings:
            self._found.append(ClientListed(listings))

    async def _ask_name(self) -> None:
        found = await self._entrance.names.lookup(self._dialogue.session.client.address)
        if found is not None:
            self._take_name(found)

    def _take_name(self, found: ReverseDns) -> None:
        session = self._dialogue.session
        if found.state is ReverseState.CONFIRMED:
            session.client = replace(session.client, reverse_name=found.name)
        else:
            self._found.append(found)

    # -- the session's own task -------------------------------------------------------------

    async def _until_decided(self, wait_s: float) -> Verdict:
        """Judge what comes until something is refused, or all is known and nobody has spoken for
        `wait_s`, or the client is gone."""
        if wait_s == 0:
            return await self._judge_all(None)
        self._entrance.waiting += 1
        try:
            return await self._judge_all(trio.current_time() + wait_s)
        finally:
            self._entrance.waiting -= 1

    async def _judge_all(self, until: float | None) -> Verdict:
        """As `_until_decided`; until None the client is not watched."""
        started = trio.current_time()
        while self._gone is None:
            while self._found:
                verdict = await self._dialogue.judge(self._found.pop(0))
                if verdict.action > Action.DELAY:
                    return verdict
            if until is None and not self._asking:
                break
            if until is not None:
                until = None if await self._watch(started, until) else until
            else:
                with trio.CancelScope() as self._pause:
                    await trio.sleep_forever()
        return PASS

    async def _watch(self, started: float, until: float) -> bool:
        """Watch the client until the instant `until` or an answer comes; whether that is over: it
        has spoken, or gone, or waited. What it said is seen even when `until` has passed already,
        as after a delay of the judge's."""
        with trio.CancelScope(deadline=until) as self._pause:
            try:
                octets = await self._dialogue.client.peek(1, inf)
            except ChannelError as error:
                self._gone = error
                return True
            if octets:
                self._found.append(EarlyTalk(trio.current_time() - started, len(octets)))
            else:
                self._gone = PeerClosed("the client ended the stream")
            return True
        if trio.current_time() < until:
            return False
        service, session = self._dialogue.service, self._dialogue.session
        self._entrance.has_waited(session.client, service.settings)
        return True
