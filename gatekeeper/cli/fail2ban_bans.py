"""The bans in force in fail2ban's database, and which of its jails speak of mail.

fail2ban keeps in `bips` the last ban of each address in each jail, and makes its bans anew from it
when it starts; `jails.enabled` only says whether it has been stopped. A ban is in force until
`timeofban + bantime`, for ever where `bantime` is -1. The schema is that of version 4, of fail2ban
0.11 to 1.1.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from gatekeeper.ban import Scope
from gatekeeper.errors import GatekeeperError

MAX_ROWS: Final = 1_000_000  # as many bans as a guard holds
BUSY_S: Final = 5.0  # fail2ban writes for milliseconds
OLDEST_VERSION: Final = 4
_IN_FORCE: Final = (
    "SELECT jail, ip, CASE WHEN bantime = -1 THEN NULL ELSE timeofban + bantime - ?1 END"
    " FROM bips WHERE bantime = -1 OR timeofban + bantime > ?1 LIMIT ?2"
)
_AUTH: Final = (Scope.AUTH,)
_MX: Final = (Scope.MX,)
# Names as fail2ban's own jail.conf has them, and variants of them; the first that fits.
_MAIL_JAILS: Final = (
    ("postfix-sasl*", _AUTH),
    ("postfix*", _MX),
    ("dovecot*", _AUTH),
    ("exim-spam*", _MX),
    ("exim*", (*_AUTH, *_MX)),  # its filter finds wrong passwords and refused mail
    ("sendmail-auth", _AUTH),
    ("sendmail-reject", _MX),
    ("courier-auth", _AUTH),
    ("courier-smtp", _MX),
    ("qmail-rbl", _MX),
    ("cyrus-imap", _AUTH),
    ("uwimap-auth", _AUTH),
    ("perdition", _AUTH),
    ("solid-pop3d", _AUTH),
    ("sieve", _AUTH),
)


@dataclass(frozen=True, slots=True)
class JailBan:
    """A ban in force; `address` is what the jail bans, `seconds` what is left, None for ever."""

    jail: str
    address: str
    seconds: float | None


def scopes_of(jail: str) -> tuple[Scope, ...]:
    """What the bans of a jail speak of; nothing for a jail that is not about mail."""
    return next((scopes for name, scopes in _MAIL_JAILS if fnmatchcase(jail, name)), ())


def read_bans(path: Path, now: float) -> list[JailBan]:
    """Every ban in force at Unix time `now` in the database at `path`, which is not written to.

    Raises `GatekeeperError`.
    """
    if not path.is_file():
        raise GatekeeperError(f"{path}: no such file")
    try:
        with closing(_opened(path)) as database:
            rows = list(_rows(path, database, now))
    except sqlite3.Error as error:
        raise GatekeeperError(f"{path}: cannot be read as fail2ban's database: {error}") from error
    if len(rows) > MAX_ROWS:
        raise GatekeeperError(f"{path}: has more than {MAX_ROWS} bans in force")
    return rows


def _opened(path: Path) -> sqlite3.Connection:
    """The database, read only. A user who may not make the files that reading may take beside it
    can read it all the same as long as no change waits in one of them."""
    uri = path.absolute().as_uri()
    try:
        return _connected(f"{uri}?mode=ro")
    except sqlite3.OperationalError:
        if any(Path(f"{path}-{kind}").exists() for kind in ("wal", "journal")):
            raise
        return _connected(f"{uri}?mode=ro&immutable=1")


def _connected(uri: str) -> sqlite3.Connection:
    database = sqlite3.connect(uri, uri=True, timeout=BUSY_S)
    try:
        database.text_factory = lambda octets: octets.decode(errors="replace")
        database.execute("SELECT name FROM sqlite_schema LIMIT 1").fetchall()  # it opens only now
    except BaseException:
        database.close()
        raise
    return database


def _rows(path: Path, database: sqlite3.Connection, now: float) -> Iterator[JailBan]:
    found = database.execute("SELECT max(version) FROM fail2banDb").fetchone()[0]
    if not isinstance(found, int) or found < OLDEST_VERSION:
        raise GatekeeperError(
            f"{path}: written by fail2ban before 0.11 (version {found} of its database);"
            " a newer fail2ban converts it when it starts"
        )
    for jail, address, seconds in database.execute(_IN_FORCE, (now, MAX_ROWS + 1)):
        if seconds is None or isinstance(seconds, int | float):
            yield JailBan(str(jail), str(address), seconds)
