"""What KernelClient makes of a kernel process that is slow, gone or out of its mind.

The process here is a task that says what it is told to; the real one is in `tests/netns/`.
"""

import array
import json
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import trio
import trio.testing
from contracts.enforcer import ADDRESS, NOW, ban
from enforcer_news import Told

from gatekeeper.abc import BanChange, HeldBan, Lift
from gatekeeper.ban import Scope
from gatekeeper.enforce.kernel_client import ROUND_TRIP_S, KernelClient
from gatekeeper.errors import EnforcerError
from gatekeeper.prefix import Prefix

Question = dict[str, Any]
Socket = socket.socket


@dataclass
class Process:
    """The other end of the socket: reads questions, answers when told."""

    socket: trio.socket.SocketType
    client: KernelClient
    told: Told

    async def question(self) -> Question:
        """The next question."""
        question: Question = json.loads(await self.socket.recv(65_536))
        return question

    async def say(self, packet: bytes) -> None:
        """Any octets as a packet."""
        await self.socket.send(packet)

    async def pass_on(self, packet: bytes, passed: Socket) -> None:
        """A packet with a socket, which is closed here."""
        rights = array.array("i", [passed.fileno()])
        await self.socket.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        passed.close()

    async def answer(self, **fields: object) -> Question:
        """Answer the next question with these fields; the question."""
        question = await self.question()
        await self.say(json.dumps({"id": question["id"], **fields}).encode())
        return question


@pytest.fixture
async def process(nursery: trio.Nursery) -> AsyncIterator[Process]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    with trio.socket.from_stdlib_socket(theirs) as other_end:
        told = Told()
        client = KernelClient(ours)
        nursery.start_soon(client.run, told)
        yield Process(other_end, client, told)
        await client.aclose()


async def both(process: Process, **answer: object) -> tuple[Question, float | None]:
    """Ask for one ban's time, answered with these fields: the question, and what came of it."""
    left: list[float | None] = []

    async def ask() -> None:
        left.append(await process.client.remaining_s(ADDRESS, Scope.AUTH))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        question = await process.answer(**answer)
    return question, left[0]


async def test_a_question_names_the_ban_and_the_answer_is_in_seconds(process: Process) -> None:
    question, left = await both(process, remaining_ms=1500)
    assert question == {"id": 1, "verb": "get", "entry": ["192.0.2.7", 32, "auth"]}
    assert left == 1.5
    assert (await both(process, remaining_ms=None))[1] is None


async def test_a_mixed_list_is_one_question(process: Process) -> None:
    async with trio.open_nursery() as nursery:
        changes: list[BanChange] = [
            ban(seconds=59.5),
            Lift(Prefix.parse("2001:db8::/48"), Scope.MX),
        ]
        nursery.start_soon(process.client.apply, changes, NOW)
        question = await process.answer()
    assert question == {
        "id": 1,
        "verb": "ban",
        "entries": [["192.0.2.7", 32, "auth", 60]],
        "lift": [["2001:db8::", 48, "mx"]],
    }


async def test_a_long_list_is_cut_into_packets_and_stops_at_the_first_failure(
    process: Process,
) -> None:
    changes = [ban(Prefix(bytes([10, 0, i >> 8, i & 255]), 32)) for i in range(6000)]

    async def apply() -> None:
        with pytest.raises(EnforcerError, match="set is full"):
            await process.client.apply(changes, NOW)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(apply)
        first = await process.answer()
        second = await process.answer(error="set is full")
    assert {key: first[key] for key in ("verb", "scope", "length", "replace")} == {
        "verb": "put",
        "scope": "auth",
        "length": 32,
        "replace": True,
    }
    assert first["records"].startswith("0a0000000000" + "0258" + "0a000001")
    assert [len(first["records"]), len(second["records"])] == [2500 * 16, 2500 * 16]


async def test_a_long_list_lifts_first_and_then_puts_set_by_set(process: Process) -> None:
    changes: list[BanChange] = [ban(Prefix(bytes([10, 0, 0, i]), 32)) for i in range(70)]
    changes += [ban("2001:db8::/64", scope=Scope.MX), Lift(ADDRESS, Scope.AUTH)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.client.apply, changes, NOW)
        lifted, first, second = [await process.answer() for _ in range(3)]
    assert (lifted["entries"], lifted["lift"]) == ([], [["192.0.2.7", 32, "auth"]])
    assert (first["scope"], first["length"], len(first["records"])) == ("auth", 32, 70 * 16)
    assert (second["scope"], second["length"]) == ("mx", 64)
    assert second["records"] == "20010db800000000" + "00000258"


async def test_a_fill_leaves_out_what_has_ended_and_what_is_held_its_time(process: Process) -> None:
    other = Prefix.parse("192.0.2.8")
    ends = [(ADDRESS, Scope.AUTH, NOW + 1.5), (other, Scope.AUTH, NOW)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.client.fill, ends, NOW)
        asked = await process.answer()
    assert (asked["replace"], asked["records"]) == (False, "c0000207" + "00000002")


async def test_owners_are_told_of_refusals(process: Process) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.client.apply, [ban()], NOW)
        await process.answer(refused=[["192.0.2.7", 32, "auth"]])
    assert process.told.refusals == [("192.0.2.7", Scope.AUTH)]


async def test_owners_are_told_what_the_process_says_unasked(process: Process) -> None:
    for event in (
        {"event": "rebuilt"},
        {"event": "missed"},
        {"event": "lifted", "entries": [["192.0.2.7", 32, "auth"]]},
        {"event": "added", "entries": [["2001:db8::", 64, "mx", 1500]]},
        {"event": "flood", "sources": ["192.0.2.9", "2001:db8::9"]},
    ):
        await process.say(json.dumps(event).encode())
    await both(process, remaining_ms=1)  # behind them
    told = process.told
    assert (told.times_rebuilt, told.times_doubtful) == (1, 1)
    assert told.lifts == [("192.0.2.7", Scope.AUTH)]
    assert told.additions == [HeldBan(Prefix.parse("2001:db8::/64"), Scope.MX, 1.5)]
    assert told.floods == ["192.0.2.9", "2001:db8::9"]


async def test_a_process_started_anew_has_no_answer_to_what_was_asked_before(
    process: Process,
) -> None:
    async def ask() -> None:
        with pytest.raises(EnforcerError, match="started anew"):
            await process.client.hello()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await process.question()
        await process.say(b'{"event":"started"}')
    assert process.told.times_doubtful == 1
    assert (await both(process, remaining_ms=7000))[1] == 7.0


async def test_a_late_answer_is_not_taken_for_the_next(process: Process) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.client.remaining_s, ADDRESS, Scope.AUTH)
        late = await process.question()
        nursery.cancel_scope.cancel()
    await process.say(json.dumps({"id": late["id"], "remaining_ms": 1}).encode())
    assert (await both(process, remaining_ms=7000))[1] == 7.0


async def test_no_answer_is_an_error_in_time(
    process: Process, autojump_clock: trio.testing.MockClock
) -> None:
    started = trio.current_time()
    with pytest.raises(EnforcerError):
        await process.client.hello()
    assert trio.current_time() - started == pytest.approx(ROUND_TRIP_S)


@pytest.mark.parametrize(
    "packet",
    [
        b"{",
        b"\xff",
        b"[]",
        b"1",
        b"{}",
        b'{"id":1}',
        b'{"id":1,"remaining_ms":"soon"}',
        b'{"id":1,"error":"no"}',
        b'{"event":"dinner"}',
        b'{"event":"lifted"}',
        b'{"event":"lifted","entries":[["192.0.2.7"]]}',
        b'{"event":"flood","sources":["nowhere"]}',
    ],
)
async def test_an_answer_without_sense_is_an_error(process: Process, packet: bytes) -> None:
    async def ask() -> None:
        with pytest.raises(EnforcerError):
            await process.client.remaining_s(ADDRESS, Scope.AUTH)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await process.question()
        await process.say(packet)


async def test_a_process_that_ends_is_an_error_now_and_later(process: Process) -> None:
    process.socket.close()
    calls: list[Callable[[], Any]] = [
        process.client.hello,
        process.client.held,
        process.client.dropped,
        lambda: process.client.apply([ban()], NOW),
        lambda: process.client.reload([], []),
        lambda: process.client.kill([(ADDRESS, Scope.AUTH)]),
    ]
    for call in calls:
        with pytest.raises(EnforcerError):
            await call()


async def test_a_closed_client_raises_and_may_be_closed_again(process: Process) -> None:
    await process.client.aclose()
    with pytest.raises(EnforcerError):
        await process.client.hello()


async def test_a_dial_is_a_socket_that_came_with_the_answer(process: Process) -> None:
    dialled: list[socket.socket] = []

    async def dial() -> None:
        dialled.append(await process.client.dial(0, "192.0.2.7", 1025))

    ours, theirs = socket.socketpair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        question = await process.question()
        await process.pass_on(json.dumps({"id": question["id"]}).encode(), theirs)
    assert question == {
        "id": 1,
        "verb": "dial",
        "target": 0,
        "source": "192.0.2.7",
        "port": 1025,
    }
    with ours, dialled[0] as passed:
        passed.sendall(b"hello")
        assert ours.recv(5) == b"hello"


async def test_a_socket_nobody_waits_for_is_closed(process: Process) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(5.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.client.dial, 0, "192.0.2.7", 1025)
        late = await process.question()
        nursery.cancel_scope.cancel()
    await process.pass_on(json.dumps({"id": late["id"] - 1}).encode(), theirs)
    await both(process, remaining_ms=7000)
    with ours:
        assert ours.recv(1) == b""


async def test_a_dial_without_a_socket_makes_no_sense(process: Process) -> None:
    async def dial() -> None:
        with pytest.raises(EnforcerError, match="sense"):
            await process.client.dial(0, "192.0.2.7", 1025)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        await process.answer()


async def test_a_listing_is_read_to_its_end(process: Process) -> None:
    held: list[object] = []

    async def ask() -> None:
        held.extend(await process.client.held())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        first = await process.answer(scope="auth", length=32, records="c0000207000007d0", more=True)
        again = await process.answer(scope="auth", length=32, records="c0000207000003e8", more=True)
        await process.answer(scope="mx", length=64, records="20010db800000000000001f4", more=True)
        await process.answer(more=False)
    assert (first["start"], again["start"]) == (True, False)
    assert held == [
        HeldBan(ADDRESS, Scope.AUTH, 1.0),
        HeldBan(Prefix.parse("2001:db8::/64"), Scope.MX, 0.5),
    ]
