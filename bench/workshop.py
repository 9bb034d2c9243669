"""What a run needs before it starts: the two C programs, two certificates, free ports."""

import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BENCH: Final = Path(__file__).parent
BUILD: Final = BENCH / "build"
OUT: Final = BENCH / "out"

_CFLAGS: Final = ("-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-Werror")
_PROGRAMS: Final = {
    "load": (("load.c", "dialogue.c", "link.c", "pattern.c"), ("-lssl", "-lcrypto", "-pthread")),
    "backend": (("backend.c", "service.c", "pattern.c"), ()),
}
# Below the usual ephemeral range: no outgoing connection of the run takes a port meant to listen.
_FIRST_PORT: Final = 21000
_LAST_PORT: Final = 31999


@dataclass(frozen=True, slots=True)
class Certificates:
    """One self-signed name with an ECDSA P-256 and an RSA-2048 key, as PEM files.

    `bundle` is HAProxy's form: `bundle.ecdsa` and `bundle.rsa` hold key and certificate.
    """

    ecdsa: Path
    ecdsa_key: Path
    rsa: Path
    rsa_key: Path
    bundle: Path


def build() -> None:
    """Compile `load` and `backend` into `BUILD` where a source is newer.

    Raises `subprocess.CalledProcessError`; the compiler's words go to standard error.
    """
    BUILD.mkdir(exist_ok=True)
    newest = max(path.stat().st_mtime for path in BENCH.glob("*.[ch]"))
    for name, (sources, libraries) in _PROGRAMS.items():
        target = BUILD / name
        if target.exists() and target.stat().st_mtime >= newest:
            continue
        files = [str(BENCH / source) for source in sources]
        subprocess.run(["gcc", *_CFLAGS, "-o", str(target), *files, *libraries], check=True)


def certificates() -> Certificates:
    """Make the certificates anew; they live for two days."""
    made = Certificates(
        ecdsa=BUILD / "ecdsa.pem",
        ecdsa_key=BUILD / "ecdsa.key",
        rsa=BUILD / "rsa.pem",
        rsa_key=BUILD / "rsa.key",
        bundle=BUILD / "bundle.pem",
    )
    _make_pair(made.ecdsa, made.ecdsa_key, "ec", "ec_paramgen_curve:P-256")
    _make_pair(made.rsa, made.rsa_key, "rsa", "rsa_keygen_bits:2048")
    for suffix, pair in (
        ("ecdsa", (made.ecdsa, made.ecdsa_key)),
        ("rsa", (made.rsa, made.rsa_key)),
    ):
        text = "".join(path.read_text() for path in pair)
        made.bundle.with_name(f"{made.bundle.name}.{suffix}").write_text(text)
    return made


def _make_pair(certificate: Path, key: Path, algorithm: str, option: str) -> None:
    command = [
        *("openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", algorithm),
        *("-pkeyopt", option, "-subj", "/CN=mail.bench.test"),
        *("-addext", "subjectAltName=DNS:mail.bench.test"),
        *("-keyout", str(key), "-out", str(certificate)),
    ]
    subprocess.run(command, check=True, capture_output=True)


def free_ports(count: int) -> list[int]:
    """`count` loopback ports nobody listens on now. Raises `OSError` when there are not so many."""
    found: list[int] = []
    for port in range(_FIRST_PORT, _LAST_PORT):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} free ports between {_FIRST_PORT} and {_LAST_PORT}")
