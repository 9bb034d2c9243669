"""Live frames: a test run of the kernel's that sends what the program redirects (Linux 5.18)."""

import array
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from pathlib import Path
from typing import Final

from bench.kernel.probe import ones_complement
from bench.workshop import BENCH, BUILD
from gatekeeper.kernel import libbpf
from gatekeeper.kernel.element import pack
from gatekeeper.kernel.xdp import OBJECT

_SOURCE: Final = Path(__file__).with_name("generator.bpf.c")
_LIVE_FRAMES: Final = 1 << 1  # BPF_F_TEST_XDP_LIVE_FRAMES
# struct bpf_test_run_opts: its own size, addresses and sizes of frame and context, in and out, then
# the verdict, how often, the mean duration, flags, CPU and how many frames at a time.
_OPTIONS: Final = struct.Struct("=QQQIIQQIIIiIIII")
_DURATION: Final = 11
_SYN: Final = 2
_SIOCETHTOOL: Final = 0x8946
_SIOCGIFHWADDR: Final = 0x8927
_ETHTOOL_SGRO: Final = 0x2C


def compiled(source: Path, target: Path) -> Path:
    """`target`, made by clang where it is older than its source. Raises `CalledProcessError`."""
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
        command = ["clang", "-O2", "-g", "-Wall", "-Werror", "-target", "bpf", include]
        subprocess.run([*command, "-c", str(source), "-o", str(target)], check=True)
    return target


def compiled_xdp() -> None:
    """The guard's own program, where a guard of this checkout looks for it."""
    compiled(BENCH.parent / "nft" / "gatekeeper_xdp.bpf.c", OBJECT)


class Generator:
    """SYNs from `sources` addresses, `first` and up, out of an interface of the calling thread's
    namespace. Raises `libbpf.BpfError`."""

    def __init__(self, interface: str, first: str, sources: int) -> None:
        self._object = libbpf.Object(compiled(_SOURCE, BUILD / "generator.bpf.o"))
        begin = int.from_bytes(pack(first), "big")
        index = socket.if_nametoindex(interface)
        self._object.set_constants(struct.pack("=III", index, begin, sources))
        self._object.load()
        self._program = self._object.program_fd("generate")

    def send(self, frame: bytes, count: int) -> None:
        """Send so many, from this thread's core, and return when they are on their way."""
        run_program(self._program, frame, count, _LIVE_FRAMES)

    @property
    def drop_fd(self) -> int:
        """The program that only drops."""
        return self._object.program_fd("drop")


def run_program(program_fd: int, frame: bytes, count: int, flags: int) -> int:
    """BPF_PROG_TEST_RUN; ns a run on average, without live frames."""
    data = ctypes.create_string_buffer(frame, len(frame))
    size = _OPTIONS.size
    fields = (size, ctypes.addressof(data), 0, len(frame), 0, 0, 0, 0, 0, 0, count, 0, flags, 0, 0)
    options = ctypes.create_string_buffer(_OPTIONS.pack(*fields), size)
    libbpf.call("test run", "bpf_prog_test_run_opts", program_fd, options)
    return int(_OPTIONS.unpack(options.raw)[_DURATION])


def syn(source: str, target: str, port: int, hardware: bytes) -> bytes:
    """A frame with a SYN in it, for the interface with this hardware address."""
    addresses = pack(source) + pack(target)
    fields = (40_000, port, 1, 0, 5 << 4, _SYN, 1024)
    tcp = struct.Struct("!HHIIBBHHH")
    bare = tcp.pack(*fields, 0, 0)
    checksum = ones_complement(addresses + struct.pack("!HH", 6, len(bare)) + bare)
    head = struct.Struct("!BBHHHBBH")
    ip = (4 << 4 | 5, 0, 20 + len(bare), 1, 0, 64, 6)
    whole = head.pack(*ip, ones_complement(head.pack(*ip, 0) + addresses)) + addresses
    return hardware + bytes(6) + struct.pack("!H", 0x0800) + whole + tcp.pack(*fields, checksum, 0)


def hardware_address(interface: str) -> bytes:
    """Of an interface in the calling thread's namespace."""
    with socket.socket() as sock:
        answer = fcntl.ioctl(sock, _SIOCGIFHWADDR, struct.pack("16s24x", interface.encode()))
    return bytes(answer[18:24])


def receive_frames(interface: str) -> None:
    """Have an end of a veth pair take frames without a program of its own: GRO does it."""
    value = array.array("I", [_ETHTOOL_SGRO, 1])
    request = struct.pack("16sQ16x", interface.encode(), value.buffer_info()[0])
    with socket.socket() as sock:
        fcntl.ioctl(sock, _SIOCETHTOOL, request)
