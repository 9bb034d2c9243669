"""Dovecot from a directory of its own: IMAP, LMTP for Postfix's deliveries, and its AUTH."""

import base64
import hashlib
import hmac
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .accounts import PASSWORDS, TOKEN_KEY
from .certificates import Pair
from .dovecot_configuration import TOKENS_V2_3, configuration
from .processes import free_ports, greets, start, stop, wait_ready

PORTS = ("imap", "imap_haproxy", "imaps", "lmtp", "auth")


@dataclass(frozen=True, slots=True)
class Dovecot:
    """A running Dovecot; the ports are on 127.0.0.1.

    `imap` (STARTTLS offered) believes the address in a client's ID, `imap_haproxy` wants a PROXY
    header, `imaps` is implicit TLS.
    """

    base: Path
    imap: int
    imap_haproxy: int
    imaps: int
    lmtp: int
    auth: int

    def log(self) -> str:
        """All it has logged so far."""
        return (self.base / "log").read_text(errors="replace")

    def messages(self, address: str, marker: bytes) -> list[bytes]:
        """The whole messages in a mailbox that contain `marker`, as they lie on disk."""
        files = [
            file
            for part in ("new", "cur")
            for file in (self.base / "mail" / address / part).glob("*")
        ]
        return [content for file in files if marker in (content := file.read_bytes())]


@contextmanager
def dovecot(base: Path, pair: Pair, *, failure_delay: str = "0") -> Iterator[Dovecot]:
    """Run Dovecot below `base`; it holds every failed login back for `failure_delay`."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    _write_configuration(base, pair, ports, failure_delay)
    process = start(["/usr/sbin/dovecot", "-F", "-c", base / "etc/dovecot.conf"], base / "stderr")
    try:
        wait_ready(process, lambda: greets(ports["imap"], b"* OK "), base / "stderr")
        yield Dovecot(base, **ports)
    finally:
        stop(process)


def bearer_token(address: str, key: bytes = TOKEN_KEY) -> str:
    """A JSON web token for `address` that Dovecot accepts (RFC 7519, HS256)."""

    def encode(part: bytes) -> str:
        return base64.urlsafe_b64encode(part).rstrip(b"=").decode()

    claims = {"sub": address, "email": address, "iat": 1_600_000_000, "exp": 4_000_000_000}
    header = {"alg": "HS256", "typ": "JWT"}
    signed = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
    return f"{signed}.{encode(hmac.digest(key, signed.encode(), hashlib.sha256))}"


def _write_configuration(base: Path, pair: Pair, ports: dict[str, int], failure_delay: str) -> None:
    keys = base / "etc/jwtkeys/default/HS256"
    for directory in (keys, base / "run", base / "state", base / "mail"):
        directory.mkdir(parents=True)
    subprocess.run(["chown", "mail:mail", base / "mail"], check=True)
    (keys / "default").write_bytes(base64.b64encode(TOKEN_KEY))
    (base / "etc/oauth2.conf.ext").write_text(TOKENS_V2_3.substitute(base=base))
    users = "".join(
        f"{address}:{{PLAIN}}{password}::::::\n" for address, password in PASSWORDS.items()
    )
    (base / "etc/passwd").write_text(users)
    (base / "etc/dovecot.conf").write_text(
        configuration().substitute(
            base=base,
            certificate=pair.certificate,
            private_key=pair.private_key,
            failure_delay=failure_delay,
            **ports,
        )
    )
