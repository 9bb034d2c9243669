"""Compiles the XDP program: for a wheel as Hatchling's build hook, for a checkout as a script.

    python hatch_build.py

The object holds eBPF instructions of this machine's byte order and nothing of its kernel. Without
clang a package is whole all the same: the guard then works with nftables alone, and says so.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
SOURCE = ROOT / "nft" / "gatekeeper_xdp.bpf.c"
OBJECT = ROOT / "gatekeeper" / "kernel" / "gatekeeper_xdp.bpf.o"
NOT_BUILT = "XDP object was not built"


class XdpBuildHook(BuildHookInterface[Any]):
    """Puts the object into the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See Hatchling. An editable install uses the object in the checkout, as tests do."""
        if self.target_name != "wheel":
            return
        if problem := compile_xdp():
            self.app.display_warning(problem)
        elif version != "editable":
            inside = OBJECT.relative_to(ROOT).as_posix()
            build_data["force_include"][str(OBJECT)] = inside


def compile_xdp() -> str:
    """Make `OBJECT` where it is absent or older than what it is made of; why not, or nothing."""
    newest = max(path.stat().st_mtime for path in (SOURCE, Path(__file__)))
    if OBJECT.is_file() and OBJECT.stat().st_mtime >= newest:
        return ""
    OBJECT.unlink(missing_ok=True)  # what is left must not pass for what was asked for
    clang = shutil.which("clang")
    if clang is None:
        return f"{NOT_BUILT} (clang): the guard will use nftables alone"
    made = OBJECT.with_suffix(f".{os.getpid()}")
    done = subprocess.run(  # noqa: S603  # the compiler on the path, and our own file
        _command(clang, made), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        made.unlink(missing_ok=True)
        return f"{NOT_BUILT}: clang and libbpf's headers are needed:\n{done.stderr.strip()}"
    made.replace(OBJECT)
    return ""


def _command(clang: str, made: Path) -> list[str]:
    # -g is for BTF, by which libbpf knows the maps; paths of this machine stay out of it.
    command = [clang, "-O2", "-g", "-Wall", "-Werror", "-target", "bpf"]
    command += [f"-ffile-prefix-map={ROOT}=.", f"-fdebug-compilation-dir={os.sep}"]
    if multiarch := sysconfig.get_config_var("MULTIARCH") or _multiarch():
        command.append(f"-I/usr/include/{multiarch}")  # <asm/types.h>, which -target bpf misses
    return [*command, "-c", str(SOURCE), "-o", str(made)]


def _multiarch() -> str:
    """Debian's directory for this machine, where Python is not Debian's own."""
    return f"{os.uname().machine}-linux-gnu"


if __name__ == "__main__" and (trouble := compile_xdp()):
    sys.stderr.write(trouble + "\n")
