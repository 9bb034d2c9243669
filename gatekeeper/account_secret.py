"""The key that accounts are hashed with in durable state: 32 random octets in a file of their own.

The database without this file tells nobody who has a mailbox here; this file without the database
tells nothing at all. Whoever loses it loses what was remembered of accounts, and nothing else.
"""

import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

from gatekeeper.errors import StoreError

FILE_NAME: Final = "account.key"  # in the state directory
OCTETS: Final = 32  # as many as BLAKE2b needs to be a keyed hash of full strength
FILE_MODE: Final = 0o600
_FOREIGN_BITS: Final = stat.S_IRWXG | stat.S_IRWXO


def account_secret(directory: Path | None) -> bytes:
    """The key kept in `directory`, made where there is none; random where that is None.

    Two processes that make it at once get the same one, and a crash leaves a whole key or none.
    Raises `StoreError` where it can be neither read nor made, is open to others than its owner, or
    has another length. Such a file is left alone: a new key would orphan what the old one named.
    """
    if directory is None:
        return secrets.token_bytes(OCTETS)
    path = directory / FILE_NAME
    try:
        if not path.exists():
            _make(path)
        return _read(path)
    except OSError as error:
        why = error.strerror or error
        raise StoreError(f"{path}: cannot be used as the key of accounts: {why}") from error


def _read(path: Path) -> bytes:
    # Without O_NONBLOCK a FIFO of this name would hold up the start for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        octets = os.read(descriptor, OCTETS + 1)
    finally:
        os.close(descriptor)
    if mode & _FOREIGN_BITS:
        raise StoreError(f"{path}: its mode is {mode:04o}; make it {FILE_MODE:04o}")
    if len(octets) != OCTETS:
        raise StoreError(
            f"{path}: not a key of {OCTETS} octets; put it back from a backup, or remove it and"
            " what was remembered of accounts is forgotten"
        )
    return octets


def _make(path: Path) -> None:
    """Linked into place when it is whole and on the disk; one that came first stays."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        try:
            os.write(descriptor, secrets.token_bytes(OCTETS))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(name, path)
        except FileExistsError:
            return
    finally:
        os.unlink(name)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
