"""`filtering`'s rules as a program of classic BPF, and the kernel told to run it (seccomp(2)).

The program is looked through from its beginning at every call, but the kernel remembers which calls
pass whatever their arguments are (since Linux 5.11), and those it does not look up again.
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterable
from typing import Final

from gatekeeper.kernel.filtering import Needs, Rule, Stage, fatal, rules
from gatekeeper.kernel.syscalls import MACHINES, Machine, number

_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_RET_ALLOW: Final = 0x7FFF_0000
_RET_EPERM: Final = 0x0005_0001
_RET_KILL_PROCESS: Final = 0x8000_0000

# Of struct seccomp_data: the number, the architecture, and six arguments of 64 bits.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_X32: Final = 0x4000_0000  # calls of x86-64's other ABI have this bit, and numbers of their own

Instruction = tuple[int, int, int, int]  # code, jump where true, jump where false, constant


def install(stage: Stage, needs: Needs) -> str:
    """Filter this thread, and what it forks, from now on and for good; empty, or why not.

    Needs no_new_privs. Call it where there is one thread.
    """
    machine = MACHINES.get(platform.machine())
    if machine is None or sys.byteorder != "little" or sys.maxsize < 2**32:
        return f"no system call filter for {platform.machine()}"
    octets = b"".join(
        struct.pack("=HBBI", *each) for each in program(rules(stage, needs), fatal(needs), machine)
    )
    buffer = ctypes.create_string_buffer(octets, len(octets))
    header = struct.pack("@HP", len(octets) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) != 0:
        return f"no system call filter: {os.strerror(ctypes.get_errno())}"
    return ""


def program(
    allowed: Iterable[Rule], killed: Iterable[str], machine: Machine
) -> tuple[Instruction, ...]:
    """The filter's instructions. Pure."""
    steps: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, _RET_KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _RET_KILL_PROCESS),
    ]
    for rule in allowed:
        steps += _allow(rule, number(rule.name, machine))
    for name in killed:
        if (call := number(name, machine)) is not None:
            steps += [(_EQUAL, 0, 1, call), (_RETURN, 0, 0, _RET_KILL_PROCESS)]
    return (*steps, (_RETURN, 0, 0, _RET_EPERM))


def _allow(rule: Rule, call: int | None) -> list[Instruction]:
    """Return ALLOW where the rule fits; else go on behind, with the number loaded again."""
    if call is None:
        return []
    body: list[Instruction] = [(_RETURN, 0, 0, _RET_ALLOW)]
    if rule.demands:
        body.append((_LOAD, 0, 0, _NUMBER))
    for demand in reversed(rule.demands):
        behind = len(body) - 1  # the last step: the number is loaded again there
        tests = [
            (_EQUAL, len(demand.values) - 1 - at, behind if last else 0, value)
            for at, value in enumerate(demand.values)
            for last in (at == len(demand.values) - 1,)
        ]
        offset = _ARGUMENTS + 8 * demand.argument
        body = [(_LOAD, 0, 0, offset), (_AND, 0, 0, demand.mask), *tests, *body]
    return [(_EQUAL, 0, len(body), call), *body]
