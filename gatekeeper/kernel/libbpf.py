"""libbpf 1 by ctypes: objects, links and pins. What is done with maps is in `bpf_map`.

libbpf reads the object file, makes its maps and loads its program; the rest of what is used here
are thin wrappers of bpf(2) that know each command's shape. What it would print to stderr becomes
the text of the exception.
"""

import contextlib
import ctypes
import errno
import functools
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

BPF_XDP: Final = 37  # enum bpf_attach_type
NATIVE: Final = 1 << 2  # XDP_FLAGS_DRV_MODE
GENERIC: Final = 1 << 1  # XDP_FLAGS_SKB_MODE
_ATTACHED_NATIVE: Final = 1  # enum in <linux/if_link.h>: XDP_ATTACHED_DRV
_LINK_TYPE_XDP: Final = 6  # enum bpf_link_type
_WARNING: Final = 0  # enum libbpf_print_level
_WARNINGS_MAX: Final = 2  # the first say why
_WARNING_OCTETS: Final = 300
_INFO_OCTETS: Final = 256  # longer than any of the kernel's info records that are read here
_LINK_INFO: Final = struct.Struct("=III4xI")  # type, id, program's id, ifindex
_PROGRAM_INFO: Final = struct.Struct("=II56x16s")  # type, id, name
_MAP_INFO: Final = struct.Struct("=I4xIIII")  # type, sizes of key and value, entries, flags
_LINK_OPTIONS: Final = struct.Struct("=QI4x")  # its own size, flags
_QUERY: Final = struct.Struct("=QIIIIB7x")  # its own size, ids of four kinds, mode

_Print = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_warnings: list[str] = []


class BpfError(Exception):
    """What the kernel or libbpf refused, in one line; `errno` as the kernel has it."""

    def __init__(self, what: str, number: int, done: int = 0) -> None:
        reason = "; ".join(_warnings) or os.strerror(number)
        super().__init__(f"{what}: {reason}" if what else reason)
        self.errno = number
        self.done = done  # of a batch: how many were done before


class Shape(NamedTuple):
    """What a pinned map must share with the one in the object, to be used in its place."""

    type: int
    key_octets: int
    value_octets: int
    entries_max: int
    flags: int


class LinkInfo(NamedTuple):
    """A link: its program's id, and the interface it is on: 0 where that is gone."""

    is_xdp: bool
    program_id: int
    ifindex: int


class Attached(NamedTuple):
    """What is on an interface: the ids of its programs, empty where there is none."""

    program_ids: frozenset[int]
    native: bool


@functools.cache
def library() -> ctypes.CDLL:
    """The library, silent. Raises `BpfError` (ENOENT) where it is not installed."""
    try:
        lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError:
        raise BpfError("libbpf.so.1 is missing (Debian: libbpf1)", errno.ENOENT) from None
    pointer = ctypes.c_void_p
    lib.libbpf_set_print.argtypes = [_Print]
    lib.libbpf_set_print.restype = pointer
    lib.bpf_object__open_file.restype = pointer
    lib.bpf_object__find_map_by_name.restype = pointer
    lib.bpf_object__find_program_by_name.restype = pointer
    lib.bpf_map__initial_value.restype = pointer
    for entries in (lib.bpf_map__max_entries, lib.bpf_map__map_flags):
        entries.restype = ctypes.c_uint32
    lib.libbpf_set_print(_note)
    return lib


def _keep(level: int, form: int, arguments: int) -> int:
    """Keep one of libbpf's warnings. A `va_list` argument is a pointer on all machines we know."""
    if level == _WARNING and len(_warnings) < _WARNINGS_MAX:
        buffer = ctypes.create_string_buffer(_WARNING_OCTETS)
        vsnprintf = ctypes.CDLL(None).vsnprintf
        vsnprintf(
            buffer,
            ctypes.c_size_t(_WARNING_OCTETS),
            ctypes.c_void_p(form),
            ctypes.c_void_p(arguments),
        )
        text = buffer.value.decode(errors="replace").removeprefix("libbpf: ")
        _warnings.append(" ".join(text.split()))
    return 0


_note: Final = _Print(_keep)  # kept here, for libbpf keeps only its address


def call(what: str, name: str, *arguments: object) -> int:
    """Call a function that answers with a number. Raises `BpfError` where that is negative."""
    function = getattr(library(), name)
    _warnings.clear()
    ctypes.set_errno(0)
    answer = int(function(*arguments))
    if answer < 0:
        raise BpfError(what, ctypes.get_errno() or -answer)
    return answer


class Object:
    """An object file: first opened, then, with its maps chosen, loaded. Holds descriptors."""

    def __init__(self, path: Path) -> None:
        """Read it. Raises `BpfError`."""
        lib = library()
        _warnings.clear()
        ctypes.set_errno(0)
        opened = lib.bpf_object__open_file(os.fsencode(path), None)
        if not opened:
            raise BpfError(path.name, ctypes.get_errno())
        self._object = ctypes.c_void_p(opened)

    def set_constants(self, data: bytes) -> None:
        """Fill `.rodata`, which must be just so long. Raises `BpfError`."""
        length = ctypes.c_size_t(len(data))
        call("constants", "bpf_map__set_initial_value", self._map(".rodata"), data, length)

    def shape(self, name: str) -> Shape:
        """What a map will be made like."""
        numbers = ("type", "key_size", "value_size", "max_entries", "map_flags")
        found = self._map(name)
        return Shape(*(call(name, f"bpf_map__{number}", found) for number in numbers))

    def reuse(self, name: str, fd: int) -> None:
        """Load with this map in place of a new one; `fd` stays the caller's."""
        call(name, "bpf_map__reuse_fd", self._map(name), fd)

    def load(self) -> None:
        """Make the maps, have the program verified. Raises `BpfError`; then close it."""
        call("", "bpf_object__load", self._object)

    def map_fd(self, name: str) -> int:
        """A loaded map's descriptor, good until `close`."""
        return call(name, "bpf_map__fd", self._map(name))

    def program_fd(self, name: str) -> int:
        """The loaded program's descriptor, good until `close`."""
        found = library().bpf_object__find_program_by_name(self._object, name.encode())
        if not found:
            raise BpfError(f"{name} is not in the object", errno.ENOENT)
        return call(name, "bpf_program__fd", ctypes.c_void_p(found))

    def close(self) -> None:
        """Let go of maps and program; those pinned or attached stay in the kernel."""
        library().bpf_object__close(self._object)

    def _map(self, name: str) -> ctypes.c_void_p:
        found = library().bpf_object__find_map_by_name(self._object, name.encode())
        if not found:
            raise BpfError(f"{name} is not in the object", errno.ENOENT)
        return ctypes.c_void_p(found)


def link_create(program_fd: int, ifindex: int, mode: int) -> int:
    """Attach to an interface of this thread's namespace; the link's descriptor, which holds it."""
    options = _LINK_OPTIONS.pack(_LINK_OPTIONS.size, mode)
    return call("attaching", "bpf_link_create", program_fd, ifindex, BPF_XDP, options)


def link_update(link_fd: int, program_fd: int) -> None:
    """Swap the program; no packet goes by unseen. Raises `BpfError` (ENOLINK: interface gone)."""
    call("swapping the program", "bpf_link_update", link_fd, program_fd, None)


def link_detach(link_fd: int) -> None:
    """Take it off its interface, whoever holds it. Raises `BpfError`."""
    call("detaching", "bpf_link_detach", link_fd)


def link_info(fd: int) -> LinkInfo:
    """Raises `BpfError`."""
    kind, _, program_id, ifindex = _LINK_INFO.unpack_from(_info(fd))
    return LinkInfo(kind == _LINK_TYPE_XDP, program_id, ifindex)


def map_shape(fd: int) -> Shape:
    """Raises `BpfError`, also where the descriptor is no map's."""
    return Shape(*_MAP_INFO.unpack_from(_info(fd)))


def program_name(program_id: int) -> str:
    """The first 15 octets of a loaded program's name; empty where it is gone."""
    with contextlib.suppress(BpfError):
        fd = call("", "bpf_prog_get_fd_by_id", program_id)
        try:
            name: bytes = _PROGRAM_INFO.unpack_from(_info(fd))[2]
            return name.rstrip(b"\x00").decode(errors="replace")
        finally:
            os.close(fd)
    return ""


def attached(ifindex: int) -> Attached:
    """What XDP programs an interface of this thread's namespace has. Raises `BpfError`."""
    record = ctypes.create_string_buffer(_QUERY.pack(_QUERY.size, 0, 0, 0, 0, 0), _QUERY.size)
    call("looking at the interface", "bpf_xdp_query", ifindex, 0, record)
    _, *ids, mode = _QUERY.unpack(record.raw)
    return Attached(frozenset(ids) - {0}, mode == _ATTACHED_NATIVE)


def pin(fd: int, path: Path) -> None:
    """Give a map or link a name in a bpffs, which keeps it. Raises `BpfError` (EEXIST)."""
    call(f"pinning {path}", "bpf_obj_pin", fd, os.fsencode(path))


def get(path: Path) -> int:
    """A descriptor of what is pinned there. Raises `BpfError`."""
    return call(str(path), "bpf_obj_get", os.fsencode(path))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """As `get`, closed at the end."""
    fd = get(path)
    try:
        yield fd
    finally:
        os.close(fd)


def _info(fd: int) -> bytes:
    record = ctypes.create_string_buffer(_INFO_OCTETS)
    length = ctypes.c_uint32(_INFO_OCTETS)
    call("info", "bpf_obj_get_info_by_fd", fd, record, ctypes.byref(length))
    return record.raw
