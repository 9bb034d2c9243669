"""What a stranger says to a server to learn whether it relays, and what it heard."""

import contextlib
from typing import Final

import trio

from gatekeeper.check.relay_forms import (
    HELLO,
    PLAIN,
    Question,
    Says,
    is_comparison,
    odd_forms,
    own_name,
    own_sender,
    says,
)
from gatekeeper.wire.imap_responses import ImapResponses, Response, ResponseFault
from gatekeeper.wire.smtp_replies import Reply, SmtpReplies

_READ_OCTETS: Final = 4096


class SmtpTalk:
    """One session with an SMTP server: `run` is its client's part.

    Ends early where the server does. Afterwards `answers` holds each question with the last reply
    to it, which is MAIL's where the sender was refused; `refusal` is the greeting, or the answer to
    EHLO, where it was none.
    """

    def __init__(self, *, wants_login: bool, brief: bool) -> None:
        """`wants_login` is so for a submission server. `brief` leaves the odd forms out: where the
        server takes the stranger for the guard, it counts refusals against the guard."""
        self.refusal: Reply | None = None
        self.answers: list[tuple[Question, Reply]] = []
        self._wants_login = wants_login
        self._brief = brief
        self._replies = SmtpReplies()
        self._sender: str | None = None  # of the transaction, where there is one
        self._stream: trio.SocketStream

    def says(self, reply: Reply) -> Says:
        """What an answer says about relaying."""
        return says(reply, wants_login=self._wants_login)

    async def run(self, stream: trio.SocketStream) -> None:
        """Ask, and take leave. Raises nothing but for cancellation."""
        self._stream = stream
        with contextlib.suppress(trio.BrokenResourceError, EOFError):
            greeting = await self._reply()
            if greeting.code != 220:
                self.refusal = greeting
                return
            hello = await self._ask(f"EHLO {HELLO}")
            if hello.positive:
                await self._questions(own_name(greeting))
            else:
                self.refusal = hello
            await self._ask("QUIT")

    async def _questions(self, name: str) -> None:
        """The plain form; where it is refused, the others up to the first that is taken."""
        await self._put(PLAIN)
        takes_all = False
        for question in own_sender(name) if self._brief else odd_forms(name):
            reply = self.answers[-1][1]
            if self.says(reply) is Says.OPEN:
                if not is_comparison(self.answers[-1][0]):
                    break
                takes_all = True
            if not (takes_all and question.about_own_name):
                await self._put(question)
        await self._ask("RSET")

    async def _put(self, question: Question) -> None:
        if self._sender != question.sender:
            if self._sender is not None:
                await self._ask("RSET")
            self._sender = None
            reply = await self._ask(f"MAIL FROM:<{question.sender}>")
            if not reply.positive:
                self.answers.append((question, reply))
                return
            self._sender = question.sender
        self.answers.append((question, await self._ask(f"RCPT TO:<{question.path}>")))

    async def _ask(self, line: str) -> Reply:
        await self._stream.send_all(line.encode("ascii") + b"\r\n")
        return await self._reply()

    async def _reply(self) -> Reply:
        """The next reply. Raises `EOFError` at the end of the session."""
        while (reply := self._replies.next_reply()) is None:
            octets = await self._stream.receive_some(_READ_OCTETS)
            if not octets:
                raise EOFError
            self._replies.feed(octets)
        if not isinstance(reply, Reply):
            raise EOFError  # the guard passes on what is a reply
        return reply


class ImapTalk:
    """One session with an IMAP server: a command, and the leave."""

    def __init__(self) -> None:
        self.finished = False
        self._responses = ImapResponses()

    async def run(self, stream: trio.SocketStream) -> None:
        """Speak and hear until the server ends it. Raises nothing but for cancellation."""
        with contextlib.suppress(trio.BrokenResourceError, EOFError):
            await self._until(stream, b"*")
            for tag, command in ((b"a", b"CAPABILITY"), (b"b", b"LOGOUT")):
                await stream.send_all(tag + b" " + command + b"\r\n")
                await self._until(stream, tag)
            self.finished = True

    async def _until(self, stream: trio.SocketStream, tag: bytes) -> None:
        """Hear until a response with this tag. Raises `EOFError` at the end of the session."""
        while True:
            response = self._responses.next_response()
            match response:
                case None:
                    octets = await stream.receive_some(_READ_OCTETS)
                    if not octets:
                        raise EOFError
                    self._responses.feed(octets)
                case Response():
                    if response.tag == tag:
                        return
                case ResponseFault():
                    raise EOFError
