"""What the privileged process may ask the kernel for, and that the kernel holds it to that."""

import errno
import json
import platform
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from gatekeeper.kernel import landlock, seccomp
from gatekeeper.kernel.filtering import FATAL, Demand, Needs, Rule, Stage, fatal, rules
from gatekeeper.kernel.syscalls import MACHINES, NUMBERS, Machine

HELPER = Path(__file__).with_name("kernel_filter.py")
EPERM, EACCES = str(errno.EPERM), str(errno.EACCES)
ALLOW, REFUSE, KILL = 0x7FFF_0000, 0x0005_0001, 0x8000_0000
X86, ARM = MACHINES["x86_64"], MACHINES["aarch64"]
ALL_NEEDS = [Needs(), Needs(xdp=True), Needs(dial=True), Needs(removes_pins=True)]

here = pytest.mark.skipif(platform.machine() not in MACHINES, reason="no filter for this machine")


def helped(*arguments: str) -> dict[str, str]:
    """What became of what was tried; see `kernel_filter`."""
    done = subprocess.run(
        [sys.executable, str(HELPER), *arguments], capture_output=True, text=True, check=True
    )
    outcomes: dict[str, str] = json.loads(done.stdout)
    return outcomes


@pytest.fixture(scope="module")
def serving() -> dict[str, str]:
    return helped("filter", "serving")


@pytest.fixture(scope="module")
def starting() -> dict[str, str]:
    return helped("filter", "starting")


def judged(
    steps: tuple[seccomp.Instruction, ...], call: int, *arguments: int, audit: int = X86.audit
) -> int:
    """What the program answers: classic BPF (Documentation/networking/filter.rst), by hand."""
    data = struct.pack("=iIQ6Q", call, audit, 0, *arguments, *(0,) * (6 - len(arguments)))
    accumulator = at = 0
    while True:
        code, if_true, if_false, constant = steps[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, constant)
            case 0x54:
                accumulator &= constant
            case 0x15:
                at += if_true if accumulator == constant else if_false
            case 0x35:
                at += if_true if accumulator >= constant else if_false
            case 0x06:
                return constant
            case _:
                raise AssertionError(code)


class TestProgram:
    def test_a_call_without_demands_may_be_made(self) -> None:
        steps = seccomp.program([Rule("read"), Rule("write")], ["execve"], X86)
        assert judged(steps, 0) == judged(steps, 1) == ALLOW
        assert judged(steps, 2) == REFUSE
        assert judged(steps, 59) == KILL

    def test_every_demand_has_to_hold(self) -> None:
        allowed = [
            Rule("socket", (Demand(0, (16,)), Demand(2, (4, 12)))),
            Rule("socket", (Demand(0, (1, 2, 10)),)),
            Rule("write", (Demand(1, (0,), 0o101),)),
            Rule("read"),
        ]
        steps = seccomp.program(allowed, (), X86)
        socket = NUMBERS["socket"][0]
        assert judged(steps, socket, 16, 3, 4) == judged(steps, socket, 16, 3, 12) == ALLOW
        assert judged(steps, socket, 16, 3, 16) == judged(steps, socket, 17, 3, 4) == REFUSE
        assert [judged(steps, socket, each) for each in (1, 2, 10)] == [ALLOW] * 3
        assert judged(steps, 1, 7, 0o7676) == ALLOW
        assert judged(steps, 1, 7, 0o1) == judged(steps, 1, 7, 0o100) == REFUSE
        assert judged(steps, 0) == ALLOW  # behind rules that did not fit

    def test_another_architecture_or_its_other_calls_are_the_end(self) -> None:
        steps = seccomp.program([Rule("read")], (), X86)
        assert judged(steps, 0, audit=ARM.audit) == KILL
        assert judged(steps, 0x4000_0000) == KILL

    def test_calls_an_architecture_lacks_are_left_out(self) -> None:
        steps = seccomp.program([Rule("open"), Rule("read")], ["iopl"], ARM)
        assert judged(steps, 63, audit=ARM.audit) == ALLOW
        assert len(steps) == len(seccomp.program([Rule("read")], [], ARM))

    @pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
    @pytest.mark.parametrize("needs", ALL_NEEDS, ids=str)
    @pytest.mark.parametrize("stage", Stage)
    def test_it_is_one_the_kernel_takes(self, machine: Machine, needs: Needs, stage: Stage) -> None:
        steps = seccomp.program(rules(stage, needs), fatal(needs), machine)
        assert len(steps) <= 4096  # BPF_MAXINSNS
        assert all(0 <= jump < 256 for _, true, false, _ in steps for jump in (true, false))

    @pytest.mark.parametrize("needs", ALL_NEEDS, ids=str)
    def test_what_serves_may_do_less_than_what_starts_it(self, needs: Needs) -> None:
        serving = {each.name for each in rules(Stage.SERVING, needs)}
        starting = {each.name for each in rules(Stage.STARTING, needs)}
        assert serving < starting
        assert starting.isdisjoint(fatal(needs))
        assert not {"clone", "kill", "chmod", "capset", "prctl"} & serving
        assert ("bpf" in serving) == needs.xdp
        assert ("connect" in serving) == needs.dial


@pytest.mark.parametrize(
    ("header", "column"),
    [("x86_64-linux-gnu/asm/unistd_64.h", 0), ("asm-generic/unistd.h", 1)],
)
def test_numbers_are_those_of_the_kernels_headers(header: str, column: int) -> None:
    path = Path("/usr/include") / header
    if not path.exists():
        pytest.skip("no header (Debian: linux-libc-dev)")
    found = re.findall(r"#define\s+__NR(?:3264)?_(\w+)\s+(\d+)", path.read_text())
    numbers = {name: int(text) for name, text in found}
    if "fstatat" in numbers:
        numbers["newfstatat"] = numbers["fstatat"]  # as a machine of 64 bits calls it
    known = {name: each[column] for name, each in NUMBERS.items() if each[column] is not None}
    assert {name: numbers.get(name) for name in known} == known
    missing = {name for name, each in NUMBERS.items() if each[column] is None}
    assert not missing & numbers.keys()


@here
class TestFiltered:
    @pytest.mark.parametrize("name", [*(name for name in FATAL if name != "iopl"), "bpf"])
    def test_what_only_an_intruder_asks_for_is_the_end(
        self, serving: dict[str, str], starting: dict[str, str], name: str
    ) -> None:
        assert serving[name] == starting[name] == "SIGSYS"

    @pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 alone has these")
    @pytest.mark.parametrize("name", ["iopl", "x32"])
    def test_so_is_what_one_machine_has(self, serving: dict[str, str], name: str) -> None:
        assert serving[name] == "SIGSYS"

    def test_no_program_is_run(self, serving: dict[str, str], starting: dict[str, str]) -> None:
        assert serving["run a program"] == starting["run a program"] == "SIGSYS"

    @pytest.mark.parametrize(
        "name",
        [
            *("fork", "thread", "kill", "make code", "make memory code", "prctl", "capset"),
            *("write a file", "update a file", "make a file", "empty a file", "rename", "unlink"),
            *("make a file without a name", "chmod", "connect", "TIOCSTI", "prlimit64"),
            *("AF_PACKET", "AF_UNIX", "AF_INET", "generic netlink"),
        ],
    )
    def test_the_rest_is_refused(self, serving: dict[str, str], name: str) -> None:
        assert serving[name] == EPERM

    @pytest.mark.parametrize(
        "name",
        [
            *("thread", "write a file", "update a file", "make a file", "empty a file", "rename"),
            *("unlink", "chmod", "make a file without a name", "connect", "prctl", "TIOCSTI"),
            *("AF_PACKET", "AF_UNIX", "AF_INET", "generic netlink"),
        ],
    )
    def test_most_of_it_before_anything_is_loaded(
        self, starting: dict[str, str], name: str
    ) -> None:
        assert starting[name] == EPERM

    @pytest.mark.parametrize("name", ["read a file", "netfilter", "sock_diag", "memory"])
    def test_what_is_needed_goes_on(self, serving: dict[str, str], name: str) -> None:
        assert serving[name] == "ok"

    def test_a_supervisor_forks(self, starting: dict[str, str]) -> None:
        assert starting["fork"] == "ok"


def test_of_files_only_libraries_and_names_are_read(tmp_path: Path) -> None:
    if not _has_landlock():
        pytest.skip("no Landlock in this kernel")
    (tmp_path / "there").write_bytes(b"secret")
    outcomes = helped("landlock", str(tmp_path))
    assert outcomes.pop("read the library") == outcomes.pop("read the ruleset") == "ok"
    assert set(outcomes.values()) == {EACCES}, outcomes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]
    assert (tmp_path / "there").read_bytes() == b"secret"


def _has_landlock() -> bool:
    try:
        return landlock._call(landlock._CREATE_RULESET, None, 0, landlock._VERSION) >= 1
    except OSError:
        return False


def test_without_a_filter_for_the_machine_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert seccomp.install(Stage.SERVING, Needs()) == "no system call filter for riscv64"


def test_what_is_read_is_there(tmp_path: Path) -> None:
    given = landlock.paths(tmp_path / "gatekeeper", pins=False)
    assert given[str(tmp_path / "nft")] == given[sys.base_prefix] == landlock.READ
    assert "/" not in given
    assert "/etc" not in given
    assert not any(rights & ~landlock.READ for rights in given.values())
    assert landlock.paths(tmp_path, pins=True)["/sys/fs/bpf"] == landlock.PIN
