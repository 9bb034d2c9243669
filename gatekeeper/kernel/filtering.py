"""Which system calls the privileged process may make. Pure; `seccomp` has the kernel enforce it.

Theory of operation. A filter is for good, and a child has its parent's besides its own. So there
are two stages. STARTING is the supervisor's, and so holds for all it starts: it may fork, wait and
load libraries. SERVING is laid over it when a child has loaded its table, before the child reads
its first request: no new process, no new code, no file but to read. Where nothing is to be attached
or dialled, what these need is left out.

The list is what strace shows of Python 3.11 to 3.13, libnftables, libbpf and glibc, and their
neighbours: a newer library says `statx` where an older one says `newfstatat`. What is on no list
fails with EPERM. What nobody but an intruder asks for ends the process: `FATAL`.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

_WORD: Final = 0xFFFF_FFFF


class Stage(Enum):
    """Who is to be filtered."""

    STARTING = "starting"
    SERVING = "serving"


@dataclass(frozen=True, slots=True)
class Demand:
    """The low 32 bits of an argument, under `mask`, are one of `values`. All arguments looked at
    here are ints, or flags that the kernel knows 32 of."""

    argument: int
    values: tuple[int, ...]
    mask: int = _WORD


@dataclass(frozen=True, slots=True)
class Rule:
    """A call that may be made where all `demands` hold. A call may have several rules."""

    name: str
    demands: tuple[Demand, ...] = ()


@dataclass(frozen=True, slots=True)
class Needs:
    """What the command line asks for: a start `removes_pins` that an earlier one left."""

    xdp: bool = False
    dial: bool = False
    removes_pins: bool = False


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Whoever asks for one of these is not us.
FATAL: Final = _names(
    """
    execve execveat ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd
    kexec_load kexec_file_load init_module finit_module delete_module reboot swapon quotactl
    mount umount2 pivot_root chroot move_mount open_tree fsopen mount_setattr open_by_handle_at
    setns unshare add_key request_key keyctl io_uring_setup userfaultfd perf_event_open iopl
    """
)

_ALWAYS: Final = _names(
    """
    read pread64 write writev close lseek fstat stat lstat newfstatat statx access faccessat
    faccessat2 readlink readlinkat getcwd getdents64
    select pselect6 poll ppoll epoll_create1 epoll_ctl epoll_wait epoll_pwait
    accept4 bind getsockname getpeername getsockopt setsockopt recvfrom recvmsg sendto sendmsg
    brk munmap mremap madvise futex set_robust_list rseq membarrier sched_yield
    rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall exit exit_group
    getpid getppid gettid getuid geteuid getgid getegid getrandom sysinfo uname
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time
    """
)
_STARTING: Final = _names(
    """
    mmap mprotect wait4 waitid kill tgkill rt_sigtimedwait pipe2 capget capset
    seccomp statfs sched_getaffinity
    """
)
_XDP: Final = ("bpf", "unlink", "unlinkat")
_XDP_STARTING: Final = (
    "mkdir",
    "mkdirat",
    "chmod",
    "fchmodat",
    "rmdir",
    "prlimit64",
    "dup3",
    "memfd_create",
)

_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16  # families
# Of AF_NETLINK: NETLINK_NETFILTER, NETLINK_SOCK_DIAG, and NETLINK_ROUTE, of which libnftables asks
# the names of interfaces and ends the whole process where it may not.
_PROTOCOLS: Final = (12, 4, 0)
_PROT_EXEC: Final = 4
# O_ACCMODE, O_CREAT, O_TRUNC and O_TMPFILE's own bit, the same on both machines.
_WRITING: Final = 0o3 | 0o100 | 0o1000 | 0o20_000_000
# SIGCHLD, and what glibc's fork says besides: CLONE_CHILD_SETTID and CLONE_CHILD_CLEARTID.
_FORKS: Final = (0x0120_0011, 0x11)
_SECCOMP_SET_FILTER: Final = 22
_SET_DEATH_SIGNAL: Final = 1
# FIONBIO, FIOCLEX of sockets; TCGETS, TIOCGWINSZ asked of files by libc, Python and libnftables.
_IOCTLS: Final = (0x5421, 0x5451, 0x5401, 0x5413)
_IOCTLS_XDP: Final = (0x8927, 0x8933)  # SIOCGIFHWADDR, SIOCGIFINDEX
# F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL
_FCNTLS: Final = (1030, 1, 2, 3, 4)


def rules(stage: Stage, needs: Needs) -> tuple[Rule, ...]:
    """What may be done in `stage`."""
    starting = stage is Stage.STARTING
    xdp = needs.xdp or (starting and needs.removes_pins)
    names = _ALWAYS + _STARTING * starting + _XDP * xdp + _XDP_STARTING * (starting and xdp)
    allowed = [Rule(name) for name in names]
    allowed += _files(xdp)
    allowed += _sockets(xdp, needs.dial)
    allowed += _processes() if starting else _memory()
    return tuple(allowed)


def fatal(needs: Needs) -> tuple[str, ...]:
    """What ends a process in either stage."""
    return FATAL if needs.xdp or needs.removes_pins else (*FATAL, "bpf")


def _files(xdp: bool) -> list[Rule]:
    ioctls = _IOCTLS + _IOCTLS_XDP * xdp
    return [
        Rule("openat", (Demand(2, (0,), _WRITING),)),
        Rule("open", (Demand(1, (0,), _WRITING),)),
        Rule("fcntl", (Demand(1, _FCNTLS),)),
        Rule("ioctl", (Demand(1, ioctls),)),
    ]


def _sockets(xdp: bool, dial: bool) -> list[Rule]:
    allowed = [Rule("socket", (Demand(0, (_NETLINK,)), Demand(2, _PROTOCOLS)))]
    if dial:
        allowed += [Rule("connect"), Rule("socket", (Demand(0, (_INET, _INET6)),))]
    if xdp:  # to ask for interfaces by name, which any kind of socket answers
        allowed.append(Rule("socket", (Demand(0, (_UNIX,)),)))
    return allowed


def _processes() -> list[Rule]:
    return [
        Rule("clone", (Demand(0, _FORKS),)),
        Rule("prctl", (Demand(0, (_SECCOMP_SET_FILTER, _SET_DEATH_SIGNAL)),)),
    ]


def _memory() -> list[Rule]:
    """Nothing that is not code yet becomes code."""
    return [
        Rule("mmap", (Demand(2, (0,), _PROT_EXEC),)),
        Rule("mprotect", (Demand(2, (0,), _PROT_EXEC),)),
    ]
