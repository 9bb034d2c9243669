"""Certificate pairs: whether they load, belong together, are in their time and have the names.

Theory of operation. Python's `ssl` shows a certificate only as a peer's, so each pair serves one
handshake in memory to a client that trusts that certificate alone. OpenSSL then says what a real
client's would: expired, not yet valid, not for servers.
"""

import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gatekeeper.check.finding import Finding, error, warning
from gatekeeper.errors import ConfigError
from gatekeeper.settings import CertificatePair, SniSettings, TlsSettings
from gatekeeper.tls import Certificates

SOON_S: Final = 21 * 86400.0  # ACME clients renew 30 days ahead: at 21 something has failed
_PEM_HEAD: Final = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class _Certificate:
    names: frozenset[str]  # DNS names, lower case
    not_after: float  # Unix time
    self_signed: bool


def check_certificates(settings: TlsSettings, hostname: str, now: float) -> Iterator[Finding]:
    """Findings on every pair of `settings`, at Unix time `now`."""
    for pair in settings.pairs:
        yield from _check_pair(pair, (hostname,), now)
    for sni in settings.sni:
        for pair in sni.pairs:
            yield from _check_pair(pair, sni.names, now)
    yield from _check_doubles(settings.sni)


def _check_pair(pair: CertificatePair, names: tuple[str, ...], now: float) -> Iterator[Finding]:
    try:
        Certificates(TlsSettings((pair,)), "imap")
        certificate = _inspect(pair)
    except ConfigError as failure:
        for line in str(failure).splitlines():
            yield error("tls", line)
        return
    except ssl.SSLCertVerificationError as failure:
        yield error(pair.certificate, f"clients will refuse it: {failure.verify_message}")
        return
    yield from _check_key(pair.private_key)
    yield from _check_chain(pair.certificate, certificate)
    left_s = certificate.not_after - now
    if left_s <= 0:
        yield error(pair.certificate, "has expired")
    elif left_s < SOON_S:
        yield warning(pair.certificate, f"expires in {left_s / 86400:.0f} days: was it renewed?")
    for name in names:
        if not _covers(certificate.names, name):
            yield warning(pair.certificate, f'is not for the name "{name}"')


def _check_key(key: Path) -> Iterator[Finding]:
    if key.stat().st_mode & stat.S_IROTH:
        yield warning(key, "may be read by every user of this host: chmod o-r")


def _check_chain(path: Path, certificate: _Certificate) -> Iterator[Finding]:
    if not certificate.self_signed and path.read_bytes().count(_PEM_HEAD) == 1:
        yield warning(path, "holds no intermediate certificate: most clients need it (fullchain)")


def _check_doubles(sni: tuple[SniSettings, ...]) -> Iterator[Finding]:
    seen: set[str] = set()
    for settings in sni:
        for name in settings.names:
            if name in seen:
                yield warning("[[tls.sni]]", f'"{name}" stands twice: the last one is served')
            seen.add(name)


def _covers(names: frozenset[str], name: str) -> bool:
    """RFC 6125 6.4: the name itself, or `*.` and all but its first label."""
    name = name.lower().rstrip(".")
    return name in names or "*." + name.partition(".")[2] in names


def _inspect(pair: CertificatePair) -> _Certificate:
    """What a client sees of a pair that loads. Raises `ssl.SSLCertVerificationError`."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.certificate, pair.private_key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False  # names are compared one by one above
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the leaf itself is the anchor
    client.load_verify_locations(pair.certificate)
    return _read(_handshake(server, client))


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    """The server's certificate as `ssl` tells it, by a handshake in memory."""
    upward, downward = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(downward, upward)
    far = server.wrap_bio(upward, downward, server_side=True)
    waiting = [near, far]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    return near.getpeercert() or {}


def _read(shown: dict[str, Any]) -> _Certificate:
    names = [value.lower() for kind, value in shown.get("subjectAltName", ()) if kind == "DNS"]
    return _Certificate(
        names=frozenset(names),
        not_after=ssl.cert_time_to_seconds(shown["notAfter"]),
        self_signed=shown.get("issuer") == shown.get("subject"),
    )
