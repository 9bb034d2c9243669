"""Whom a TLS client of ours trusts: the system's authorities, or those in a file."""

import errno
import ssl
from pathlib import Path

from gatekeeper.plain_files import read_plain


def verifying_context(bundle: Path | None) -> ssl.SSLContext:
    """A client's context that verifies certificate and name, by the certificates in `bundle` (PEM),
    by the system's where that is None. Raises `OSError`, whose `strerror` is for people."""
    if bundle is not None:
        read_plain(bundle)
    try:
        return ssl.create_default_context(cafile=None if bundle is None else str(bundle))
    except ssl.SSLError as error:
        raise OSError(errno.EINVAL, "no certificate in it", str(bundle)) from error
