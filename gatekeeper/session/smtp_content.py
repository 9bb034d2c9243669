"""The content of messages: from client to backend in constant memory, and its end judged.

The end of DATA is judged when it is there, that of BDAT when its last command is: a chunk of no
octets is complete with it. The backend has not seen that end, and its leg is cut before it does, so
what is refused here is not delivered.
"""

import itertools
from typing import Final

import trio

from gatekeeper.channel import deadline_in
from gatekeeper.errors import BackendUnavailable
from gatekeeper.events import MessageEnd, Violation, ViolationKind
from gatekeeper.session.smtp_legs import SmtpLegs
from gatekeeper.sessions import End
from gatekeeper.verdict import Action
from gatekeeper.wire.smtp_content import ChunkContent, DataContent
from gatekeeper.wire.smtp_replies import Reply, format_reply

CONTENT_OCTETS: Final = 256 * 1024  # gathered per pass of the filter
PASSES_AT_ONCE: Final = 16  # between two fast ends nothing waits; the others get their turn here
CONTENT_WRITE_S: Final = 180.0  # a backend that takes no content for this long is gone

_NEUTRALISED: Final = Violation(ViolationKind.SMUGGLING, b"")
_DEFERRED: Final = format_reply(451, "4.7.1", "Message not accepted now, try again later")
_REJECTED: Final = format_reply(554, "5.7.1", "Message not accepted")


class SmtpContent(SmtpLegs):
    """What follows DATA and BDAT."""

    reverse_path: str | None = None  # of the last MAIL the backend took
    recipients = 0  # that it took in this transaction
    _passed_octets = 0  # of the content of this message

    def begin(self, reverse_path: str) -> None:
        """A transaction has begun."""
        self.reverse_path, self.recipients, self._passed_octets = reverse_path, 0, 0

    async def pass_content(self, content: DataContent | ChunkContent) -> End | None:
        """Pass content on until its end; only the backend's word acknowledges it."""
        octets = self.commands.take_buffered()
        neutralised = False
        for passes in itertools.count(1):
            step = content.feed(octets)
            if step.violation is not None:
                self.backend.abort()  # before the content is complete: nothing is delivered
                return await self.violated(step.violation)
            if step.neutralised and not neutralised:
                neutralised = True
                await self.judge(_NEUTRALISED)
            if step.done and step.forward and (early := self._early_reply()) is not None:
                self.backend.abort()
                await self.to_client(early.raw)
                return End.BACKEND
            self._passed_octets += len(step.forward)
            if step.done and isinstance(content, DataContent):
                end = await self.refuses_message()
                if end is not None:
                    return end
            if step.forward:
                await self.to_backend(step.forward, CONTENT_WRITE_S)
            if step.done:
                break
            if passes % PASSES_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            octets = await self._more_content()
        self.commands.feed(step.rest)
        reply = await self.reply(self.limits.backend_reply_s)
        await self.to_client(reply.raw)
        return End.BACKEND if reply.code == 421 else None

    async def refuses_message(self, more_octets: int = 0) -> End | None:
        """Judge the end of a message, of which `more_octets` have not passed yet; the session's end
        where it is refused."""
        size_octets = self._passed_octets + more_octets
        sender, authcid = self.reverse_path or "", self.session.authcid
        refused = await self.permits(MessageEnd(sender, self.recipients, size_octets, authcid))
        if refused is None:
            return None
        self.backend.abort()
        if refused.action is Action.CLOSE:
            return await self.hang_up()
        await self.refuse(_DEFERRED if refused.action is Action.DEFER else _REJECTED)
        return End.REFUSED

    def _early_reply(self) -> Reply | None:
        """A refusal that came before the content was complete. An acceptance then would make the
        guard acknowledge what the backend does not have: raises `BackendUnavailable`."""
        octets = self.overheard()
        if octets is None:
            return None
        self.replies.feed(octets)
        reply = self.replies.next_reply()
        if not isinstance(reply, Reply) or reply.positive or reply.intermediate:
            raise BackendUnavailable("the backend answered before the content was complete")
        return reply

    async def _more_content(self) -> bytes:
        deadline = deadline_in(self.limits.content_idle_s)
        return await self.client.receive_bulk(deadline, CONTENT_OCTETS)

    async def discard(self, content: ChunkContent) -> None:
        """Take a chunk that goes nowhere."""
        octets = self.commands.take_buffered()
        while not (step := content.feed(octets)).done:
            octets = await self._more_content()
        self.commands.feed(step.rest)
