"""A blocklist of your own in SQLite: addresses and networks that other programs write down.

It is opened for reading alone and asked in a thread: whoever writes to it at this moment holds up
nobody but the client that is asked about. A new row counts from the next connection on. Make it
with

    CREATE TABLE blocked (prefix TEXT PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
    INSERT INTO blocked VALUES ('192.0.2.0/24', 'sold to spammers');

and not in WAL mode, in which readers write, too.
"""

import ipaddress
import sqlite3
import threading

from gatekeeper.hooks import ConnectionOpened, Context, Facts, Verdict, refuse

DATABASE = "/var/lib/blocklist/blocklist.db"  # the guard's user must be able to read it
LENGTHS = {4: (32, 24, 22, 20, 19, 16), 6: (128, 64, 56, 48, 44, 40, 36, 32)}  # that are looked for

_mine = threading.local()  # each thread has its own connection


def connection_opened(event: ConnectionOpened, facts: Facts, context: Context) -> Verdict | None:
    """Refuse who is listed, on every listener."""
    address = ipaddress.ip_address(context.client.address.partition("%")[0])
    prefixes = [
        str(ipaddress.ip_network((address, length), strict=False))
        for length in LENGTHS[address.version]
    ]
    marks = ", ".join("?" * len(prefixes))
    query = f"SELECT prefix FROM blocked WHERE prefix IN ({marks})"  # noqa: S608  marks alone
    row = _database().execute(query, prefixes).fetchone()
    if row is None:
        return None
    context.tag("blocklist")
    return refuse()


def _database() -> sqlite3.Connection:
    if not hasattr(_mine, "connection"):
        _mine.connection = sqlite3.connect(f"file:{DATABASE}?mode=ro", uri=True, timeout=0.5)
    return _mine.connection  # type: ignore[no-any-return]  # of a thread's own
