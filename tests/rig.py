"""A guard between a scripted client and a scripted backend: real loopback sockets, virtual time.

One Trio run holds both ends and the guard between them, so a test reads as a dialogue:

    async with guard(protocol=MailProtocol.SUBMISSION) as rig:
        talk = await rig.connect()
        await talk.play('''
            B> 220 mx.example ESMTP
            C< 220 mx.example ESMTP
            C> NOOP
            B< NOOP
        ''')

`C` is the client and `B` the backend; `>` is sent and `<` is heard, octet by octet. Lines of one
direction that follow each other travel together, in one segment. `C.` and `B.` hear the end of the
stream. Lines end in CRLF; other octets go by `Peer.send` and `Peer.hear`.

Time is Trio's mock clock. It jumps when nothing has moved for `QUIET_S` of real time: loopback
delivers at once, but on a busy machine not always before the sender's system call returns.
"""

import functools
import select
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from random import Random
from typing import Any, ParamSpec

import trio
from fake_names import FakeNames
from rig_ends import HOSTNAME, PATIENCE_S, QUIET_S, Peer, authority, certificates, raise_fault
from trio.testing import MockClock, wait_all_tasks_blocked

from gatekeeper.abc import Judge, Screen
from gatekeeper.events import Client, JudgedEvent, MailProtocol
from gatekeeper.idling import Idlers
from gatekeeper.prefix import Prefix
from gatekeeper.readiness import Readiness
from gatekeeper.relay import Relay
from gatekeeper.session.dialogue import Service
from gatekeeper.session.entrance import Entrance
from gatekeeper.session.entry import hold
from gatekeeper.session.likeness import Likeness
from gatekeeper.sessions import End, Session, SessionTable
from gatekeeper.settings import (
    Announce,
    BackendSettings,
    BareNewlines,
    Endpoint,
    LimitSettings,
    ListenerSettings,
    PolicySettings,
    Settings,
    TlsMode,
    TlsSettings,
    Treatment,
)
from gatekeeper.upstream import Backend
from gatekeeper.verdict import PASS, Reason, Verdict

P = ParamSpec("P")


def virtual_time(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an async test in its own Trio run, on a clock that jumps over waits."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        clock = MockClock(autojump_threshold=QUIET_S)
        try:
            trio.run(functools.partial(test, *args, **kwargs), clock=clock)
        except BaseExceptionGroup as group:
            raise _innermost(group) from None

    return run


def _innermost(error: BaseException) -> BaseException:
    """What failed, without the nurseries it came through."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class FakeJudge:
    """Remembers every event and passes it, but where a test says otherwise.

    `answers` holds a verdict, or several that are used up in turn, for a type of event; `decide`
    comes first and may look at the event itself.
    """

    def __init__(self) -> None:
        self.events: list[JudgedEvent] = []
        self.clients: list[Client] = []  # whose events they were
        self.answers: dict[type, Verdict | list[Verdict]] = {}
        self.decide: Callable[[JudgedEvent], Verdict | None] = lambda _event: None

    async def judge(self, event: JudgedEvent, client: Client) -> Verdict:
        """See `gatekeeper.abc.Judge`."""
        self.events.append(event)
        self.clients.append(client)
        decided = self.decide(event)
        if decided is not None:
            return decided
        answer = self.answers.get(type(event), PASS)
        if isinstance(answer, list):
            return answer.pop(0) if answer else PASS
        return answer

    def heard(self, *kinds: type) -> list[Any]:
        """The events of these types, in order."""
        return [event for event in self.events if isinstance(event, kinds)]


class Talk:
    """A client, and the backend connection its session has opened."""

    def __init__(self, rig: "Rig", client: Peer) -> None:
        self.rig = rig
        self.client = client
        self._backend: Peer | None = None

    @property
    def judge(self) -> FakeJudge:
        """The judge of the rig."""
        return self.rig.judge

    @property
    def backend(self) -> Peer:
        """The backend's end; accepted by `accept`, or by the first `B` line played."""
        assert self._backend is not None, "no backend connection was accepted yet"
        return self._backend

    async def accept(self) -> Peer:
        """Take the guard's next connection to the backend."""
        self._backend = await self.rig.accept_backend()
        return self._backend

    async def play(self, script: str) -> None:
        """Play a script as the module's docstring tells."""
        for mark, group in groupby(_read_script(script), key=lambda step: step[0]):
            octets = b"".join(text for _, text in group)
            if mark[0] == "B" and self._backend is None:
                await self.accept()
            peer = self.client if mark[0] == "C" else self.backend
            match mark[1]:
                case ">":
                    await peer.send(octets)
                case "<":
                    await peer.hear(octets)
                case _:
                    await peer.hear_end()


def _read_script(script: str) -> Iterator[tuple[str, bytes]]:
    for line in filter(None, map(str.strip, script.splitlines())):
        mark, text = line[:2], line[3:]
        assert mark in {"C>", "C<", "C.", "B>", "B<", "B."}, f"not a line of a script: {line!r}"
        yield mark, text.encode() + b"\r\n"


# -- the guard between them ---------------------------------------------------------------------


@dataclass
class Rig:
    """A guard's sessions, with everything under them real."""

    service: Service
    table: SessionTable
    judge: FakeJudge
    ended: list[Session]
    backends: list[trio.socket.SocketType]
    _sessions: trio.Nursery
    _listener: socket.socket
    _peers: list[Peer] = field(default_factory=list)

    async def connect(self, source: str = "127.0.0.1") -> Talk:
        """A client whose connection the guard has accepted."""
        sock = trio.socket.socket()
        await sock.bind((source, 0))
        await sock.connect(self._listener.getsockname())
        accepted, peer = self._listener.accept()
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = self._keep(Peer("the client", sock))
        self._sessions.start_soon(hold, self.service, self.table, accepted, peer)
        return Talk(self, client)

    async def accept_backend(self, index: int = 0) -> Peer:
        """The guard's next connection to the backend's address `index`."""
        with trio.fail_after(PATIENCE_S):
            sock, _ = await self.backends[index].accept()
        return self._keep(Peer("the backend", sock))

    async def no_backend_wanted(self) -> None:
        """All has come to rest and the guard has opened no connection to its backend."""
        await wait_all_tasks_blocked(QUIET_S / 2)
        ready, _, _ = select.select([sock.fileno() for sock in self.backends], [], [], 0)
        assert not ready, "the guard opened a connection"

    async def end(self) -> End | None:
        """How the only, or the latest, session ended."""
        with trio.fail_after(PATIENCE_S):
            await self.table.wait_empty()
        return self.ended[-1].end

    def _keep(self, peer: Peer) -> Peer:
        self._peers.append(peer)
        return peer

    def cancel_sessions(self) -> None:
        """Cancel every session's task, as the end of the process does."""
        self._sessions.cancel_scope.cancel()

    def hang_up(self) -> None:
        """Close every end that tests played."""
        for peer in self._peers:
            peer.close()


@asynccontextmanager
async def guard(  # the knobs of one listener
    *,
    protocol: MailProtocol = MailProtocol.SUBMISSION,
    tls: TlsMode = TlsMode.NONE,
    backend_tls: TlsMode = TlsMode.NONE,
    announce: Announce = Announce.NONE,
    limits: LimitSettings | None = None,
    bare_newlines: BareNewlines = BareNewlines.NEUTRALISE,
    proxy_protocol_from: tuple[str, ...] = (),
    backend_name: str = "mx.example",
    backend_addresses: int = 1,
    proxy_tlvs: bool | None = None,
    judge: Judge | None = None,
    screen: Screen | None = None,
    entrance: Entrance | None = None,
    policy: PolicySettings | None = None,
    rules: dict[Reason, Treatment] | None = None,
) -> AsyncIterator[Rig]:
    """A guard on loopback. When the block is left both ends hang up, and every session must end
    by itself; one that raises fails the test."""
    limits = limits or LimitSettings()
    if screen is not None and entrance is None:
        entrance = Entrance(FakeNames(), exempt=lambda _entity: False)
    fake = FakeJudge()
    ended: list[Session] = []
    table = SessionTable(ended.append, raise_fault)
    readiness = Readiness()
    with _listening() as listener, _backends(backend_addresses) as backends:
        backend = BackendSettings(
            "b",
            tuple(_endpoint(sock) for sock in backends),
            backend_tls,
            announce,
            tls_ca=authority().file if backend_tls is not TlsMode.NONE else None,
            tls_name=backend_name,
            proxy_tlvs=proxy_tlvs,
        )
        listening = ListenerSettings(
            "l",
            protocol,
            (_endpoint(listener),),
            tls,
            "b",
            tuple(map(Prefix.parse, proxy_protocol_from)),
        )
        settings = Settings(
            HOSTNAME,
            TlsSettings(),
            (listening,),
            {"b": backend},
            bare_newlines=bare_newlines,
            limits=limits,
            policy=policy or PolicySettings(greet_wait_s=0.0),
            rules=rules or {},
        )
        idlers = Idlers(settings, lambda _session, _end: None)
        alpn = "imap" if protocol is MailProtocol.IMAP else "smtp"
        service = Service(
            listening,
            settings,
            judge or fake,
            Backend(backend),
            Likeness(Random(1)),
            certificates(alpn),
            readiness,
            Relay(readiness, limits.relay_idle_s, idlers, table.remove, table.fault),
            screen,
            entrance,
        )
        async with trio.open_nursery() as background:
            background.start_soon(readiness.run)
            async with trio.open_nursery() as sessions:
                rig = Rig(service, table, fake, ended, backends, sessions, listener)
                try:
                    yield rig
                finally:
                    rig.hang_up()
                with trio.fail_after(PATIENCE_S):
                    await table.wait_empty()
            background.cancel_scope.cancel()
        readiness.close()


@contextmanager
def _listening() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        sock.setblocking(False)
        yield sock


@contextmanager
def _backends(count: int) -> Iterator[list[trio.socket.SocketType]]:
    plain = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        yield [trio.socket.from_stdlib_socket(sock) for sock in plain]
    finally:
        for sock in plain:
            sock.close()


def _endpoint(sock: socket.socket | trio.socket.SocketType) -> Endpoint:
    host, port = sock.getsockname()
    return Endpoint(host, port)
