"""What the figures were taken on."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Final

import gatekeeper

_INTERPRETER: Final = (
    "import platform, ssl; print(platform.python_version(), ssl.OPENSSL_VERSION, sep=', ')"
)


def describe(python: str) -> dict[str, str]:
    """The machine and the versions, by name; `python` is the guard's interpreter."""
    return {
        "CPU": f"{os.cpu_count()} of {_cpu_model()}",
        "kernel": platform.release(),
        "Python": _first_line([python, "-c", _INTERPRETER]),
        "gatekeeper": getattr(gatekeeper, "__version__", "unknown"),
        "nginx": _first_line(["/usr/sbin/nginx", "-v"]),
        "HAProxy": _first_line(["/usr/sbin/haproxy", "-v"]),
        "OpenSSL of both": _first_line(["openssl", "version"]),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _first_line(command: list[str]) -> str:
    """What a program says of its version; "missing" where it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return "missing"
    return (done.stdout + done.stderr).strip().splitlines()[0]
