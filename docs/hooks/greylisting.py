"""Greylisting for port 25: a stranger's first message is put off, and taken when it comes again.

Strangers are told apart by their network (/24 or /64), the sender and the recipient. What was seen
is kept in SQLite, so a restart forgets nothing. Bounces (the null sender) are never put off.
"""

import hashlib
import ipaddress
import itertools
import re
import sqlite3
import threading

from gatekeeper.hooks import Context, Facts, RcptAttempt, Scope, Verdict, defer

DATABASE = "/var/lib/gatekeeper/greylist.db"  # where the guard's user may write
WAIT_S = 5 * 60.0  # who comes again sooner is put off still
COMES_WITHIN_S = 2 * 86400.0  # who comes again later is a stranger once more
KNOWN_S = 35 * 86400.0  # who has passed is known for so long after his last message
MAX_ROWS = 1_000_000  # about 60 MB; the oldest go first
PRUNE_EACH = 1_000  # strangers

_mine = threading.local()  # each thread has its own connection
_strangers = itertools.count(1)


def rcpt(event: RcptAttempt, facts: Facts, context: Context) -> Verdict | None:
    """Put strangers off."""
    if facts.scope is not Scope.MX or not event.reverse_path:
        return None
    key, now, database = _key(event, context.client.address), context.now, _database()
    row = database.execute("SELECT first, passed FROM seen WHERE key = ?", (key,)).fetchone()
    first, passed = row or (None, None)
    if passed is not None and now - passed < KNOWN_S:
        if now - passed > 86400:  # once a day is enough
            database.execute("UPDATE seen SET passed = ? WHERE key = ?", (now, key))
        return None
    if passed is None and first is not None and WAIT_S <= now - first < COMES_WITHIN_S:
        database.execute("UPDATE seen SET passed = ? WHERE key = ?", (now, key))
        return None
    if first is None or passed is not None or now - first >= COMES_WITHIN_S:
        database.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, NULL)", (key, now))
        if next(_strangers) % PRUNE_EACH == 0:
            _prune(database, now)
    return defer("4.2.0 Greylisted, please try again in some minutes")


def _key(event: RcptAttempt, address: str) -> bytes:
    """What a stranger is known by. Senders that differ in a number alone, as those of mailing lists
    do for each message, are one."""
    length = 64 if ":" in address else 24
    network = ipaddress.ip_network(f"{address}/{length}", strict=False)
    sender = re.sub(r"[0-9]+", "#", (event.reverse_path or "").lower())
    triplet = f"{network}\n{sender}\n{event.forward_path.lower()}"
    return hashlib.blake2b(triplet.encode("utf-8", "surrogateescape"), digest_size=16).digest()


def _database() -> sqlite3.Connection:
    if not hasattr(_mine, "connection"):
        connection = sqlite3.connect(DATABASE, timeout=1.0, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS seen (key BLOB PRIMARY KEY, first REAL, passed REAL)"
        )
        _mine.connection = connection
    return _mine.connection  # type: ignore[no-any-return]  # of a thread's own


def _prune(database: sqlite3.Connection, now: float) -> None:
    """Forget who did not come again, who is known no more, and the oldest beyond `MAX_ROWS`."""
    database.execute(
        "DELETE FROM seen WHERE passed IS NULL AND first < ? OR passed < ?",
        (now - COMES_WITHIN_S, now - KNOWN_S),
    )
    database.execute(
        "DELETE FROM seen WHERE rowid IN (SELECT rowid FROM seen ORDER BY rowid DESC"
        " LIMIT -1 OFFSET ?)",
        (MAX_ROWS,),
    )
