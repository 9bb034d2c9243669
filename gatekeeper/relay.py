"""The relay: socket pairs that need no more thought, without a task or a cancel scope each.

Theory of operation
-------------------
After a login nothing in an IMAP session awaits a decision any more. Its two channels become a
`Link` whose callbacks the one epoll (`readiness`) calls. Each direction reads into one shared
buffer, gathering whole TLS records, and writes it out in one call. As long as sinks keep up,
thousands of links share that one buffer.

When a sink takes less than all, the direction is *stalled*: the link keeps what is left, its source
is no longer read (so the pressure reaches the sender's TCP window), and the sink is watched for
writing. A stalled direction with much left takes the shared buffer with it and the relay goes on
with a spare, because OpenSSL wants the very same octets again when a write is retried. With many
links stalled reads become small, which bounds the memory that clients who never read can hold.

Octets the client sent are shown to the tap on the way (`wire.imap_tap`), which may change a verb in
place; it is shown the backend's octets too, for as long as it can tell lines from content. What it
says of IDLE goes on to `Idlers`, when that has changed.

A client's end is passed on as a half-close; a backend's end is the end of the session, because a
mail server that hung up has nothing more to hear.
"""

import contextlib
from collections.abc import Callable
from typing import Final

import trio

from gatekeeper.channel import Channel
from gatekeeper.errors import PeerBroken
from gatekeeper.idling import Idlers
from gatekeeper.readiness import GONE, IN, OUT, Readiness
from gatekeeper.sessions import End, Phase, Session
from gatekeeper.wire.imap_tap import ImapTap

BUFFER_OCTETS: Final = 256 * 1024  # beyond this the CPU per GiB no longer falls
RECORD_OCTETS: Final = 16 * 1024  # the largest TLS record: a full one says more may follow
STALLED_READ_OCTETS: Final = 32 * 1024  # what a read takes while many links are stalled
STALLED_MANY: Final = 64
SPARES: Final = 16  # buffers kept for the next stall
STALL_S: Final = 300.0  # a sink that takes nothing for this long is gone
SWEEP_EVERY_S: Final = 10.0
QUIET_S: Final = 1.0  # longer than a pause within a transfer, shorter than a drain


class Relay:
    """All links and the buffers they share."""

    __slots__ = (
        "_idle_s",
        "_links",
        "_next_sweep",
        "_on_end",
        "_spares",
        "idlers",
        "on_fault",
        "readiness",
        "stalled",
        "view",
    )

    def __init__(
        self,
        readiness: Readiness,
        idle_s: float,
        idlers: Idlers,
        on_end: Callable[[Session], None],
        on_fault: Callable[[Session, Exception], None],
    ) -> None:
        """`idle_s` ends a link on which nothing moved; `idlers` is told who is in IDLE; `on_end`
        gets each session once; `on_fault` hears of an exception that only a fault of this program
        explains."""
        self.readiness = readiness
        self.view = memoryview(bytearray(BUFFER_OCTETS))
        self.idlers = idlers
        self.stalled = 0  # directions that keep octets
        self._spares: list[memoryview] = []
        self._links: set[Link] = set()
        self._idle_s = idle_s
        self._next_sweep = 0.0
        self._on_end = on_end
        self.on_fault = on_fault
        readiness.each_sweep(self._sweep)

    def __len__(self) -> int:
        return len(self._links)

    def adopt(
        self,
        session: Session,
        client: Channel,
        backend: Channel,
        tap: ImapTap | None,
        *,
        up: bytes,
        down: bytes,
    ) -> None:
        """Take the pair over. `up` and `down` were read already and go out first; `tap` sees all
        that the client sends from here, `up` included."""
        session.phase = Phase.RELAY
        link = Link(self, session, client, backend, tap)
        session.link = link
        session.cancel_scope = None
        self._links.add(link)
        link.start(up, down)

    def drop(self, link: "Link") -> None:
        """A link is over."""
        self._links.discard(link)
        self.idlers.end(link.session)
        self._on_end(link.session)

    @property
    def read_octets(self) -> int:
        """How much one read may take now."""
        return STALLED_READ_OCTETS if self.stalled > STALLED_MANY else BUFFER_OCTETS

    def keep(self, left: bytes | memoryview) -> bytes | memoryview:
        """What a newly stalled direction keeps of `left`: a copy where that is small, else the
        shared buffer itself, which is replaced."""
        self.stalled += 1
        if isinstance(left, bytes):
            return left
        if len(left) <= STALLED_READ_OCTETS:
            return bytes(left)
        self.view = self._spares.pop() if self._spares else memoryview(bytearray(BUFFER_OCTETS))
        return left

    def give_back(self, kept: bytes | memoryview) -> None:
        """A direction is no longer stalled; `kept` is what it kept last."""
        self.stalled -= 1
        if isinstance(kept, memoryview) and len(self._spares) < SPARES:
            buffer = kept.obj
            if isinstance(buffer, bytearray):
                self._spares.append(memoryview(buffer))

    def _sweep(self, now: float) -> None:
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_EVERY_S
        for link in [link for link in self._links if link.expired(now, self._idle_s)]:
            link.finish(End.TIMEOUT)
        self.idlers.expire(now)


class Direction:
    """One way of a link."""

    __slots__ = ("ended", "kept", "sink", "source", "source_wants_out")

    def __init__(self, source: Channel, sink: Channel) -> None:
        self.source = source
        self.sink = sink
        self.kept: bytes | memoryview | None = None  # not None: stalled, the source is not read
        self.ended = False  # the source's stream has ended
        self.source_wants_out = False  # TLS must write before it can read

    def read(self, view: memoryview) -> int:
        """Fill `view` with what is there, whole TLS records gathered; notes an end."""
        source = self.source
        count = 0
        while True:
            got = source.receive_into_nowait(view[count:])
            if not got:
                self.ended = got == 0
                self.source_wants_out = got is None and source.wants == OUT
                return count
            count += got
            if source.tls is None or got < RECORD_OCTETS or count > len(view) - RECORD_OCTETS:
                self.source_wants_out = False
                return count


class Link:
    """Two channels and the octets between them."""

    __slots__ = (
        "_backend_mask",
        "_client_mask",
        "_down",
        "_idle_turns",
        "_moved_at",
        "_over",
        "_relay",
        "_tap",
        "_up",
        "session",
    )

    def __init__(
        self,
        relay: Relay,
        session: Session,
        client: Channel,
        backend: Channel,
        tap: ImapTap | None,
    ) -> None:
        self._relay = relay
        self.session = session
        self._up = Direction(client, backend)
        self._down = Direction(backend, client)
        self._tap = tap
        self._moved_at = trio.current_time()
        self._over = False
        self._idle_turns = 0  # of the tap, when it was last looked at
        self._client_mask = self._backend_mask = -1

    @property
    def quiet(self) -> bool:
        """Whether nothing has moved for a moment and nothing waits to be sent."""
        stalled = self._up.kept is not None or self._down.kept is not None
        return not stalled and trio.current_time() - self._moved_at > QUIET_S

    def start(self, up: bytes, down: bytes) -> None:
        """Send what was read before, then listen."""
        readiness = self._relay.readiness
        readiness.redirect(self._up.source.fd, self.on_client)
        readiness.redirect(self._down.source.fd, self.on_backend)
        try:
            if down:
                self._send(self._down, self._show_tap(self._down, down))
            if up:
                self._send(self._up, self._show_tap(self._up, up))
        except PeerBroken:
            self.finish(End.BROKEN)
            return
        self._go_on()

    def on_client(self, mask: int) -> None:
        """The client's socket is ready."""
        self._on_event(self._up, self._down, mask)

    def on_backend(self, mask: int) -> None:
        """The backend's socket is ready."""
        self._on_event(self._down, self._up, mask)

    def _on_event(self, reads: Direction, writes: Direction, mask: int) -> None:
        """A socket that `reads` reads and `writes` writes has an event."""
        if self._over:
            return
        self._moved_at = self._relay.readiness.now
        try:
            self._serve(reads, writes, mask)
        except Exception as error:  # a fault of ours costs this client its session, and no other
            self._relay.on_fault(self.session, error)
            self.abort()

    def _serve(self, reads: Direction, writes: Direction, mask: int) -> None:
        try:
            if writes.kept is not None and mask & ~IN:
                self._flush(writes)
            if reads.kept is None and not reads.ended and (mask & ~OUT or reads.source_wants_out):
                self._move(reads)
        except PeerBroken:
            self.finish(End.BROKEN)
            return
        if reads is self._up and reads.ended and mask & GONE:  # TLS calls a reset an end
            self.finish(End.BROKEN)
        else:
            self._go_on()

    def _go_on(self) -> None:
        """After octets were moved: end, or listen for more."""
        tap = self._tap
        if tap is not None and tap.idle_turns != self._idle_turns:
            self._tell_idlers(tap)
        if self._over:  # one IDLE too many
            return
        if tap is not None and tap.violated:
            self.finish(End.VIOLATION)
        elif self._down.ended and self._down.kept is None:
            self.finish(self._how_it_ended())
        else:
            self._listen()

    def _tell_idlers(self, tap: ImapTap) -> None:
        self._idle_turns = tap.idle_turns
        if tap.idle:
            self._relay.idlers.begin(self.session, self._moved_at)
        else:
            self._relay.idlers.end(self.session)

    def _how_it_ended(self) -> End:
        if self._tap is not None and self._tap.logout:
            return End.LOGOUT
        return End.CLIENT if self._up.ended else End.BACKEND

    def expired(self, now: float, idle_s: float) -> bool:
        """Whether nothing moved for `idle_s`, or for `STALL_S` while somebody should read."""
        stalled = self._up.kept is not None or self._down.kept is not None
        return now - self._moved_at > (min(STALL_S, idle_s) if stalled else idle_s)

    def abort(self) -> None:
        """Reset both legs at once; the session's `end` says why."""
        self._close(Channel.abort)

    def dismiss(self, end: End, bye: bytes) -> None:
        """Close both legs in order, after a last line to the client where it is sure to be one."""
        tap = self._tap
        if self._down.kept is None and tap is not None and tap.between_server_lines:
            with contextlib.suppress(PeerBroken):
                self._down.sink.send_nowait(bye)
        self.finish(end)

    def finish(self, end: End) -> None:
        """Close both legs in order."""
        if self.session.end is None:
            self.session.end = end
        self._close(Channel.close)

    def _close(self, how: Callable[[Channel], None]) -> None:
        if self._over:
            return
        self._over = True
        for way in (self._up, self._down):
            if way.kept is not None:
                self._relay.give_back(way.kept)
                way.kept = None
            how(way.source)
        self._relay.drop(self)

    def _move(self, way: Direction) -> None:
        count = way.read(self._relay.view[: self._relay.read_octets])
        if count:
            self._send(way, self._show_tap(way, self._relay.view[:count]))
        self._pass_end(way)

    def _pass_end(self, way: Direction) -> None:
        if way is self._up and way.ended and way.kept is None:
            way.sink.half_close_nowait()

    def _show_tap(self, way: Direction, octets: bytes | memoryview) -> bytes | memoryview:
        tap = self._tap
        if tap is None:
            return octets
        if way is self._up:
            return tap.feed(bytes(octets))
        if tap.pending_sync:
            tap.server_octets(octets)
        return octets

    def _send(self, way: Direction, octets: bytes | memoryview) -> None:
        sent = way.sink.send_nowait(octets) if octets else 0
        if sent < len(octets):
            way.kept = self._relay.keep(octets[sent:])

    def _flush(self, way: Direction) -> None:
        """Send what `way` kept."""
        kept = way.kept
        assert kept is not None, "only stalled directions are flushed"
        sent = way.sink.send_nowait(kept)
        if sent < len(kept):
            way.kept = kept[sent:]
            return
        way.kept = None
        self._relay.give_back(kept)
        self._pass_end(way)

    def _listen(self) -> None:
        """Ask the epoll for what each direction waits for, if that changed."""
        up, down = self._up, self._down
        client_mask = self._mask(reads=up, writes=down)
        if client_mask != self._client_mask:
            self._client_mask = client_mask
            self._relay.readiness.watch(up.source.fd, client_mask)
        backend_mask = self._mask(reads=down, writes=up)
        if backend_mask != self._backend_mask:
            self._backend_mask = backend_mask
            self._relay.readiness.watch(down.source.fd, backend_mask)

    @staticmethod
    def _mask(*, reads: Direction, writes: Direction) -> int:
        mask = 0
        if reads.kept is None and not reads.ended:
            mask = IN | OUT if reads.source_wants_out else IN
        if writes.kept is not None:
            mask |= OUT
        return mask
