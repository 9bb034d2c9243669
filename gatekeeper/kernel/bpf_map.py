"""Maps in the kernel: bans with their ends, and small tables.

A batch of updates is not atomic: a map that fills up keeps what came before. So room is looked for
first, and a ban that finds none changes nothing. The kernel does not tell how many a map holds;
`BanMap` knows a bound from above, which costs nothing, and looks closer only where that bound comes
near the map's size. It takes for granted that nobody else adds to the map.

Nobody takes out a ban that has run out; the program passes over it. `BanMap.sweep` does, piece by
piece, so that no other request waits for a walk over a million.
"""

import ctypes
import errno
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from gatekeeper.kernel.libbpf import BpfError, call

# A piece of a walk, some 10 ms; the kernel fills whole hash buckets, so it must hold the fullest.
PIECE: Final = 16_384
_EXPIRY_OCTETS: Final = 8
# A full map is swept for the sake of one request so often at most: others wait for it meanwhile.
_SWEPT_AGAIN_NS: Final = 10 * 10**9


class MapFull(Exception):
    """There is no room for some bans; nothing was changed."""


def read(fd: int, key: bytes, octets: int) -> bytes | None:
    """One value, of `octets` in all CPUs together; None where the key is not held."""
    value = ctypes.create_string_buffer(octets)
    try:
        call("reading a map", "bpf_map_lookup_elem", fd, key, value)
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return value.raw


def write(fd: int, key: bytes, value: bytes) -> None:
    """Set one value. Raises `BpfError` (E2BIG, ENOSPC: full)."""
    call("writing a map", "bpf_map_update_elem", fd, key, value, ctypes.c_uint64(0))


def erase(fd: int, key: bytes) -> None:
    """Take one key out; no error where it is not held."""
    try:
        call("erasing from a map", "bpf_map_delete_elem", fd, key)
    except BpfError as error:
        if error.errno != errno.ENOENT:
            raise


def keys(fd: int, octets: int) -> Iterator[bytes]:
    """The keys of a small map that nobody changes meanwhile, one call each."""
    last: bytes | None = None
    following = ctypes.create_string_buffer(octets)
    while True:
        try:
            call("walking a map", "bpf_map_get_next_key", fd, last, following)
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        last = following.raw
        yield last


class BanMap:
    """One map of bans: keys of `key_octets`, and when each ends in ns of CLOCK_MONOTONIC."""

    def __init__(self, name: str, fd: int, key_octets: int, entries_max: int) -> None:
        self.name = name
        self._fd = fd
        self._key_octets = key_octets
        self._entries_max = entries_max
        self._cursor: bytes | None = None  # where the walk of `sweep` is
        self._swept_ns = 0  # when a full map was last walked to its end
        self._seen = 0  # by this walk, and still held
        self._added = 0  # since this walk began
        self._held_at_most = 0

    def remaining_ns(self, key: bytes, now_ns: int) -> int | None:
        """What is left of a ban, None where there is none."""
        value = read(self._fd, key, _EXPIRY_OCTETS)
        left_ns = 0 if value is None else int.from_bytes(value, sys.byteorder) - now_ns
        return left_ns if left_ns > 0 else None

    def make_room(self, wanted: Sequence[bytes], now_ns: int) -> None:
        """See that these keys can be held. Raises `MapFull` and then has changed nothing."""
        if self._held_at_most + len(wanted) <= self._entries_max:
            return
        if self._held_at_most + self._new(wanted) <= self._entries_max:
            return
        if not self._swept_ns or now_ns - self._swept_ns > _SWEPT_AGAIN_NS:
            self._swept_ns = now_ns
            self._cursor = None
            self.sweep_all(now_ns)
        if (over := self._held_at_most + self._new(wanted) - self._entries_max) > 0:
            raise MapFull(
                f"XDP map {self.name} is full ({self._entries_max}): no room for {over} more"
            )

    def hold(self, wanted: Sequence[bytes], ends: bytes) -> None:
        """Hold these keys until these times, as `make_room` saw to. Raises `BpfError`: only where
        the kernel has no memory, or others write to the map; then some are held."""
        new = len(wanted)
        if self._held_at_most + new > self._entries_max:
            new = self._new(wanted)
        self._held_at_most += new
        self._added += new
        count = ctypes.c_uint32(len(wanted))
        call(
            f"filling {self.name}",
            "bpf_map_update_batch",
            *(self._fd, b"".join(wanted), ends, ctypes.byref(count), None),
        )

    def release(self, gone: Sequence[bytes]) -> None:
        """Let go of these keys, held or not."""
        for key in gone:
            erase(self._fd, key)

    def flush(self) -> None:
        """Let go of all."""
        self._cursor = None
        self.sweep_all(2**64 - 1)

    def sweep_all(self, now_ns: int) -> None:
        """As `sweep`, to the end of the map: half a second for a million."""
        while not self.sweep(now_ns):
            pass

    def sweep(self, now_ns: int) -> bool:
        """Take out what has run out of the next piece; whether that was the map's last."""
        if self._cursor is None:
            self._seen = self._added = 0
        found, ends, self._cursor = self._piece(self._cursor)
        last = self._cursor is None
        gone = [key for key, end in zip(found, ends, strict=True) if end <= now_ns]
        if gone:
            self._erase(gone)
        self._seen += len(found) - len(gone)
        if last:
            self._held_at_most = self._seen + self._added
        return last

    def held(self) -> Iterator[list[tuple[bytes, int]]]:
        """Keys and ends, a piece at a time, those that have run out included. What is added or
        taken out meanwhile may be seen or not; the rest is seen."""
        cursor: bytes | None = None
        while True:
            found, ends, cursor = self._piece(cursor)
            yield list(zip(found, ends, strict=True))
            if cursor is None:
                return

    def _new(self, wanted: Sequence[bytes]) -> int:
        return sum(read(self._fd, key, _EXPIRY_OCTETS) is None for key in wanted)

    def _piece(self, cursor: bytes | None) -> tuple[list[bytes], tuple[int, ...], bytes | None]:
        """Keys and ends from `cursor` on (None: the beginning); where the next piece begins."""
        width = self._key_octets
        found = ctypes.create_string_buffer(PIECE * width)
        ends = ctypes.create_string_buffer(PIECE * _EXPIRY_OCTETS)
        following = ctypes.create_string_buffer(max(width, 4))
        count = ctypes.c_uint32(PIECE)
        beyond: bytes | None = None
        try:
            call(
                f"walking {self.name}",
                "bpf_map_lookup_batch",
                *(self._fd, cursor, following, found, ends, ctypes.byref(count), None),
            )
            beyond = following.raw
        except BpfError as error:
            if error.errno != errno.ENOENT:  # which is the end
                raise
        octets = found.raw
        split = [octets[at : at + width] for at in range(0, count.value * width, width)]
        return split, struct.unpack_from(f"={count.value}Q", ends), beyond

    def _erase(self, gone: Sequence[bytes]) -> None:
        """One call for all; a key that is gone already ends a batch, and is stepped over."""
        done = 0
        while done < len(gone):
            count = ctypes.c_uint32(len(gone) - done)
            octets = b"".join(gone[done:])
            try:
                call(
                    f"sweeping {self.name}",
                    *("bpf_map_delete_batch", self._fd, octets, ctypes.byref(count), None),
                )
            except BpfError as error:
                if error.errno != errno.ENOENT:
                    raise
                count.value += 1
            done += count.value
