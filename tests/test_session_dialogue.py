"""Properties of both dialogues: whatever a client sends and a backend answers, a session never
raises and never outlives its peers, and no credential passes that was refused.

The backends here are lenient on purpose: they take any line end for one, and octets behind what
they do not know for commands. So a credential that one of them understands where the guard saw
none fails the test.
"""

import contextlib
import itertools
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig import Rig, guard, virtual_time
from rig_ends import Peer

from gatekeeper.events import AuthAttempt, MailProtocol
from gatekeeper.sessions import End
from gatekeeper.settings import LimitSettings, TlsMode
from gatekeeper.verdict import Action, Reason, Verdict

REJECT = Verdict(Action.REJECT, Reason.AUTH_FAILURES)
SECRET = b"c3VycHJpc2U="  # as it stands on the wire
PLAIN_SECRET = b"AGFubgBzdXJwcmlzZQ=="
SHORT = LimitSettings(
    smtp_idle_s=3.0, content_idle_s=3.0, backend_reply_s=3.0, imap_login_timeout_s=3.0
)

LINE_ENDS = [b"\r\n", b"\n", b"\r", b"\0", b"\r\r\n"]
GUESS = b"AUTH PLAIN " + PLAIN_SECRET + b"\r\n"
SMTP_WORDS = [
    b"EHLO client.example\r\n",
    b"MAIL FROM:<>\r\n",
    b"RCPT TO:<a@b.example>\r\n",
    b"RSET\r\n",
    b"NOOP ",
    b"QUIT\r\n",
    b"STARTTLS\r\n",
    b"BDAT %d\r\n" % len(GUESS) + GUESS,
    b"BDAT 12 LAST\r\n",
    b"AUTH PLAIN AGJvYgB4\r\n",
]
SMTP_OPENERS = [b"DATA\r\n", b"AUTH LOGIN\r\n", b"AUTH LOGIN YW5u\r\n", b"AUTH PLAIN\r\n"]
SMTP_GUESSES = [
    GUESS,
    b"YW5u\r\n",
    b"*\r\n",
    SECRET + b"\r\n",
    PLAIN_SECRET + b"\r\n",
    *(b"x" + a + b"." + b + GUESS for a in LINE_ENDS for b in LINE_ENDS),
]
IMAP_WORDS = [
    b"a NOOP\r\n",
    b"b CAPABILITY\r\n",
    b"c ID NIL\r\n",
    b"d LOGIN ann " + SECRET + b"\r\n",
    b'e LOGIN "ann" "' + SECRET + b'"\r\n',
    b"f LOGIN {3}\r\nann {12}\r\n" + SECRET + b"\r\n",
    b"g LOGIN {3+}\r\nann {12+}\r\n" + SECRET + b"\r\n",
    b"h LOGIN {26+}\r\nd LOGIN ann " + SECRET + b"\r\n x\r\n",
    b"h LOGIN bob {26+}\r\nd LOGIN ann " + SECRET + b"\r\n\r\n",
    b"i AUTHENTICATE PLAIN " + PLAIN_SECRET + b"\r\n",
    b'l ID ("name" {3+}\r\n',
    b"m X {14+}\r\n",
    b"n LOGOUT\r\n",
    b"{14}",
]
IMAP_OPENERS = [b"j AUTHENTICATE PLAIN\r\n", b"k AUTHENTICATE LOGIN\r\n", b"o LOGIN ann {12}\r\n"]
IMAP_GUESSES = [
    b"*\r\n",
    PLAIN_SECRET + b"\r\n",
    b"YW5u\r\n" + SECRET + b"\r\n",
    SECRET + b"\r\n",
]
SMTP = (SMTP_WORDS, SMTP_OPENERS, SMTP_GUESSES)
IMAP = (IMAP_WORDS, IMAP_OPENERS, IMAP_GUESSES)


def streams(
    words: list[bytes], openers: list[bytes], guesses: list[bytes]
) -> st.SearchStrategy[list[bytes]]:
    """What a client sends, in segments."""
    piece = st.sampled_from(words + openers + guesses + LINE_ENDS) | st.binary(max_size=6)
    mixed = st.lists(piece, max_size=6).map(b"".join)
    attack = st.tuples(st.sampled_from(openers), st.sampled_from(guesses))
    turn = st.tuples(st.sampled_from(words)) | st.tuples(mixed) | attack
    return st.lists(turn, max_size=6).map(lambda turns: [*itertools.chain(*turns)])


def refuse_ann(event: object) -> Verdict | None:
    """The judge of these sessions: `ann` is whom the secret is of."""
    return REJECT if isinstance(event, AuthAttempt) and event.authcid == "ann" else None


Backend = Callable[[Peer, Iterator[int]], Awaitable[None]]


async def play(
    protocol: MailProtocol, backend: Backend, segments: list[bytes], choices: list[int]
) -> None:
    """One session over TLS, in which the credential of `ann` is refused."""
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT, limits=SHORT) as rig:
        rig.judge.decide = refuse_ann
        talk = await rig.connect()
        await talk.client.start_tls_client()
        peer = await talk.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend, peer, itertools.cycle(choices))
            nursery.start_soon(talk.client.hear_until_end)
            with trio.move_on_after(60):
                for segment in segments:
                    await send(talk.client, segment)
                    await take_turns()
            await rig.end()
            nursery.cancel_scope.cancel()


async def send(peer: Peer, octets: bytes) -> None:
    """Send to somebody who may be gone."""
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await peer.send(octets)


async def take_turns() -> None:
    """Let everybody do what there is to do; no time passes."""
    for _ in range(8):
        await trio.lowlevel.checkpoint()


def assert_harmless(exchange: bytes) -> None:
    """What a SASL exchange said, its lines joined by blanks, holds no credential of `ann`."""
    assert PLAIN_SECRET not in exchange
    assert b"YW5u " + SECRET not in exchange


class Reader:
    """Octets of a peer, by line and by count; raises `EOFError` at the end."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._buffer = b""

    async def _more(self) -> None:
        try:
            octets = await self._peer.hear_some()
        except trio.BrokenResourceError:
            octets = b""
        if not octets:
            raise EOFError
        self._buffer += octets.replace(b"\0", b"")

    async def line(self) -> bytes:
        """A line without its end, which is a LF and any CRs before it."""
        while b"\n" not in self._buffer:
            await self._more()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    async def content_line(self) -> bytes:
        """A line of content; its end may be a bare CR, too."""
        line = await self.line()
        *lines, last = line.split(b"\r")
        return b"." if b"." in lines else last

    async def take(self, count: int) -> bytes:
        """So many octets."""
        while len(self._buffer) < count:
            await self._more()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken


SMTP_ANSWERS = [b"250 ok\r\n", b"550 5.1.1 no\r\n", b"451 later\r\n", b"250-two\r\n250 lines\r\n"]


async def lenient_smtp(peer: Peer, choices: Iterator[int]) -> None:
    """An SMTP server that reads whatever it can as a command."""
    reader = Reader(peer)
    try:
        await send(peer, b"220 mx.example ESMTP\r\n")
        chunking = next(choices) % 2
        while True:
            await _smtp_command(peer, reader, choices, chunking=bool(chunking))
    except EOFError:
        peer.close()


async def _smtp_command(
    peer: Peer, reader: Reader, choices: Iterator[int], *, chunking: bool
) -> None:
    verb, _, argument = (await reader.line()).partition(b" ")
    match verb.upper():
        case b"EHLO":
            await send(peer, b"250-mx\r\n250-CHUNKING\r\n" if chunking else b"250-mx\r\n")
            await send(peer, b"250 AUTH PLAIN LOGIN\r\n")
        case b"AUTH":
            assert_harmless(argument)
            while next(choices) % 3:
                await send(peer, b"334 \r\n")
                argument += b" " + await reader.line()
                assert_harmless(argument)
            await send(peer, b"535 no\r\n")
        case b"DATA" if next(choices) % 3:
            await send(peer, b"354 go on\r\n")
            while await reader.content_line() != b".":
                pass
            await send(peer, b"250 queued\r\n")
        case b"BDAT" if chunking:
            await reader.take(int(argument.split()[0]))
            await send(peer, b"250 ok\r\n")
        case _:
            answer = next(choices)
            if answer % 29 == 28:
                raise EOFError
            await send(peer, SMTP_ANSWERS[answer % len(SMTP_ANSWERS)])


IMAP_ANSWERS = [b" OK done\r\n", b" NO no\r\n", b" BAD what\r\n", b" NO [UNAVAILABLE] later\r\n"]


async def lenient_imap(peer: Peer, choices: Iterator[int]) -> None:
    """An IMAP server without LITERAL+: what stands behind a `{n+}` is its next command."""
    reader = Reader(peer)
    try:
        await send(peer, b"* OK [CAPABILITY IMAP4rev1 LITERAL+] ready\r\n")
        while True:
            await _imap_command(peer, reader, choices)
    except EOFError:
        peer.close()


async def _imap_command(peer: Peer, reader: Reader, choices: Iterator[int]) -> None:
    line = await reader.line()
    words = line.split()
    tag, verb = (words[0], words[1].upper()) if len(words) > 1 else (b"*", b"")
    while line.endswith(b"}") and line[:-1].rpartition(b"{")[2].isdigit() and next(choices) % 3:
        await send(peer, b"+ go on\r\n")
        assert await reader.take(int(line[:-1].rpartition(b"{")[2])) != SECRET
        line = await reader.line()
    if verb == b"LOGIN":
        assert SECRET not in line
    assert_harmless(line)
    while verb == b"AUTHENTICATE" and next(choices) % 3:
        await send(peer, b"+ \r\n")
        line += b" " + await reader.line()
        assert_harmless(line)
    answer = next(choices)
    if answer % 29 == 28:
        raise EOFError
    if answer % 5 == 0:
        await send(peer, b"* OK wait\r\n")
    ending = (
        IMAP_ANSWERS[1 + answer % 3] if verb in {b"LOGIN", b"AUTHENTICATE"} else IMAP_ANSWERS[0]
    )
    await send(peer, tag + ending)


CHOICES = st.lists(st.integers(0, 1000), min_size=1, max_size=30)
BOUNDED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@BOUNDED
@given(segments=streams(*SMTP), choices=CHOICES)
@virtual_time
async def test_no_refused_credential_reaches_a_lenient_smtp_backend(
    segments: list[bytes], choices: list[int]
) -> None:
    hello = [b"EHLO client.example\r\n"] if choices[-1] % 2 else []
    await play(MailProtocol.SUBMISSION, lenient_smtp, hello + segments, choices)


@BOUNDED
@given(segments=streams(*IMAP), choices=CHOICES)
@virtual_time
async def test_no_refused_credential_reaches_a_lenient_imap_backend(
    segments: list[bytes], choices: list[int]
) -> None:
    await play(MailProtocol.IMAP, lenient_imap, segments, choices)


BACKEND_WORDS = [
    b"220 mx\r\n",
    b"250 ok\r\n",
    b"250-half\r\n",
    b"334 \r\n",
    b"354 go\r\n",
    b"235 in\r\n",
    b"421 out\r\n",
    b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n",
    b"* BYE bye\r\n",
    b"* PREAUTH hi\r\n",
    b"+ go on\r\n",
    b"a OK done\r\n",
    b"d NO no\r\n",
    b"f OK in\r\n",
    b'* ID ("x" {3}\r\n',
]


ANSWERS = st.lists(
    st.lists(st.sampled_from(BACKEND_WORDS + LINE_ENDS), max_size=3).map(b"".join), max_size=10
)


async def _talk_at_random(rig: Rig, client: list[bytes], backend: list[bytes]) -> None:
    talk = await rig.connect()
    peer = await talk.accept()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.client.hear_until_end)
        nursery.start_soon(peer.hear_until_end)
        for sent, answered in itertools.zip_longest(client, backend, fillvalue=b""):
            await send(peer, answered)
            await take_turns()
            await send(talk.client, sent)
            await take_turns()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("protocol", [MailProtocol.SUBMISSION, MailProtocol.IMAP])
@BOUNDED
@given(data=st.data())
@virtual_time
async def test_no_octets_of_either_side_raise_or_hang(
    protocol: MailProtocol, data: st.DataObject
) -> None:
    start = [b"* OK hi\r\n" if protocol is MailProtocol.IMAP else b"220 hi\r\n"]
    client, backend = (
        data.draw(streams(*(IMAP if protocol is MailProtocol.IMAP else SMTP))),
        data.draw(ANSWERS),
    )
    async with guard(protocol=protocol, limits=SHORT) as rig:
        await _talk_at_random(rig, client, data.draw(st.sampled_from([[], start])) + backend)
    assert all(isinstance(session.end, End) for session in rig.ended)
    assert len(rig.ended) == 1
