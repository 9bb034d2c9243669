"""The relay: every octet once and in order, and nothing kept of a pair that is over."""

import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from legs import Far, Legs, a_session, legs, reset
from rig import virtual_time
from rig_ends import raise_fault
from trio.testing import wait_all_tasks_blocked

from gatekeeper.idling import Idlers
from gatekeeper.readiness import SWEEP_S
from gatekeeper.relay import BUFFER_OCTETS, SPARES, STALL_S, STALLED_MANY, SWEEP_EVERY_S, Relay
from gatekeeper.sessions import End, Phase, Session
from gatekeeper.settings import LimitSettings, Mode, Settings, TlsSettings
from gatekeeper.wire.imap_tap import ImapTap

IDLE_S = 20.0
SETTLE_S = 0.005  # real
PLAIN, TLS = "plain", "tls"
every_pair = pytest.mark.parametrize(
    ("front", "back"), [(PLAIN, PLAIN), (TLS, PLAIN), (TLS, TLS)], ids=str
)


@dataclass
class Pair:
    """One relayed session as its two peers see it."""

    client: Far
    backend: Far
    session: Session


@dataclass
class Rig:
    """A relay and what it reported."""

    made: Legs
    relay: Relay
    ended: list[Session]

    async def link(
        self,
        front: str = PLAIN,
        back: str = PLAIN,
        *,
        tap: ImapTap | None = None,
        small: bool = False,
        up: bytes = b"",
        down: bytes = b"",
        account: str = "",
    ) -> Pair:
        made = self.made
        near, client = await made.tls(small=small) if front is TLS else made.plain(small=small)
        to_backend, backend = (
            await made.tls(small=small, as_client=True) if back is TLS else made.plain(small=small)
        )
        session = a_session()
        session.authcid = account
        self.relay.adopt(session, near, to_backend, tap, up=up, down=down)
        return Pair(client, backend, session)


def idlers(mode: Mode = Mode.ENFORCE) -> Idlers:
    """Two of an account may idle, a minute at most."""
    limits = LimitSettings(idle_per_account=2, idle_longest_s=60)
    settings = Settings("guard.example", TlsSettings(), (), {}, mode=mode, limits=limits)
    return Idlers(settings, lambda _session, _end: None)


@asynccontextmanager
async def relaying(idle_s: float = IDLE_S, mode: Mode = Mode.ENFORCE) -> AsyncIterator[Rig]:
    async with legs() as made:
        ended: list[Session] = []
        relay = Relay(made.readiness, idle_s, idlers(mode), ended.append, raise_fault)
        yield Rig(made, relay, ended)


async def settle() -> None:
    await wait_all_tasks_blocked(SETTLE_S)


async def fill(peer: Far, most_octets: int = 32_000_000) -> int:
    """Send zeros until nobody takes any more; how many."""
    sent = 0
    with trio.move_on_after(1):  # virtual: when all are stuck
        while sent < most_octets:
            sent += await peer.sock.send(bytes(65536))
    return sent


# -- octets --------------------------------------------------------------------------------------


async def send_in_cuts(peer: Far, octets: bytes, cuts: list[int]) -> None:
    start = 0
    for cut in cuts:
        await peer.send(octets[start : start + cut])
        start += cut
    await peer.send(octets[start:])


@virtual_time
async def carry(
    front: str, back: str, up: tuple[int, list[int]], down: tuple[int, list[int]]
) -> None:
    upward, downward = os.urandom(up[0]), os.urandom(down[0])
    async with relaying() as rig:
        pair = await rig.link(front, back)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_in_cuts, pair.client, upward, up[1])
            nursery.start_soon(send_in_cuts, pair.backend, downward, down[1])

            async def hear(peer: Far, expected: bytes) -> None:
                assert await peer.hear(len(expected)) == expected

            nursery.start_soon(hear, pair.backend, upward)
            nursery.start_soon(hear, pair.client, downward)
        assert rig.ended == []
        assert rig.relay.stalled == 0


a_way = st.tuples(st.integers(1, 700_000), st.lists(st.integers(1, 40_000), max_size=8))


@every_pair
@settings(max_examples=12, deadline=None)
@given(up=a_way, down=a_way)
def test_octets_arrive_once_and_in_order_both_ways(
    front: str, back: str, up: tuple[int, list[int]], down: tuple[int, list[int]]
) -> None:
    carry(front, back, up, down)


@every_pair
@pytest.mark.parametrize("count", [1, 16_384, 16_385, 32_768, BUFFER_OCTETS, BUFFER_OCTETS + 1])
@virtual_time
async def test_sizes_at_the_bounds_of_records_and_buffer_arrive(
    front: str, back: str, count: int
) -> None:
    async with relaying() as rig:
        pair = await rig.link(front, back)
        octets = os.urandom(count)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.backend.send, octets)
            assert await pair.client.hear(count) == octets


@every_pair
@virtual_time
async def test_what_was_read_before_goes_out_first(front: str, back: str) -> None:
    async with relaying() as rig:
        pair = await rig.link(front, back, up=b"a2 SELECT INBOX\r\n", down=b"* 1 EXISTS\r\n")
        await pair.client.send(b"a3 NOOP\r\n")
        await pair.backend.send(b"a2 OK\r\n")
        assert await pair.backend.hear(26) == b"a2 SELECT INBOX\r\na3 NOOP\r\n"
        assert await pair.client.hear(19) == b"* 1 EXISTS\r\na2 OK\r\n"
        assert pair.session.phase is Phase.RELAY


@virtual_time
async def test_many_links_share_one_buffer() -> None:
    async with relaying() as rig:
        buffer = rig.relay.view.obj
        pairs = [await rig.link() for _ in range(60)]
        async with trio.open_nursery() as nursery:

            async def talk(pair: Pair) -> None:
                for _ in range(3):
                    upward, downward = os.urandom(3000), os.urandom(3000)
                    await pair.client.send(upward)
                    assert await pair.backend.hear(3000) == upward
                    await pair.backend.send(downward)
                    assert await pair.client.hear(3000) == downward

            for pair in pairs:
                nursery.start_soon(talk, pair)
        assert rig.relay.view.obj is buffer
        assert len(rig.relay) == 60


# -- slow sinks ----------------------------------------------------------------------------------


@every_pair
@virtual_time
async def test_a_reader_that_is_slow_gets_all_of_it(front: str, back: str) -> None:
    async with relaying() as rig:
        pair = await rig.link(front, back, small=True)
        octets = os.urandom(2_000_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.backend.send, octets)
            await settle()
            assert rig.relay.stalled == 1
            got = b""
            while len(got) < len(octets):
                got += await pair.client.hear(min(200_000, len(octets) - len(got)))
                await settle()
        assert got == octets
        assert rig.relay.stalled == 0


@every_pair
@virtual_time
async def test_a_slow_backend_gets_all_of_it_too(front: str, back: str) -> None:
    async with relaying() as rig:
        pair = await rig.link(front, back, small=True, tap=ImapTap())
        octets = b"a1 APPEND INBOX {1900000+}\r\n" + b"x" * 1_900_000 + b"\r\n"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.client.send, octets)
            await settle()
            assert rig.relay.stalled == 1
            assert await pair.backend.hear(len(octets)) == octets
        assert rig.relay.stalled == 0


@virtual_time
async def test_a_source_is_not_read_while_its_sink_is_stalled() -> None:
    async with relaying(idle_s=1000) as rig:
        pair = await rig.link(small=True)
        sent = await fill(pair.backend)
        assert sent < 32_000_000  # the pressure has reached the sender
        assert rig.relay.stalled == 1
        assert await pair.client.hear(sent) == bytes(sent)
        assert rig.relay.stalled == 0


@virtual_time
async def test_the_other_way_goes_on_while_one_is_stalled() -> None:
    async with relaying() as rig:
        pair = await rig.link(small=True)
        await fill(pair.backend)
        await pair.client.send(b"a1 NOOP\r\n")
        assert await pair.backend.hear(9) == b"a1 NOOP\r\n"


@pytest.mark.parametrize("how", ["close", "reset", "abort", "finish"])
@virtual_time
async def test_a_stalled_pair_that_ends_gives_its_buffer_back(how: str) -> None:
    async with relaying() as rig:
        pair = await rig.link(small=True)
        await fill(pair.backend)
        assert rig.relay.stalled == 1
        match how:
            case "close":
                pair.client.close()  # with octets unread: that is a reset
            case "reset":
                reset(pair.client.sock)
            case "abort":
                pair.session.stop(End.KICKED)
            case _:
                pair.session.stop(End.SHUTDOWN)
        await settle()
        assert rig.relay.stalled == 0
        assert rig.ended == [pair.session]
        assert len(rig.relay) == 0


@virtual_time
async def test_each_stalled_link_keeps_its_own_octets() -> None:
    async with relaying(idle_s=1000) as rig:
        pairs = [await rig.link(small=True) for _ in range(5)]
        async with trio.open_nursery() as nursery:
            for number, pair in enumerate(pairs):
                nursery.start_soon(pair.backend.send, bytes((number,)) * 900_000)
            await settle()
            assert rig.relay.stalled == 5
            for number, pair in enumerate(pairs):
                assert await pair.client.hear(900_000) == bytes((number,)) * 900_000
        assert rig.relay.stalled == 0


def test_spare_buffers_are_bounded_and_used_again(relay: Relay) -> None:
    kept = [relay.keep(relay.view[:100_000]) for _ in range(SPARES + 20)]
    assert len({id(each.obj) for each in kept if isinstance(each, memoryview)}) == len(kept)
    for each in kept:
        relay.give_back(each)
    assert relay.stalled == 0
    assert len(relay._spares) == SPARES
    relay.keep(relay.view[:100_000])
    assert len(relay._spares) == SPARES - 1


def test_little_that_is_left_is_copied(relay: Relay) -> None:
    buffer = relay.view.obj
    assert isinstance(relay.keep(relay.view[:1000]), bytes)
    assert relay.view.obj is buffer


def test_with_many_stalled_reads_become_small(relay: Relay) -> None:
    assert relay.read_octets == BUFFER_OCTETS
    for _ in range(STALLED_MANY + 1):
        relay.keep(b"left")
    assert relay.read_octets < BUFFER_OCTETS // 4


@pytest.fixture
def relay() -> Relay:
    class Sweeps:
        def each_sweep(self, callback: object) -> None:
            """Nothing moves in these tests."""

    sweeps = Sweeps()
    return Relay(
        sweeps,  # type: ignore[arg-type]  # no sockets
        IDLE_S,
        idlers(),
        lambda _: None,
        raise_fault,
    )


# -- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("back", [PLAIN, TLS])
@virtual_time
async def test_a_clients_end_is_passed_on_and_the_answer_still_comes(back: str) -> None:
    async with relaying() as rig:
        pair = await rig.link(PLAIN, back)
        await pair.client.send(b"a9 LOGOUT\r\n")
        pair.client.sock.shutdown(socket.SHUT_WR)
        assert await pair.backend.hear(11) == b"a9 LOGOUT\r\n"
        await settle()
        assert rig.ended == []
        await pair.backend.send(b"* BYE\r\na9 OK\r\n")
        await pair.backend.stream.aclose()
        assert await pair.client.hear(14) == b"* BYE\r\na9 OK\r\n"
        await settle()
        assert rig.ended == [pair.session]
        assert pair.session.end is End.CLIENT


@virtual_time
async def test_a_backend_hears_the_end_of_its_client() -> None:
    async with relaying() as rig:
        pair = await rig.link(TLS, PLAIN)
        await pair.client.send(b"a1 NOOP\r\n")
        pair.client.sock.shutdown(socket.SHUT_WR)
        assert await pair.backend.hear_all() == b"a1 NOOP\r\n"
        assert rig.ended == []


@virtual_time
async def test_a_clients_end_behind_a_stall_is_passed_on_after_all_octets() -> None:
    async with relaying() as rig:
        pair = await rig.link(small=True)
        octets = os.urandom(300_000)
        async with trio.open_nursery() as nursery:

            async def send_and_end() -> None:
                await pair.client.send(octets)
                pair.client.sock.shutdown(socket.SHUT_WR)

            nursery.start_soon(send_and_end)
            await settle()
            assert await pair.backend.hear_all() == octets


@every_pair
@virtual_time
async def test_a_backends_end_comes_after_all_it_said(front: str, back: str) -> None:
    async with relaying() as rig:
        pair = await rig.link(front, back, small=True)
        octets = os.urandom(700_000)
        async with trio.open_nursery() as nursery:

            async def send_and_end() -> None:
                await pair.backend.send(octets)
                await pair.backend.stream.aclose()

            nursery.start_soon(send_and_end)
            await settle()
            assert rig.ended == []
            assert await pair.client.hear(len(octets)) == octets
            # A client so slow that its kernel had no room for close_notify hears FIN alone.
            with contextlib.suppress(trio.BrokenResourceError):
                assert await pair.client.hear(1) == b""
        await settle()
        assert rig.ended == [pair.session]
        assert pair.session.end is End.BACKEND


@every_pair
@virtual_time
async def test_a_clients_reset_ends_both_at_once(front: str, back: str) -> None:
    async with relaying() as rig:
        pair = await rig.link(front, back)
        reset(pair.client.sock)
        await settle()
        assert rig.ended == [pair.session]
        # Its tickets may be unread yet; Trio passes on the errno that Python 3.13 makes of that.
        with contextlib.suppress(trio.BrokenResourceError, BrokenPipeError):
            assert await pair.backend.hear_all() == b""


@every_pair
@virtual_time
async def test_a_backends_reset_ends_both_at_once(front: str, back: str) -> None:
    async with relaying() as rig:
        pair = await rig.link(front, back)
        reset(pair.backend.sock)
        assert await pair.client.hear_all() == b""
        await settle()
        assert rig.ended == [pair.session]


@virtual_time
async def test_a_peer_that_is_gone_at_the_start_ends_the_session() -> None:
    async with relaying() as rig:
        (near, client), (to_backend, backend) = rig.made.plain(), rig.made.plain()
        reset(backend.sock)
        session = a_session()
        rig.relay.adopt(session, near, to_backend, None, up=b"a1 NOOP\r\n", down=b"")
        assert await client.hear_all() == b""
        assert session.end is End.BROKEN
        assert rig.ended == [session]


@every_pair
@virtual_time
async def test_a_kicked_pair_is_reset(front: str, back: str) -> None:
    async with relaying() as rig:
        pair = await rig.link(front, back)
        pair.session.stop(End.KICKED)
        for peer in (pair.client, pair.backend):
            with pytest.raises(trio.BrokenResourceError):
                await peer.hear(1)
        pair.session.stop(End.BANNED)
        assert rig.ended == [pair.session]
        assert pair.session.end is End.KICKED


@every_pair
@virtual_time
async def test_a_finished_pair_is_closed_in_order(front: str, back: str) -> None:
    async with relaying() as rig:
        pair = await rig.link(front, back)
        pair.session.stop(End.SHUTDOWN)
        assert await pair.client.hear_all() == b""
        assert await pair.backend.hear_all() == b""
        assert [session.end for session in rig.ended] == [End.SHUTDOWN]


# -- time ----------------------------------------------------------------------------------------


@virtual_time
async def test_a_pair_on_which_nothing_moves_ends_in_time() -> None:
    async with relaying() as rig:
        pair = await rig.link()
        await trio.sleep(IDLE_S / 2)
        await pair.backend.send(b"* OK still here\r\n")
        moved_at = trio.current_time()
        assert await pair.client.hear_all() == b"* OK still here\r\n"
        waited = trio.current_time() - moved_at
        assert IDLE_S <= waited <= IDLE_S + SWEEP_EVERY_S + SWEEP_S
        assert pair.session.end is End.TIMEOUT


@virtual_time
async def test_a_sink_that_takes_nothing_ends_before_the_idle_limit() -> None:
    async with relaying(idle_s=10 * STALL_S) as rig:
        pair = await rig.link(small=True)
        await fill(pair.backend)
        await trio.sleep(STALL_S - 2)
        assert rig.ended == []
        await trio.sleep(2 + SWEEP_EVERY_S + SWEEP_S)
        assert rig.ended[0].end is End.TIMEOUT
        assert rig.relay.stalled == 0


@virtual_time
async def test_a_pair_is_quiet_a_moment_after_it_moved() -> None:
    async with relaying() as rig:
        pair = await rig.link(small=True)
        quiet = [pair.session.quiet]
        await trio.sleep(2)
        quiet.append(pair.session.quiet)
        await pair.client.send(b"a1 NOOP\r\n")
        await settle()
        quiet.append(pair.session.quiet)
        await trio.sleep(2)
        quiet.append(pair.session.quiet)
        await fill(pair.backend)
        await trio.sleep(2)
        quiet.append(pair.session.quiet)
        assert quiet == [False, True, False, True, False]


# -- the tap -------------------------------------------------------------------------------------


@every_pair
@virtual_time
async def test_the_tap_rewrites_what_goes_to_the_backend(front: str, back: str) -> None:
    async with relaying() as rig:
        pair = await rig.link(front, back, tap=ImapTap())
        await pair.client.send(b"a1 UNAUTHENTICATE\r\na2 NOOP\r\n")
        assert await pair.backend.hear(28) == b"a1 XNAUTHENTICATE\r\na2 NOOP\r\n"
        await pair.backend.send(b"* OK UNAUTHENTICATE is a word\r\n")
        assert await pair.client.hear(31) == b"* OK UNAUTHENTICATE is a word\r\n"


@virtual_time
async def test_the_tap_sees_what_was_read_before() -> None:
    async with relaying() as rig:
        pair = await rig.link(tap=ImapTap(), up=b"a1 ID")
        await pair.client.send(b"LE\r\n")
        assert await pair.backend.hear(9) == b"a1 IDLE\r\n"
        assert pair.session.view().idle
        await pair.backend.send(b"+ idling\r\n")
        assert await pair.client.hear(10) == b"+ idling\r\n"
        await pair.client.send(b"DONE\r\n")
        assert await pair.backend.hear(6) == b"DONE\r\n"
        assert not pair.session.view().idle


# -- IDLE ----------------------------------------------------------------------------------------

BYE = b"* BYE [LIMIT] Too many sessions in IDLE\r\n"


async def idling(rig: Rig, account: str = "ann", front: str = PLAIN) -> Pair:
    """A session of `account` whose backend has agreed to IDLE."""
    pair = await rig.link(front, account=account, tap=ImapTap())
    await go_idle(pair)
    return pair


async def go_idle(pair: Pair, before: bytes = b"") -> None:
    await pair.client.send(before + b"a1 IDLE\r\n")
    assert await pair.backend.hear(len(before) + 9) == before + b"a1 IDLE\r\n"
    await pair.backend.send(b"+ idling\r\n")
    assert await pair.client.hear(10) == b"+ idling\r\n"


@pytest.mark.parametrize("front", [PLAIN, TLS])
@virtual_time
async def test_the_oldest_idle_session_of_an_account_ends_with_a_last_line(front: str) -> None:
    async with relaying() as rig:
        oldest = await idling(rig, front=front)
        await idling(rig, "bob")
        others = [await idling(rig), await idling(rig)]
        assert await oldest.client.hear_all() == BYE
        assert rig.ended == [oldest.session]
        assert oldest.session.end is End.IDLE_LIMIT
        assert await oldest.backend.hear_all() == b""
        for pair in others:
            await pair.backend.send(b"* 5 EXISTS\r\n")
            assert await pair.client.hear(12) == b"* 5 EXISTS\r\n"


@virtual_time
async def test_a_session_that_is_over_no_longer_idles() -> None:
    async with relaying() as rig:
        for _ in range(4):
            pair = await idling(rig)
            await pair.client.stream.aclose()
            await settle()
            await pair.backend.stream.aclose()
            await settle()
        assert [session.end for session in rig.ended] == [End.CLIENT] * 4
        assert len(rig.relay.idlers) == 0


@virtual_time
async def test_the_newcomer_that_is_one_too_many_hears_it_itself() -> None:
    async with relaying() as rig:
        settings = Settings(
            "guard.example", TlsSettings(), (), {}, limits=LimitSettings(idle_per_address=1)
        )
        rig.relay.idlers.reconfigure(settings)
        neighbour = await idling(rig, "bob")
        late = await rig.link(account="ann", tap=ImapTap(), up=b"a1 IDLE\r\n")
        early = await rig.link(account="ann", tap=ImapTap())
        await early.client.send(b"a1 IDLE\r\n")
        for pair in (late, early):
            assert await pair.client.hear_all() == BYE
        assert rig.ended == [late.session, early.session]
        assert neighbour.session.end is None


@virtual_time
async def test_no_last_line_is_put_into_a_line_of_the_backend() -> None:
    async with relaying() as rig:
        cut_off = b"* 5 FETCH (BODY[] {100}\r\n* 6 EXISTS\r\n"
        within = [cut_off, b"* 5 EXI", b"* 5 FETCH (BODY[] {2}\r\nxy FLAGS ())"]
        for octets in within:
            pair = await idling(rig)
            await pair.backend.send(octets)
            assert await pair.client.hear(len(octets)) == octets
            for _ in range(2):
                await idling(rig)
            assert await pair.client.hear_all() == b""
            assert pair.session.end is End.IDLE_LIMIT


@virtual_time
async def test_no_last_line_is_put_before_octets_that_wait() -> None:
    async with relaying() as rig:
        pair = await rig.link(account="ann", tap=ImapTap(), small=True)
        await go_idle(pair)
        sent = await fill(pair.backend, 600_000)
        for _ in range(2):
            await idling(rig)
        assert pair.session.end is End.IDLE_LIMIT
        got = await pair.client.hear_all()
        assert len(got) < sent
        assert not got.strip(b"\0")
        assert rig.relay.stalled == 0


@virtual_time
async def test_an_idle_ends_after_its_longest_time_whatever_the_backend_says() -> None:
    async with relaying() as rig:
        pair, renewed = await idling(rig), await idling(rig)
        for second in range(0, 60 + int(SWEEP_EVERY_S), 10):
            if second == 30:
                await renewed.client.send(b"DONE\r\na2 IDLE\r\n")
                assert await renewed.backend.hear(15) == b"DONE\r\na2 IDLE\r\n"
                await renewed.backend.send(b"a1 OK done\r\n+ idling\r\n")
                assert await renewed.client.hear(22) == b"a1 OK done\r\n+ idling\r\n"
            if pair.session.end is None:
                await pair.backend.send(b"* OK Still here\r\n")
                assert await pair.client.hear(17) == b"* OK Still here\r\n"
            await renewed.backend.send(b"* OK Still here\r\n")
            assert await renewed.client.hear(17) == b"* OK Still here\r\n"
            await trio.sleep(10)
        assert await pair.client.hear_all() == b"* BYE Too long in one IDLE\r\n"
        assert pair.session.end is End.IDLE_TOO_LONG
        assert rig.ended == [pair.session]
        idle_s = renewed.session.view().idle_s
        assert idle_s is not None
        assert 30 < idle_s < 50


@virtual_time
async def test_observing_closes_no_idle_session() -> None:
    async with relaying(mode=Mode.OBSERVE) as rig:
        pairs = [await idling(rig) for _ in range(4)]
        for pair in pairs:
            await pair.backend.send(b"* 5 EXISTS\r\n")
            assert await pair.client.hear(12) == b"* 5 EXISTS\r\n"
            assert pair.session.view().idle
        assert rig.ended == []


@virtual_time
async def test_a_session_the_tap_has_lost_sight_of_is_not_counted() -> None:
    async with relaying() as rig:
        wary = await idling(rig)
        await wary.client.send(b"DONE\n")
        assert await wary.backend.hear(5) == b"DONE\n"
        assert not wary.session.view().idle
        await go_idle(wary)
        for _ in range(2):
            await idling(rig)
        assert rig.ended == []


@virtual_time
async def test_the_tap_sees_the_backends_answer_read_before() -> None:
    async with relaying() as rig:
        octets = b"a1 APPEND INBOX {19}\r\n"
        pair = await rig.link(tap=ImapTap(), up=octets, down=b"* OK hi\r\n")
        assert await pair.backend.hear(len(octets)) == octets
        await pair.backend.send(b"+ go\r\n")
        assert await pair.client.hear(15) == b"* OK hi\r\n+ go\r\n"
        await pair.client.send(b"a2 UNAUTHENTICATE\r\n")  # content, and not to be touched
        assert await pair.backend.hear(19) == b"a2 UNAUTHENTICATE\r\n"


@virtual_time
async def test_a_logout_is_told_from_a_broken_backend() -> None:
    async with relaying() as rig:
        pair = await rig.link(tap=ImapTap())
        await pair.client.send(b"a9 LOGOUT\r\n")
        assert await pair.backend.hear(11) == b"a9 LOGOUT\r\n"
        await pair.backend.stream.aclose()
        assert await pair.client.hear_all() == b""
        assert pair.session.end is End.LOGOUT


@virtual_time
async def test_a_client_the_tap_cuts_off_is_closed() -> None:
    async with relaying() as rig:
        pair = await rig.link(tap=ImapTap())
        await pair.client.send(b"a1 NOOP\n\r\na2 UNAUTHENTICATE\r\n")
        assert await pair.client.hear_all() == b""
        assert b"UNAUTHENTICATE" not in await pair.backend.hear_all()
        assert pair.session.end is End.VIOLATION


class BrokenTap(ImapTap):
    """A tap with a fault of ours in it."""

    def feed(self, octets: bytes) -> bytes:
        raise ZeroDivisionError


@virtual_time
async def test_a_fault_of_ours_costs_only_its_own_session() -> None:
    async with relaying() as rig:
        faults: list[Exception] = []
        rig.relay.on_fault = lambda _session, error: faults.append(error)
        pair, other = await rig.link(tap=BrokenTap()), await rig.link()
        await pair.client.send(b"a1 NOOP\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await pair.client.hear(1)
        assert [type(fault) for fault in faults] == [ZeroDivisionError]
        assert rig.ended == [pair.session]
        await other.client.send(b"a1 NOOP\r\n")
        assert await other.backend.hear(9) == b"a1 NOOP\r\n"
