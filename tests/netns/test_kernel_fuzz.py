"""The privileged process against a guard that was taken over: whatever comes, it lives, answers in
the protocol's words and holds no more afterwards than before."""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import kernel_packets
import pytest
from hypothesis import HealthCheck, given, settings

from gatekeeper.enforce.spawn import KERNEL
from gatekeeper.kernel.main import PEERS_MAX
from gatekeeper.kernel.protocol import PACKET_MAX_OCTETS, VERSION, encode

from .namespace import Ns
from .test_kernel_hardened import child_of
from .test_kernel_process import connect

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]

ANSWER_S: Final = 20.0
SETTLED_S: Final = 10.0
GROWTH_KIB: Final = 16_384  # what the allocator may keep of the largest requests
HELLO: Final = encode({"verb": "hello", "id": 1})
EVENTS: Final = {"started", "rebuilt", "lifted", "added", "flood", "missed"}
ANSWERED: Final = {
    *("id", "error", "version", "xdp", "refused", "remaining_ms", "counters", "killed"),
    *("scope", "length", "records", "entries", "more"),
}


class Target:
    """A listening kernel process."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        self.path = path
        self.process = process
        self._talk = self.connect()
        self.child = child_of(process)

    def connect(self) -> socket.socket:
        """One more guard, that has been told that it is served."""
        sock = connect(self.path)
        sock.settimeout(ANSWER_S)
        assert json.loads(sock.recv(PACKET_MAX_OCTETS)) == {"event": "started"}
        return sock

    def answer(self, packet: bytes) -> dict[str, Any]:
        """What it says to one packet; events before it are looked at and passed over."""
        self._talk.send(packet)
        return answer(self._talk)

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.child}/fd"))

    def rss_kib(self) -> int:
        (line,) = (
            line
            for line in Path(f"/proc/{self.child}/status").read_text().splitlines()
            if line.startswith("VmRSS")
        )
        return int(line.split()[1])

    def lives(self) -> bool:
        """Whether it is still the first child, and answers."""
        return child_of(self.process) == self.child and self.answer(HELLO)["version"] == VERSION

    def settles_at(self, descriptors: int) -> bool:
        """Whether it lets go of what it holds more than these."""
        deadline = time.monotonic() + SETTLED_S
        while self.answer(HELLO) and self.descriptors() != descriptors:
            if time.monotonic() > deadline:
                return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._talk.close()
        self.process.terminate()
        assert self.process.wait(10) == 0


def answer(sock: socket.socket) -> dict[str, Any]:
    """The next packet that is an answer. All of them are sound."""
    while True:
        packet = sock.recv(2 * PACKET_MAX_OCTETS)
        assert 0 < len(packet) <= PACKET_MAX_OCTETS
        said: dict[str, Any] = json.loads(packet)
        if "event" not in said:
            assert said.keys() <= ANSWERED, said
            assert type(said["id"]) is int
            return said
        assert said["event"] in EVENTS


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    path = tmp_path / "kernel.sock"
    with Ns() as host, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen(2 * PEERS_MAX)
        fd = listener.fileno()
        command = [sys.executable, *KERNEL, "--fd", str(fd), "--peer-uid", str(os.getuid())]
        command += ["--ports-auth=993", "--ports-mx=25", "--never=192.0.2.0/30"]
        command += ["--dial=127.0.0.1@993,::1@993"]
        process = host.run(subprocess.Popen, command, pass_fds=[fd])
        listener.close()
        with Target(path, process) as made:
            yield made


@given(packet=kernel_packets.packets)
@settings(max_examples=1_500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_packet_has_one_sound_answer(target: Target, packet: bytes) -> None:
    target.answer(packet)


def test_a_long_run_of_packets_leaves_nothing_behind(target: Target) -> None:
    before, held = target.descriptors(), target.rss_kib()
    generator = random.Random(20_260_101)
    for number in range(3_000):
        target.answer(noise(generator, number))
    assert target.lives()
    assert target.settles_at(before)
    assert target.rss_kib() < held + GROWTH_KIB


def noise(generator: random.Random, number: int) -> bytes:
    """Octets, JSON's own octets, or a question with some octets changed."""
    match number % 3:
        case 0:
            return generator.randbytes(generator.randint(1, 400))
        case 1:
            return bytes(generator.choices(b'{}[]",:0123456789.eE-+\\untrfalsverbid ', k=120))
        case _:
            fields = {"verb": "ban", "id": number, "entries": [["198.51.100.7", 32, "mx", 60]]}
            packet = bytearray(encode(fields))
            for _ in range(generator.randint(0, 3)):
                packet[generator.randrange(len(packet))] = generator.randrange(256)
            return bytes(packet)


def test_packets_of_any_size_are_answered_and_not_kept(target: Target) -> None:
    held = target.rss_kib()
    for octets in (PACKET_MAX_OCTETS, PACKET_MAX_OCTETS + 1, PACKET_MAX_OCTETS + 2, 180_000):
        for filling in (b" ", b"[", b'"', b"9"):
            said = target.answer(filling * octets)
            large = octets > PACKET_MAX_OCTETS
            assert said["error"] == ("packet too large" if large else "not JSON") or filling == b"9"
    assert target.lives()
    assert target.rss_kib() < held + GROWTH_KIB


def test_descriptors_sent_to_it_are_closed(target: Target) -> None:
    before = target.descriptors()
    with target.connect() as sock, open("/dev/null", "rb") as null:
        for _ in range(200):
            socket.send_fds(sock, [HELLO], [null.fileno()] * 50)
            assert answer(sock)["version"] == VERSION
        assert target.descriptors() <= before + 1
    assert target.settles_at(before)


def test_who_asks_and_does_not_read_is_hung_up_on_and_nobody_else(target: Target) -> None:
    before = target.descriptors()
    listing = encode({"verb": "list", "start": True, "id": 2})
    entries = [[f"198.51.{n >> 8}.{n & 255}", 32, "mx", 600] for n in range(1_000)]
    assert "error" not in target.answer(encode({"verb": "ban", "id": 3, "entries": entries}))
    with contextlib.ExitStack() as stack:
        deaf = [stack.enter_context(target.connect()) for _ in range(10)]
        for sock in deaf:
            sock.settimeout(ANSWER_S)
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                ask_for_ever(sock, listing)
            assert target.lives()
    assert target.settles_at(before)


def ask_for_ever(sock: socket.socket, packet: bytes) -> None:
    while True:
        sock.send(packet)


def test_a_slow_reader_delays_nobody(target: Target) -> None:
    with target.connect() as slow:
        for number in range(20):
            slow.send(encode({"verb": "counters", "id": number}))
        begun = time.monotonic()
        assert target.lives()
        assert time.monotonic() - begun < ANSWER_S
        assert [answer(slow)["id"] for _ in range(20)] == list(range(20))


def test_half_dead_peers_are_let_go(target: Target) -> None:
    before = target.descriptors()
    for number in range(300):
        with target.connect() as sock:
            match number % 5:
                case 0:
                    sock.send(encode({"verb": "list", "start": True}))  # it holds a socket for it
                case 1:
                    sock.send(HELLO)  # and does not wait for the answer
                case 2:
                    sock.shutdown(socket.SHUT_WR)
                case 3:
                    sock.shutdown(socket.SHUT_RD)
                    with contextlib.suppress(OSError):
                        sock.send(HELLO)
                case _:
                    sock.send(b"")  # no packet at all
    assert target.lives()
    assert target.settles_at(before)


def test_more_peers_than_there_may_be_are_hung_up_on(target: Target) -> None:
    before = target.descriptors()
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(target.connect()) for _ in range(PEERS_MAX - 1)]
        for sock in peers:
            sock.send(encode({"verb": "list", "start": True}))
            assert "error" not in answer(sock)
        assert target.descriptors() <= 256
        for _ in range(20):
            with connect(target.path) as more:
                assert more.recv(100) == b""
        assert target.lives()
        assert all(answer(sock)["version"] == VERSION for sock in peers if sock.send(HELLO))
    assert target.settles_at(before)
    target.connect().close()
