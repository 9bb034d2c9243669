"""Certificates and TLS contexts of the guard's own side.

Settings follow RFC 9325: TLS 1.2 and 1.3, AEAD with forward secrecy only, no compression, no
renegotiation. A set of contexts is built whole and checked before it replaces the one in use, so a
half-renewed pair never reaches a live context (loading a mismatched pair into one breaks it).
"""

import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from gatekeeper.errors import ConfigError
from gatekeeper.plain_files import read_plain
from gatekeeper.settings import CertificatePair, TlsSettings
from gatekeeper.wire.certificate_time import not_after

# AES-256 before ChaCha20 before AES-128, ECDSA before RSA; neither CBC nor finite-field DH.
_CIPHERS: Final = ":".join(
    f"ECDHE-{signature}-{cipher}"
    for cipher in ("AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-GCM-SHA256")
    for signature in ("ECDSA", "RSA")
)
_CERTIFICATE: Final = (b"-----BEGIN CERTIFICATE-----", "certificate")
_KEY: Final = (b"PRIVATE KEY-----", "private key")
# OpenSSL's reasons that say nothing to who does not know its parts.
_PLAINLY: Final = {
    "key values mismatch": "key values mismatch: the key belongs to another certificate",
    "pem lib": "one of them is damaged",
    "unreadable": "one of them is damaged",
}
_TICKETS: Final = 1  # one resumption ticket a handshake: each costs a record and an encryption


class Certificates:
    """All server contexts of one ALPN protocol, chosen by server name."""

    __slots__ = ("_by_name", "_default")

    def __init__(self, settings: TlsSettings, alpn: str) -> None:
        """Build and verify every context. Raises `ConfigError` with a line for each pair that
        cannot be used, which names the file at fault."""
        problems: list[str] = []
        default = _server_context(settings.pairs, alpn, problems)
        self._default = default if settings.pairs else None
        self._by_name: dict[str, ssl.SSLContext] = {}
        for sni in settings.sni:
            context = _server_context(sni.pairs, alpn, problems)
            for name in sni.names:
                self._by_name[name.lower().rstrip(".")] = context
        if problems:
            raise ConfigError("\n".join(dict.fromkeys(problems)))

    def context_for(self, server_name: str | None) -> ssl.SSLContext | None:
        """The context for a lower-case name from the ClientHello: exact, then `*.parent`, then the
        default. None where no certificate is configured at all."""
        if server_name and self._by_name:
            found = self._by_name.get(server_name)
            if found is None:
                found = self._by_name.get("*." + server_name.partition(".")[2])
            if found is not None:
                return found
        return self._default


def ends_at(certificate: Path) -> float:
    """When the first certificate of a PEM file ends, in Unix time. Raises `ConfigError`."""
    try:
        text = read_plain(certificate).decode("ascii", "replace")
        start, end = text.index(ssl.PEM_HEADER), text.index(ssl.PEM_FOOTER)
        return not_after(ssl.PEM_cert_to_DER_cert(text[start:end] + ssl.PEM_FOOTER))
    except OSError as error:
        raise ConfigError(f"{certificate}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{certificate}: it cannot be told when it ends") from error


def _server_context(
    pairs: Iterable[CertificatePair], alpn: str, problems: list[str]
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= (
        ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_COMPRESSION
    )
    context.num_tickets = _TICKETS
    context.set_alpn_protocols([alpn])
    for pair in pairs:
        found = [*_missing(pair.certificate, _CERTIFICATE), *_missing(pair.private_key, _KEY)]
        problems += found
        if not found:
            problems += _load(context, pair)
    return context


def _missing(path: Path, wanted: tuple[bytes, str]) -> Iterator[str]:
    """Why the file at `path` does not hold what is `wanted` of it."""
    mark, name = wanted
    try:
        if mark not in read_plain(path):
            yield f"{path}: there is no {name} in it (PEM)"
    except OSError as error:
        yield f"{path}: {error.strerror}"


def _load(context: ssl.SSLContext, pair: CertificatePair) -> Iterator[str]:
    """Have `context` serve a pair; why it cannot."""

    def refuse_passphrase() -> str:
        raise ConfigError(f"{pair.private_key}: the key is encrypted; a service needs a plain one")

    try:
        context.load_cert_chain(pair.certificate, pair.private_key, password=refuse_passphrase)
    except ConfigError as error:
        yield str(error)
    except ssl.SSLError as error:
        reason = (error.reason or "unreadable").lower().replace("_", " ")
        reason = _PLAINLY.get(reason, reason)
        yield f"{pair.certificate} with {pair.private_key}: {reason}"
    except OSError as error:
        yield f"{pair.certificate} or {pair.private_key}: {error.strerror}"
