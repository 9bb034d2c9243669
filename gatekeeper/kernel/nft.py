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
from pathlib import Path
from typing import Final

from gatekeeper.kernel.element import Network

_HERE: Final = Path(__file__).parent
# In a checkout the file is where administrators look for it; a wheel carries it beside this module.
_RULESETS: Final = (_HERE / "gatekeeper.nft", _HERE.parents[1] / "nft" / "gatekeeper.nft")


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


def load(ports_auth: Sequence[int], ports_mx: Sequence[int], allow: Sequence[Network]) -> None:
    """Make or replace the table, its rules and configured sets; bans that are held stay.

    Raises `NftError`; then what was loaded before is still in force.
    """
    run(ruleset() + configured_sets(ports_auth, ports_mx, allow))


def ruleset() -> str:
    """The text of `gatekeeper.nft`. Raises `NftError` where it was not installed."""
    for path in _RULESETS:
        if path.is_file():
            return path.read_text(encoding="ascii")
    raise NftError("gatekeeper.nft is not installed")


def configured_sets(
    ports_auth: Sequence[int], ports_mx: Sequence[int], allow: Sequence[Network]
) -> str:
    """Commands that empty and fill the sets that come from configuration. Pure."""
    contents = {
        "ports_auth": [str(port) for port in ports_auth],
        "ports_mx": [str(port) for port in ports_mx],
        "allow4": [str(net) for net in allow if len(net.packed) == 4],
        "allow6": [str(net) for net in allow if len(net.packed) == 16],
    }
    lines = []
    for name, elements in contents.items():
        lines.append(f"flush set inet gatekeeper {name}\n")
        if elements:
            lines.append(f"add element inet gatekeeper {name} {{ {', '.join(elements)} }}\n")
    return "".join(lines)
