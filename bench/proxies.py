"""The contenders as processes: started on free ports, watched through /proc, ended by their id."""

import os
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import configs
from bench.configs import Backend, Front
from bench.scenarios import Service
from bench.workshop import BENCH, BUILD, OUT, Certificates, free_ports

_READY_S: Final = 20.0  # a guard that imports slowly on a busy machine
_STOP_S: Final = 15.0
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")


# The packages of this environment and the checkout, also for another interpreter: all are pure.
_PYTHON_PATH: Final = os.pathsep.join((sysconfig.get_path("purelib"), str(BENCH.parent)))


class NotReady(Exception):
    """A program ended or did not listen in time; the text says which, and its last words."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A program in one configuration."""

    name: str
    family: str  # gatekeeper | nginx | haproxy
    buffer_octets: int = 0  # 0: as shipped

    @property
    def is_guard(self) -> bool:
        return self.family == "gatekeeper"


CONTENDERS: Final = (
    Contender("gatekeeper", "gatekeeper"),
    Contender("nginx", "nginx"),
    Contender("nginx-tuned", "nginx", 128 * 1024),
    Contender("haproxy", "haproxy"),
    Contender("haproxy-tuned", "haproxy", 128 * 1024),
)


@dataclass(frozen=True, slots=True)
class GuardProcess:
    """How the guard is run: by which interpreter, and whether under cProfile."""

    python: str = sys.executable
    profile: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """A contender that listens."""

    contender: Contender
    process: subprocess.Popen[bytes]
    front: Front

    def port(self, service: Service) -> int:
        match service:
            case Service.IMAPS:
                return self.front.imaps
            case Service.SUBMISSIONS:
                return self.front.submissions
            case Service.SUBMISSION:
                return self.front.submission

    def cpu_s(self) -> float:
        """User and system seconds of all its processes so far, in steps of a clock tick."""
        return sum(_cpu_s(pid) for pid in process_tree(self.process.pid))

    def memory_kib(self) -> tuple[int, int]:
        """RSS and PSS of all its processes."""
        pairs = [_memory_kib(pid) for pid in process_tree(self.process.pid)]
        return sum(rss for rss, _ in pairs), sum(pss for _, pss in pairs)


def process_tree(pid: int) -> list[int]:
    """`pid` and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in process_tree(int(child)))]


def _cpu_s(pid: int) -> float:
    # proc_pid_stat(5): the name may hold anything, so count from its closing bracket.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _memory_kib(pid: int) -> tuple[int, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    table = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return table["Rss"], table["Pss"]


@contextmanager
def backend() -> Iterator[Backend]:
    """The shared backend, ended with the block."""
    smtp, imap, auth = free_ports(3)
    command = [str(BUILD / "backend"), f"smtp+proxy:{smtp}", f"imap+proxy:{imap}", f"auth:{auth}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise NotReady("the backend did not start")
        yield Backend(smtp=smtp, imap=imap, auth=auth)
        process.stdin.close()


@contextmanager
def running(
    contenders: Sequence[Contender],
    behind: Backend,
    tls: Certificates,
    problems: list[str],
    how: GuardProcess,
) -> Iterator[list[Running]]:
    """Those of `contenders` that listen, ended with the block; `problems` tells of the others."""
    with ExitStack() as stack:
        listening = []
        for contender in contenders:
            try:
                one = stack.enter_context(_started(contender, behind, tls, how))
                listening.append(one)
            except NotReady as error:
                problems.append(str(error))
        yield listening


@contextmanager
def _started(
    contender: Contender, behind: Backend, tls: Certificates, how: GuardProcess
) -> Iterator[Running]:
    directory = OUT / contender.name
    directory.mkdir(parents=True, exist_ok=True)
    front = Front(*free_ports(3))
    command = _command(contender, front, behind, tls, directory, how)
    with (directory / "output.log").open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=guard_environment(),
        )
    try:
        _wait_until_ready(contender, process, front, directory)
        yield Running(contender, process, front)
    finally:
        stop(process)


def _command(
    contender: Contender,
    front: Front,
    behind: Backend,
    tls: Certificates,
    directory: Path,
    how: GuardProcess,
) -> list[str]:
    """Write the configuration and say how to start with it."""
    match contender.family:
        case "nginx":
            buffer = f"{contender.buffer_octets // 1024}k" if contender.buffer_octets else ""
            text = configs.nginx(front, behind, tls, directory, buffer)
            words = ["/usr/sbin/nginx", "-p", str(directory), "-c"]
        case "haproxy":
            text = configs.haproxy(front, behind, tls, contender.buffer_octets)
            words = ["/usr/sbin/haproxy", "-db", "-f"]
        case _:
            text = configs.gatekeeper(front, behind, tls, directory)
            words = guard_command(how)
    file = directory / f"{contender.family}.conf"
    file.write_text(text)
    return [*words, str(file)]


def _wait_until_ready(
    contender: Contender, process: subprocess.Popen[bytes], front: Front, directory: Path
) -> None:
    ports = [front.imaps, front.submissions]
    if contender.family != "haproxy":
        ports.append(front.submission)
    deadline = time.monotonic() + _READY_S
    while not all(_listens(port) for port in ports):
        if process.poll() is not None or time.monotonic() > deadline:
            words = (directory / "output.log").read_text(errors="replace")[-2000:]
            raise NotReady(f"{contender.name} does not listen\n{words}")
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def guard_command(how: GuardProcess) -> list[str]:
    """What starts the guard; the name of a configuration file is to follow."""
    program = str(Path(sys.executable).with_name("gatekeeper"))
    profiler = ["-m", "cProfile", "-o", str(OUT / "gatekeeper.prof")]
    return [how.python, *(profiler if how.profile else []), program, "run", "-c"]


def guard_environment() -> dict[str, str]:
    """The environment it starts in, also by another interpreter."""
    return {**os.environ, "PYTHONPATH": _PYTHON_PATH}


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL where that is not enough."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
