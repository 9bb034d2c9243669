"""Loading the ruleset through libnftables, by ctypes.

Only tables, rules and the sets filled from configuration go this way. Bans go through
`nfnetlink`: libnftables reads whole sets for some of its commands, which takes seconds with many
bans. Adding to interval sets is such a command, but reads interval sets only, and those are short.

Debian's Python binding is not visible to a venv and the one on the package index is somebody's
copy; seven functions of a stable C interface (libnftables(3)) need neither.
"""

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gatekeeper.kernel.element import Network

_HERE: Final = Path(__file__).parent
# In a checkout the file is where administrators look for it; a wheel carries it beside this module.
_RULESETS: Final = (_HERE / "gatekeeper.nft", _HERE.parents[1] / "nft" / "gatekeeper.nft")


# Where the kernel tells of floods; of 65,536 groups other programs use the lowest ones.
LOG_GROUP: Final = 25_993
_LOGGED_OCTETS: Final = 64  # the addresses of either family
_METERED: Final = {4: "ip saddr", 6: "ip6 saddr & ffff:ffff:ffff:ffff::"}


class NftError(Exception):
    """libnftables is missing or refused the ruleset; the text is its own."""


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        lib = ctypes.CDLL("libnftables.so.1")
    except OSError as error:
        raise NftError("libnftables.so.1 is missing (Debian: libnftables1)") from error
    lib.nft_ctx_new.restype = ctypes.c_void_p
    lib.nft_ctx_new.argtypes = [ctypes.c_uint32]
    lib.nft_ctx_free.argtypes = [ctypes.c_void_p]
    lib.nft_ctx_buffer_output.argtypes = [ctypes.c_void_p]
    lib.nft_ctx_buffer_error.argtypes = [ctypes.c_void_p]
    lib.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    lib.nft_ctx_get_error_buffer.argtypes = [ctypes.c_void_p]
    lib.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    return lib


def run(commands: str) -> None:
    """Run nft commands as one transaction. Raises `NftError`; then nothing was changed."""
    lib = _library()
    # A fresh context each time: it caches what it saw, and others may have changed the kernel.
    context = lib.nft_ctx_new(0)
    if not context:
        raise NftError("libnftables gives no context")
    try:
        lib.nft_ctx_buffer_output(context)
        lib.nft_ctx_buffer_error(context)
        if lib.nft_run_cmd_from_buffer(context, commands.encode()) != 0:
            raise NftError(lib.nft_ctx_get_error_buffer(context).decode(errors="replace").strip())
    finally:
        lib.nft_ctx_free(context)


@dataclass(frozen=True, slots=True)
class Contents:
    """What the table's file leaves open. `allow` is who is never dropped; `syn_rate` 0 is no meter;
    `suspended` lets everybody through and keeps what is held."""

    ports_auth: Sequence[int] = ()
    ports_mx: Sequence[int] = ()
    allow: Sequence[Network] = ()
    block: Sequence[Network] = ()
    syn_rate: int = 0
    syn_burst: int = 1
    suspended: bool = False


def load(contents: Contents) -> None:
    """Make or replace the table, its rules and configured sets; bans that are held stay.

    Raises `NftError`; then what was loaded before is still in force.
    """
    run(ruleset() + filled(contents))


def ruleset() -> str:
    """The text of `gatekeeper.nft`. Raises `NftError` where it was not installed."""
    for path in _RULESETS:
        if path.is_file():
            return path.read_text(encoding="ascii")
    raise NftError("gatekeeper.nft is not installed")


def filled(contents: Contents) -> str:
    """Commands that fill in what the file leaves open, and empty what is to be empty. Pure."""
    lines = [_fill(name, elements) for name, elements in _sets(contents).items()]
    if contents.syn_rate:
        lines += [_meter(family, key, contents) for family, key in _METERED.items()]
    if contents.suspended:
        lines.append("flush chain inet gatekeeper prerouting\n")
    return "".join(lines)


def _sets(contents: Contents) -> dict[str, list[str]]:
    sets = {
        "ports_auth": list(map(str, contents.ports_auth)),
        "ports_mx": list(map(str, contents.ports_mx)),
    }
    for name, networks in (("allow", contents.allow), ("block", contents.block)):
        sets[f"{name}4"] = [str(each) for each in networks if len(each.packed) == 4]
        sets[f"{name}6"] = [str(each) for each in networks if len(each.packed) == 16]
    return sets


def _fill(name: str, elements: Sequence[str]) -> str:
    flush = f"flush set inet gatekeeper {name}\n"
    if not elements:
        return flush
    return flush + f"add element inet gatekeeper {name} {{ {', '.join(elements)} }}\n"


def _meter(family: int, key: str, contents: Contents) -> str:
    return (
        f"add rule inet gatekeeper meter{family} update @syn{family} {{ {key}"
        f" limit rate over {contents.syn_rate}/second burst {contents.syn_burst} packets }}"
        f" add @flood{family} {{ {key} }} log group {LOG_GROUP} snaplen {_LOGGED_OCTETS}"
        f' counter name "flooded{family}" drop\n'
    )
