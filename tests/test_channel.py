"""One leg of a session, plain and TLS: no octet is lost, none is waited for that is there."""

import contextlib
import os
import socket
import ssl

import pytest
import trio
from legs import FAR, Far, Legs, contexts, full_backlog, legs, listening, reset, tcp_pair
from rig import virtual_time
from trio.testing import wait_all_tasks_blocked

from gatekeeper.channel import DIALOGUE_READ_OCTETS, Channel, connect, deadline_in
from gatekeeper.errors import DeadlineExceeded, PeerBroken, PeerClosed
from gatekeeper.readiness import IN, SWEEP_S

RECORD_OCTETS = 16 * 1024
PLAIN = None
KINDS = [PLAIN, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=["plain", "tls1.2", "tls1.3"])
every_tls = pytest.mark.parametrize("kind", KINDS[1:], ids=["tls1.2", "tls1.3"])

Kind = ssl.TLSVersion | None


async def leg(made: Legs, kind: Kind, *, small: bool = False) -> tuple[Channel, Far]:
    if kind is PLAIN:
        return made.plain(small=small)
    return await made.tls(kind, small=small)


async def receive_exactly(channel: Channel, count: int, limit: int = DIALOGUE_READ_OCTETS) -> bytes:
    """So many octets, in as many portions as they come; a lost wake-up meets the deadline."""
    got = bytearray()
    while len(got) < count:
        got += await channel.receive(deadline_in(5), limit)
    return bytes(got)


# -- receiving -----------------------------------------------------------------------------------


@every_kind
@virtual_time
async def test_what_was_sent_is_received(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        await far.send(b"a001 NOOP\r\n")
        assert await channel.receive(deadline_in(5)) == b"a001 NOOP\r\n"


@every_kind
@virtual_time
async def test_single_octets_are_received_in_order(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        async with trio.open_nursery() as nursery:

            async def dribble() -> None:
                for octet in b"a001 NOOP\r\n":
                    await far.send(bytes((octet,)))
                    await trio.sleep(0.1)

            nursery.start_soon(dribble)
            assert await receive_exactly(channel, 11) == b"a001 NOOP\r\n"


@every_kind
@pytest.mark.parametrize(
    "count",
    [1, 15, 16, 17, 32, RECORD_OCTETS - 1, RECORD_OCTETS, RECORD_OCTETS + 1, 3 * RECORD_OCTETS],
)
@pytest.mark.parametrize("limit", [16, DIALOGUE_READ_OCTETS])
@virtual_time
async def test_no_size_loses_a_wake_up(kind: Kind, count: int, limit: int) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        octets = os.urandom(count)
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(far.send, octets)
                assert await receive_exactly(channel, count, limit) == octets


@every_tls
@virtual_time
async def test_several_records_in_one_segment_are_all_received(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        far.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        for word in (b"one", b"two", b"three"):
            await far.send(word)
        far.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        assert await receive_exactly(channel, 11) == b"onetwothree"


@every_kind
@virtual_time
async def test_after_a_full_read_the_next_one_waits_for_what_comes(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        await far.send(b"0123456789abcdef")
        assert await channel.receive(deadline_in(5), 16) == b"0123456789abcdef"
        assert channel.more
        async with trio.open_nursery() as nursery:

            async def send_later() -> None:
                await trio.sleep(2)
                await far.send(b"later")

            nursery.start_soon(send_later)
            assert await channel.receive(deadline_in(5), 16) == b"later"


@every_kind
@virtual_time
async def test_nothing_there_is_none(kind: Kind) -> None:
    async with legs() as made:
        channel, _ = await leg(made, kind)
        assert channel.receive_nowait(100) is None
        assert channel.wants == IN
        assert channel.receive_into_nowait(memoryview(bytearray(100))) is None


@every_kind
@virtual_time
async def test_a_silent_peer_meets_the_deadline(kind: Kind) -> None:
    async with legs() as made:
        channel, _ = await leg(made, kind)
        started = trio.current_time()
        with pytest.raises(DeadlineExceeded):
            await channel.receive(deadline_in(3))
        assert 3 <= trio.current_time() - started <= 3 + SWEEP_S


@every_kind
@virtual_time
async def test_the_end_of_the_stream_is_peer_closed(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        await far.send(b"last words")
        await far.stream.aclose()
        assert await channel.receive(deadline_in(5)) == b"last words"
        with pytest.raises(PeerClosed):
            await channel.receive(deadline_in(5))


@every_tls
@virtual_time
async def test_an_end_without_close_notify_is_an_end_too(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        far.close()
        with pytest.raises((PeerClosed, PeerBroken)):
            await channel.receive(deadline_in(5))


@every_kind
@virtual_time
async def test_a_reset_is_peer_broken(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        reset(far.sock)
        # Some versions of CPython call every error of the socket under TLS an end of the stream.
        expected = PeerBroken if kind is PLAIN else (PeerBroken, PeerClosed)
        with pytest.raises(expected):
            await channel.receive(deadline_in(5))


@every_tls
@virtual_time
async def test_a_forged_record_is_peer_broken_in_openssls_words(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        await far.sock.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(PeerBroken, match=r"mac|decrypt|record layer"):
            await channel.receive(deadline_in(5))


# -- in bulk -------------------------------------------------------------------------------------


@every_kind
@virtual_time
async def test_bulk_gathers_whole_records_up_to_its_limit(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        octets = os.urandom(12 * RECORD_OCTETS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.send, octets)
            await wait_all_tasks_blocked(0.01)
            got = await channel.receive_bulk(deadline_in(5), 4 * RECORD_OCTETS)
            assert len(got) == 4 * RECORD_OCTETS
            while len(got) < len(octets):
                got += await channel.receive_bulk(deadline_in(5), 4 * RECORD_OCTETS)
        assert got == octets


@every_kind
@pytest.mark.parametrize("count", [10, RECORD_OCTETS, RECORD_OCTETS + 10, 4 * RECORD_OCTETS])
@virtual_time
async def test_bulk_is_content_with_what_is_there(kind: Kind, count: int) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        octets, got = os.urandom(count), b""
        await far.send(octets)
        while len(got) < count:
            got += await channel.receive_bulk(deadline_in(5), 8 * RECORD_OCTETS)
        assert got == octets
        with pytest.raises(DeadlineExceeded):
            await channel.receive_bulk(deadline_in(2), 8 * RECORD_OCTETS)


@every_kind
@virtual_time
async def test_bulk_passes_on_what_came_before_the_end(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        await far.send(bytes(RECORD_OCTETS))
        await far.stream.aclose()
        assert await channel.receive_bulk(deadline_in(5), 8 * RECORD_OCTETS) == bytes(RECORD_OCTETS)
        with pytest.raises(PeerClosed):
            await channel.receive_bulk(deadline_in(5), 8 * RECORD_OCTETS)


@every_tls
@virtual_time
async def test_bulk_does_not_swallow_a_close_notify_without_fin(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        await far.send(bytes(RECORD_OCTETS))
        async with trio.open_nursery() as nursery:

            async def say_close() -> None:
                with contextlib.suppress(trio.BrokenResourceError):
                    await far.stream.unwrap()  # type: ignore[union-attr]  # TLS kinds only

            nursery.start_soon(say_close)
            await wait_all_tasks_blocked(0.01)
            await channel.receive_bulk(deadline_in(5), 8 * RECORD_OCTETS)
            with pytest.raises(PeerClosed):
                await channel.receive_bulk(deadline_in(5), 8 * RECORD_OCTETS)
            channel.close()


# -- sending -------------------------------------------------------------------------------------


@every_kind
@virtual_time
async def test_all_is_sent_to_a_peer_that_reads_late(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind, small=True)
        octets = os.urandom(1_000_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.send, octets, FAR)
            await wait_all_tasks_blocked(0.01)
            assert await far.hear(len(octets)) == octets


@every_kind
@virtual_time
async def test_a_peer_that_does_not_read_meets_the_deadline(kind: Kind) -> None:
    async with legs() as made:
        channel, _ = await leg(made, kind, small=True)
        with pytest.raises(DeadlineExceeded):
            await channel.send(bytes(10_000_000), deadline_in(4))


@every_kind
@virtual_time
async def test_sending_nothing_is_no_error(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        await channel.send(b"", deadline_in(5))
        await channel.send(b"something", deadline_in(5))
        assert await far.hear(9) == b"something"


@every_kind
@virtual_time
async def test_a_full_peer_takes_part_and_says_so(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind, small=True)
        octets = os.urandom(500_000)
        view, turns = memoryview(octets), 0
        async with trio.open_nursery() as nursery:

            async def hear_all() -> None:
                assert await far.hear(len(octets)) == octets

            nursery.start_soon(hear_all)
            while view:
                view = view[channel.send_nowait(view) :]
                turns += 1
                await trio.lowlevel.checkpoint()
        assert turns > 1


@every_kind
@virtual_time
async def test_sending_to_a_peer_that_reset_is_peer_broken(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        reset(far.sock)
        with pytest.raises(PeerBroken):
            await channel.send(b"hello", deadline_in(5))


# -- peeking -------------------------------------------------------------------------------------


@virtual_time
async def test_a_peek_leaves_the_octets_where_they_are() -> None:
    async with legs() as made:
        channel, far = made.plain()
        await far.send(b"PROXY TCP4 and more")
        assert (await channel.peek(5, deadline_in(5))).startswith(b"PROXY")
        assert await channel.receive(deadline_in(5)) == b"PROXY TCP4 and more"


@virtual_time
async def test_a_peek_waits_until_enough_is_there() -> None:
    async with legs() as made:
        channel, far = made.plain()
        async with trio.open_nursery() as nursery:

            async def dribble() -> None:
                for octet in b"0123456789":
                    await far.send(bytes((octet,)))
                    await trio.sleep(0.2)

            nursery.start_soon(dribble)
            assert await channel.peek(8, deadline_in(20)) == b"01234567"


@virtual_time
async def test_a_peek_wants_more_than_one_buffer() -> None:
    async with legs() as made:
        channel, far = made.plain()
        await far.send(b"x" * 9000)
        assert len(await channel.peek(9000, deadline_in(5))) == 9000
        await far.send(b"y" * 9000)
        assert len(await channel.peek(18_000, deadline_in(5))) == 18_000


@pytest.mark.parametrize("before", [b"", b"\x16\x03"])
@virtual_time
async def test_a_peek_is_short_where_the_stream_ends(before: bytes) -> None:
    async with legs() as made:
        channel, far = made.plain()
        async with trio.open_nursery() as nursery:

            async def leave() -> None:
                if before:
                    await far.send(before)
                await trio.sleep(1)
                far.close()

            nursery.start_soon(leave)
            started = trio.current_time()
            assert await channel.peek(5, deadline_in(100)) == before
            assert trio.current_time() - started < 50


@virtual_time
async def test_after_a_peek_single_octets_wake_again() -> None:
    async with legs() as made:
        channel, far = made.plain()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.peek, 5, FAR)
            await far.send(b"abc")
            await wait_all_tasks_blocked(0.01)
            await far.send(b"de")
        assert await channel.receive(deadline_in(5)) == b"abcde"
        await far.send(b"f")
        assert await channel.receive(deadline_in(5)) == b"f"


@virtual_time
async def test_a_peek_is_not_cut_short_by_another_legs_event() -> None:
    async with legs() as made:
        (channel, far), (other, other_far) = made.plain(), made.plain()
        made.readiness.arm(other.fd, IN)
        await far.send(b"\x16\x03")
        async with trio.open_nursery() as nursery:

            async def talk() -> None:
                await trio.sleep(1)
                await other_far.send(b"421 closing\r\n")
                await trio.sleep(1)
                await far.send(b"\x01\x00\x10")

            nursery.start_soon(talk)
            assert await channel.peek(5, deadline_in(20)) == b"\x16\x03\x01\x00\x10"


@virtual_time
async def test_a_peek_at_a_silent_peer_meets_the_deadline() -> None:
    async with legs() as made:
        channel, far = made.plain()
        await far.send(b"\x16")
        with pytest.raises(DeadlineExceeded):
            await channel.peek(5, deadline_in(3))


@virtual_time
async def test_a_peek_at_a_reset_peer_is_peer_broken() -> None:
    async with legs() as made:
        channel, far = made.plain()
        reset(far.sock)
        with pytest.raises(PeerBroken):
            await channel.peek(5, deadline_in(3))


# -- the handshake -------------------------------------------------------------------------------


@every_tls
@virtual_time
async def test_octets_behind_the_finished_are_received(kind: ssl.TLSVersion) -> None:
    async with legs() as made:
        channel, far = await made.tls(kind)
        await far.send(b"a1 NOOP\r\n")
        assert await channel.receive(deadline_in(5)) == b"a1 NOOP\r\n"
        assert channel.tls is not None
        assert channel.tls.version() == {771: "TLSv1.2", 772: "TLSv1.3"}[kind]


@virtual_time
async def test_a_channel_may_be_the_client() -> None:
    async with legs() as made:
        channel, far = await made.tls(as_client=True)
        await channel.send(b"EHLO\r\n", deadline_in(5))
        assert await far.hear(6) == b"EHLO\r\n"
        await far.send(b"250 ok\r\n")
        assert await channel.receive(deadline_in(5)) == b"250 ok\r\n"


@virtual_time
async def test_a_client_refuses_a_server_of_another_name() -> None:
    async with legs() as made:
        channel, far = made.plain()
        server, client = contexts()
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                stream = trio.SSLStream(far.stream, server, server_side=True)
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.do_handshake()
                    await stream.receive_some()

            nursery.start_soon(serve)
            with pytest.raises(PeerBroken, match="certificate verify failed"):
                await channel.handshake(client, deadline_in(5), server_name="elsewhere.example")
            channel.close()


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, b"\x16\x03\x01\xff\xff"]
)
@virtual_time
async def test_garbage_for_a_handshake_is_peer_broken(garbage: bytes) -> None:
    async with legs() as made:
        channel, far = made.plain()
        await far.send(garbage)
        with pytest.raises(PeerBroken):
            await channel.handshake(contexts()[0], deadline_in(5))
        channel.close()


@virtual_time
async def test_a_handshake_that_stops_midway_meets_the_deadline() -> None:
    async with legs() as made:
        channel, far = made.plain()
        await far.send(b"\x16\x03\x01\x02\x00\x01\x00")
        with pytest.raises(DeadlineExceeded):
            await channel.handshake(contexts()[0], deadline_in(4))
        channel.close()


@virtual_time
async def test_a_peer_that_leaves_in_the_handshake_is_peer_broken() -> None:
    async with legs() as made:
        channel, far = made.plain()
        await far.send(b"\x16\x03\x01\x02\x00\x01\x00")
        far.close()
        with pytest.raises(PeerBroken):
            await channel.handshake(contexts()[0], deadline_in(4))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("hello", [b"", b"\x16\x03\x01\x02\x00\x01\x00"])
@virtual_time
async def test_a_reset_just_before_the_handshake_leaves_nothing_behind(hello: bytes) -> None:
    async with legs() as made:
        channel, far = made.plain()
        if hello:
            await far.send(hello)
            await channel.peek(len(hello), deadline_in(5))
        reset(far.sock)
        with pytest.raises(PeerBroken):
            await channel.handshake(contexts()[0], deadline_in(4))
        channel.close()
        channel.abort()
        assert channel.closed


# -- connecting ----------------------------------------------------------------------------------


def connecting(made: Legs) -> Channel:
    sock = socket.socket()
    channel = Channel(sock, made.readiness, made.waiter)
    return made.keep(channel)


@virtual_time
async def test_connect_reaches_a_listener() -> None:
    async with legs() as made:
        with listening() as listener:
            channel = connecting(made)
            await connect(channel.sock, listener.getsockname(), channel, deadline_in(5))
            await channel.send(b"hi", deadline_in(5))
            accepted, _ = await listener.accept()
            assert await accepted.recv(2) == b"hi"
            accepted.close()


@virtual_time
async def test_a_refused_connect_is_peer_broken() -> None:
    async with legs() as made:
        with listening() as listener:
            address = listener.getsockname()
        channel = connecting(made)
        with pytest.raises(PeerBroken, match="ECONNREFUSED"):
            await connect(channel.sock, address, channel, deadline_in(5))


@virtual_time
async def test_a_connect_nobody_answers_meets_the_deadline() -> None:
    async with legs() as made:
        with full_backlog() as address:
            channel = connecting(made)
            with pytest.raises(DeadlineExceeded):
                await connect(channel.sock, address, channel, deadline_in(3))


@virtual_time
async def test_a_connect_is_not_taken_for_done_by_another_legs_event() -> None:
    async with legs() as made:
        other, other_far = made.plain()
        made.readiness.arm(other.fd, IN)
        await other_far.send(b"EHLO early\r\n")
        with full_backlog() as address:
            channel = connecting(made)
            with pytest.raises(DeadlineExceeded):
                await connect(channel.sock, address, channel, deadline_in(3))


# -- the end -------------------------------------------------------------------------------------


@every_kind
@virtual_time
async def test_close_ends_the_stream_in_order(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        await channel.send(b"* BYE\r\n", deadline_in(5))
        channel.close()
        assert await far.hear_all() == b"* BYE\r\n"  # a TLS peer wants its close_notify for that


@every_kind
@virtual_time
async def test_abort_resets(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        channel.abort()
        with pytest.raises(trio.BrokenResourceError):
            await far.hear(1)


@every_kind
@virtual_time
async def test_closing_again_does_nothing(kind: Kind) -> None:
    async with legs() as made:
        channel, _ = await leg(made, kind)
        channel.close()
        number = channel.fd
        near, far = tcp_pair()  # most likely one of them has the number now
        channel.close()
        channel.abort()
        assert channel.closed
        far.send(b"x")
        assert near.recv(1) == b"x", f"descriptor {number} was closed under its new owner"
        near.close()
        far.close()


@every_kind
@virtual_time
async def test_after_our_end_the_peer_is_still_heard(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        await channel.send(b"done", deadline_in(5))
        channel.half_close_nowait()
        assert await far.hear(4) == b"done"
        await far.send(b"goodbye")
        assert await channel.receive(deadline_in(5)) == b"goodbye"


@every_tls
@virtual_time
async def test_what_the_peer_said_before_our_end_is_not_lost(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        await far.send(b"a1 OK done\r\n")
        channel.half_close_nowait()
        assert await channel.receive(deadline_in(5)) == b"a1 OK done\r\n"


@every_kind
@virtual_time
async def test_lingering_lets_a_peer_that_still_sends_read_the_last_words(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        octets = bytes(100_000)
        await far.send(octets)
        await channel.send(b"* BYE\r\n", deadline_in(5))
        async with trio.open_nursery() as nursery:

            async def send_more_then_read() -> None:
                await far.send(octets)
                assert await far.hear_all() == b"* BYE\r\n"
                far.close()

            nursery.start_soon(send_more_then_read)
            started = trio.current_time()
            await channel.linger(deadline_in(50))
            assert trio.current_time() - started < 10
        channel.close()


@every_kind
@virtual_time
async def test_lingering_gives_up(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        started = trio.current_time()
        await channel.linger(deadline_in(3))  # the peer neither sends nor ends
        assert 3 <= trio.current_time() - started <= 3 + SWEEP_S
        channel.close()
        other, far = await leg(made, kind)
        async with trio.open_nursery() as nursery:

            async def never_stop() -> None:
                with contextlib.suppress(trio.BrokenResourceError):
                    while True:
                        await far.send(bytes(65536))

            nursery.start_soon(never_stop)
            await other.linger(FAR)
            other.close()


@every_kind
@virtual_time
async def test_closing_a_leg_whose_peer_is_gone_does_not_raise(kind: Kind) -> None:
    async with legs() as made:
        channel, far = await leg(made, kind)
        reset(far.sock)
        channel.close()
        assert channel.closed


@every_tls
@virtual_time
async def test_an_error_of_one_leg_is_not_told_to_another(kind: Kind) -> None:
    """OpenSSL 3.5 under CPython 3.13 did: its notes of errors are the thread's."""
    async with legs() as made:
        quiet, far = await leg(made, kind)
        for _ in range(3):
            channel, gone = await leg(made, kind)
            reset(gone.sock)
            with pytest.raises(PeerBroken):
                await channel.send(b"hello", deadline_in(5))
            assert quiet.receive_nowait(RECORD_OCTETS) is None
            channel.abort()
        await far.send(b"still here")
        assert await quiet.receive(deadline_in(5)) == b"still here"
