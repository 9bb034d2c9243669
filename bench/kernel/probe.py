"""When a host stops to answer an address: segments one after the other, each answered at once.

A segment that belongs to no connection, to a port that listens or not, is answered with a RST that
carries its number (RFC 9293 3.10.7). Over a veth pair the answer is there when the sending call
returns, or some microseconds later. So the first segment without an answer is the first that was
dropped, or refused in another way (fail2ban's action rejects with ICMP).
"""

import select
import socket
import struct
import time
from typing import Final

from gatekeeper.kernel.element import pack

_ANSWER_S: Final = 0.004  # a thousand times what an answer takes
_PAUSE_S: Final = 50e-6  # or the probe would take a core from the processes it watches
_PORT: Final = 40_000
_ACK: Final = 0x10
_HEADER: Final = struct.Struct("!HHIIBBHHH")
_AGREE: Final = 2  # in a row without an answer: one may be late


class Probe:
    """From one address to one port. Belongs to the namespace it was made in."""

    def __init__(self, source: str, target: str, port: int) -> None:
        self._source, self._target, self._port = pack(source), pack(target), port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        self._socket.bind((source, 0))
        self._socket.connect((target, 0))
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._number = 1

    def answered(self) -> bool:
        """Whether one segment is answered."""
        self._number += 1
        self._socket.send(self._segment(self._number))
        deadline = time.perf_counter() + _ANSWER_S
        while (left_s := deadline - time.perf_counter()) > 0:
            try:
                if self._poll.poll(left_s * 1e3) and self._is_answer(self._socket.recv(256)):
                    return True
            except ConnectionRefusedError:  # what an ICMP message becomes
                return False
        return False

    def until_silent(self, within_s: float) -> float:
        """Send until nothing comes back; when the first such segment went out, as `perf_counter`.

        Raises `TimeoutError`.
        """
        begun, silent = time.perf_counter(), 0
        first = begun
        while silent < _AGREE:
            sent = time.perf_counter()
            if self.answered():
                silent = 0
            else:
                first = first if silent else sent
                silent += 1
            if sent - begun > within_s:
                raise TimeoutError(f"still answered after {within_s} s")
            time.sleep(_PAUSE_S)
        return first

    def close(self) -> None:
        """No more segments."""
        self._socket.close()

    def _segment(self, number: int) -> bytes:
        fields = (_PORT, self._port, 0, number, 5 << 4, _ACK, 1024)
        pseudo = self._source + self._target + struct.pack("!HH", 6, _HEADER.size)
        checksum = ones_complement(pseudo + _HEADER.pack(*fields, 0, 0))
        return _HEADER.pack(*fields, checksum, 0)

    def _is_answer(self, packet: bytes) -> bool:
        """Raw sockets get the IP header too; the RST's sequence number is our acknowledgement."""
        segment = packet[(packet[0] & 15) * 4 :]
        source, target, sequence = struct.unpack_from("!HHI", segment)
        return (source, target, sequence) == (self._port, _PORT, self._number)


def ones_complement(octets: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of octets."""
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
