"""A process that filters its own calls as the privileged process does, or forbids itself the file
system, and then asks for what it must not have. `test_kernel_filtering` runs it; it prints JSON.

Each thing is tried by a child of its own, for some are killed for it.
"""

import ctypes
import json
import mmap
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from gatekeeper.kernel import landlock, seccomp
from gatekeeper.kernel.filtering import FATAL, Needs, Stage
from gatekeeper.kernel.syscalls import MACHINES, NUMBERS, number

libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_NO_NEW_PRIVS = 38
_X32 = 0x4000_0000
_TIOCSTI = 0x5412
_CLONE_VM_AND_THREAD = 0x0001_0100


def call(name: str, *arguments: int | bytes) -> None:
    """A system call by its name. Raises `OSError`."""
    wanted = number(name, MACHINES[os.uname().machine])
    assert wanted is not None
    raw(wanted, *arguments)


def raw(wanted: int, *arguments: int | bytes) -> None:
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    if libc.syscall(ctypes.c_long(wanted), *wide) == -1:
        raise OSError(ctypes.get_errno(), "")


def calling(name: str) -> Callable[[], object]:
    return lambda: call(name, 0, 0, 0, 0, 0)


def fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def make_executable() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)


def open_with(flags: int) -> Callable[[], object]:
    return lambda: os.open("/tmp", flags)


def a_socket(family: int, protocol: int = 0) -> Callable[[], object]:
    kind = socket.SOCK_RAW if family != socket.AF_UNIX else socket.SOCK_STREAM
    return lambda: socket.socket(family, kind, protocol).close()


TRIED: dict[str, Callable[[], object]] = {
    **{name: calling(name) for name in (*FATAL, "bpf")},
    "x32": lambda: raw(_X32 | NUMBERS["getpid"][0]),
    "fork": fork,
    "thread": lambda: call("clone", _CLONE_VM_AND_THREAD, 0, 0, 0, 0),
    "run a program": lambda: os.execv("/bin/true", ["true"]),
    "write a file": open_with(os.O_WRONLY),
    "update a file": open_with(os.O_RDWR),
    "make a file": open_with(os.O_CREAT),
    "empty a file": open_with(os.O_TRUNC),
    "make a file without a name": open_with(os.O_TMPFILE),
    "rename": lambda: os.rename("/tmp/a", "/tmp/b"),
    "unlink": lambda: os.unlink("/tmp/a"),
    "chmod": lambda: os.chmod("/tmp/a", 0),
    "make code": make_executable,
    "make memory code": lambda: call("mprotect", 0, 4096, mmap.PROT_READ | mmap.PROT_EXEC),
    "AF_PACKET": a_socket(socket.AF_PACKET),
    "AF_UNIX": a_socket(socket.AF_UNIX),
    "AF_INET": a_socket(socket.AF_INET),
    "generic netlink": a_socket(socket.AF_NETLINK, 16),
    "connect": lambda: call("connect", 0, b"", 0),
    "kill": lambda: os.kill(os.getpid(), 0),
    "TIOCSTI": lambda: call("ioctl", 0, _TIOCSTI, 0),
    "prctl": lambda: call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
    "capset": lambda: call("capset", 0, 0),
    "prlimit64": lambda: call("prlimit64", 0, 0, 0, 0),
    # And what must go on working.
    "read a file": lambda: Path("/etc/passwd").read_text(),
    "netfilter": a_socket(socket.AF_NETLINK, 12),
    "sock_diag": a_socket(socket.AF_NETLINK, 4),
    "memory": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE),
}


def attempt(action: Callable[[], object], prepare: Callable[[], object]) -> str:
    """What became of a child that did it: "ok", the errno's name, or the signal's."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        prepare()
        try:
            action()
            outcome = "ok"
        except OSError as error:
            outcome = str(error.errno)
        os.write(writer, outcome.encode())
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(reader) as told:
        text = told.read()
    code = os.waitstatus_to_exitcode(status)
    return signal.Signals(-code).name if code < 0 else text


def confined() -> None:
    """Landlock, as it is without XDP, and no filter."""
    missing = landlock.restrict(landlock.paths(Path(landlock.__file__).parents[1], pins=False))
    assert not missing, missing


def main() -> None:
    """`filter STAGE` or `landlock DIRECTORY`."""
    if sys.argv[1] == "filter":
        stage = Stage(sys.argv[2])
        outcomes = {
            name: attempt(action, lambda: seccomp.install(stage, Needs()))
            for name, action in TRIED.items()
        }
    else:
        inside = Path(sys.argv[2])
        actions: dict[str, Callable[[], object]] = {
            "read the library": lambda: Path(os.__file__).read_bytes(),
            "read the ruleset": lambda: os.listdir(Path(landlock.__file__).parents[2] / "nft"),
            "read passwords": lambda: Path("/etc/shadow").read_bytes(),
            "read what is there": (inside / "there").read_bytes,
            "list": lambda: os.listdir(inside),
            "write": lambda: (inside / "there").write_bytes(b""),
            "make": (inside / "new").touch,
            "remove": (inside / "there").unlink,
            "run a program": lambda: os.execv("/bin/true", ["true"]),
        }
        outcomes = {name: attempt(action, confined) for name, action in actions.items()}
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main()
