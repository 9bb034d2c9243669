"""The nfnetlink socket: bans in and out of the kernel, and what it counted.

`send()` runs the whole transaction in the kernel before it returns, so every answer is queued by
then and is read without waiting; "non-blocking" would change nothing. One acknowledgement is asked
for a batch, so the receive buffer cannot overflow.
"""

import errno
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from gatekeeper.kernel import messages
from gatekeeper.kernel.element import SETS, Element

_NETLINK_NETFILTER: Final = 12
_SOL_NETLINK: Final = 270
_NETLINK_CAP_ACK: Final = 10  # errors come without a copy of what was sent
_SO_SNDBUFFORCE: Final = 32
# A full request, three times its elements at 40 octets and the kernel's own overhead, is well
# within; the default (about 200 KiB) ends at some 7,000 elements with EMSGSIZE.
_SEND_BUFFER_OCTETS: Final = 4 * 2**20
# The kernel fills dump datagrams up to what the reader offers, and 32 KiB at most: some 800
# elements, so a datagram's worth always fits one packet of the protocol.
_RECEIVE_OCTETS: Final = 32_768
_REPLY_TIMEOUT_S: Final = 5  # everything is queued already: only a kernel fault ends here


class KernelRefused(Exception):
    """The kernel undid a transaction; `errno` says why."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.errno = number


class TableGone(KernelRefused):
    """The table, or one of its sets, is not there: somebody flushed the ruleset."""


class Nfnetlink:
    """One netlink socket. Belongs to the network namespace it was made in."""

    def __init__(self) -> None:
        self._socket = _open()
        self._sequence = 0

    def change(self, seconds: Mapping[Element, int], lifts: Iterable[Element] = ()) -> None:
        """Hold the elements of `seconds` for so long from now and let go of `lifts`, as one
        transaction. Replaces the time of what is held; lifting what is not held is no error.

        Raises `TableGone` (ENOENT) and `KernelRefused` (ENFILE: a set is full; elements of the
        running transaction count twice, those that ran out a moment ago still once). Then nothing
        was changed.
        """
        gone = tuple(lifts)
        if not seconds and not gone:
            return
        sequence = self._next()
        self._send(messages.change(seconds, gone, sequence))
        for _ in self._answers(sequence):
            return

    def put(self, name: str, records: Sequence[tuple[bytes, int]], *, replace: bool) -> None:
        """Hold `records` of one set, each a packed key and its seconds, as one transaction; see
        `messages.put`. Raises as `change` does."""
        if not records:
            return
        sequence = self._next()
        self._send(messages.put(name, records, replace, sequence))
        for _ in self._answers(sequence):
            return

    @property
    def port(self) -> int:
        """This socket's address: what the kernel says of whoever changed something."""
        return int(self._socket.getsockname()[0])

    def set_names(self) -> list[str]:
        """The sets of the table. Raises `KernelRefused`."""
        sequence = self._next()
        self._send(messages.sets(sequence))
        answers = self._answers(sequence)
        return [messages.read_name(each.body) for each in answers if each.type == messages.NEW_SET]

    def rules(self) -> int:
        """How many rules the table has. Raises `KernelRefused`."""
        sequence = self._next()
        self._send(messages.rules(sequence))
        return sum(each.type == messages.NEW_RULE for each in self._answers(sequence))

    def remaining_ms(self, element: Element) -> int | None:
        """Milliseconds left of one element, None where it is not held. About 25 µs at any size."""
        sequence = self._next()
        self._send(messages.get(element, sequence))
        try:
            for answer in self._answers(sequence):
                if answer.type == messages.NEW_ELEMENTS:
                    return messages.read_elements(answer.body)[0][1]
        except TableGone:  # the same ENOENT for a missing element
            return None
        return None

    def counters(self) -> dict[str, tuple[int, int]]:
        """Packets and octets of every named counter; empty where the table is gone."""
        sequence = self._next()
        self._send(messages.counters(sequence))
        found = {}
        for answer in self._answers(sequence):
            if answer.type == messages.NEW_OBJECT:
                name, packets, octets = messages.read_counter(answer.body)
                found[name] = (packets, octets)
        return found

    def check(self) -> None:
        """Raises `TableGone` where the table is not there."""
        sequence = self._next()
        self._send(messages.table(sequence))
        for _ in self._answers(sequence):
            return

    def close(self) -> None:
        """Let go of the socket; what the kernel holds stays."""
        self._socket.close()

    def _next(self) -> int:
        self._sequence = self._sequence % 0xFFFF_FFFF + 1
        return self._sequence

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise KernelRefused(error.errno or errno.EIO) from error

    def _answers(self, sequence: int) -> Iterator[messages.Message]:
        """Answers to `sequence` up to its end; the acknowledgement is one. Raises on an error."""
        while True:
            for answer in self._receive():
                if answer.sequence != sequence:
                    continue  # the rest of an earlier batch's errors
                if answer.type in {messages.NLMSG_ERROR, messages.NLMSG_DONE}:
                    _raise_for(answer.errno)
                    if answer.type == messages.NLMSG_ERROR:
                        yield answer
                    return
                yield answer

    def _receive(self) -> list[messages.Message]:
        try:
            return list(messages.messages(self._socket.recv(_RECEIVE_OCTETS)))
        except OSError as error:
            raise KernelRefused(error.errno or errno.ETIMEDOUT) from error


class Page(NamedTuple):
    """Some of what one set holds: packed keys with their milliseconds left."""

    scope: str
    length: int
    records: list[tuple[bytes, int]]


class Dump:
    """All that is held, a datagram at a time, on a socket of its own.

    Bans go on between two pages. What changes meanwhile may be seen or not, and a growing set may
    show an element twice; what stays is seen unless the kernel resizes the table under the walk.
    (`nft list` starts again at each change instead, and never ends under load.)
    """

    def __init__(self) -> None:
        self._link = Nfnetlink()
        self._pages = self._read()

    def page(self) -> Page | None:
        """Some of what is held; None at the end. Raises `KernelRefused`."""
        return next(self._pages, None)

    def close(self) -> None:
        """Give up."""
        self._link.close()

    def _read(self) -> Iterator[Page]:
        for name in SETS:
            yield from self._read_set(name)

    def _read_set(self, name: str) -> Iterator[Page]:
        link = self._link
        sequence = link._next()
        link._send(messages.dump(name, sequence))
        while True:
            records: list[tuple[bytes, int]] = []
            done = False
            for answer in link._receive():
                if answer.sequence != sequence:
                    continue
                if answer.type == messages.NEW_ELEMENTS:
                    records += messages.read_records(answer.body)
                elif answer.type in {messages.NLMSG_ERROR, messages.NLMSG_DONE}:
                    _raise_for(answer.errno)
                    done = True
            if records:
                yield Page(*SETS[name], records)
            if done:
                return


def _open() -> socket.socket:
    link = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
    )
    try:
        link.bind((0, 0))
        link.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        _widen(link)
        link.settimeout(_REPLY_TIMEOUT_S)
    except OSError as error:
        link.close()
        raise KernelRefused(error.errno or errno.EIO) from error
    return link


def _widen(link: socket.socket) -> None:
    """Room for a whole batch. Past the system's limit that takes CAP_NET_ADMIN on the host: in a
    container of its own user namespace the limit has to do, and does for a packet's 1000 bans."""
    try:
        link.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER_OCTETS)
    except PermissionError:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_OCTETS)


def _raise_for(number: int) -> None:
    if number == errno.ENOENT:
        raise TableGone(number)
    if number:
        raise KernelRefused(number)
