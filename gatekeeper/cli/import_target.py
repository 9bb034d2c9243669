"""Where imported pairs go: to the guard that runs, or else into the database it will start from."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import trio

from gatekeeper import host
from gatekeeper.account_secret import account_secret
from gatekeeper.cli.client import ask
from gatekeeper.cli.import_lines import Pair
from gatekeeper.errors import NotRunning
from gatekeeper.policy.keys import account_key
from gatekeeper.remembered import FamiliarPair
from gatekeeper.settings import Settings
from gatekeeper.store.sqlite import SqliteStore

MAX_ROWS: Final = 500  # as many as the guard takes in one request
MAX_OCTETS: Final = 48 * 1024  # of rows in a request, which as a whole may have 64 KiB
BATCH: Final = 2_000  # records in a transaction

Row = list[object]


def hand_over(pairs: Sequence[Pair], socket: Path, settings: Settings) -> int | None:
    """Give `pairs` to the guard on `socket` or, where none answers, to the database. The number
    that were new to the database; None where a guard was told, who does not say.

    As root it becomes the guard's user, for good, before it touches the database. Raises
    `StoreError`, and `NotRunning` where there is neither guard nor database.
    """
    oldest_first = sorted(pairs, key=lambda pair: pair.last_at)
    try:
        ask(socket, "status")
    except NotRunning:
        if settings.store.path is None:
            raise NotRunning(
                f"no guard answers on {socket}, and the configuration has no database to write to"
            ) from None
        return _store(oldest_first, settings)
    for rows in requests(oldest_first):
        ask(socket, "familiar-add", rows=rows)
    return None


def requests(pairs: Sequence[Pair]) -> Iterator[list[Row]]:
    """The rows of `pairs`, `[name, address, Unix time]`, as many at a time as one request holds."""
    rows: list[Row] = []
    octets = 0
    for pair in pairs:
        for at in sorted({pair.first_at, pair.last_at}):
            row: Row = [pair.authcid, pair.address, at]
            size = len(json.dumps(row)) + len(", ")
            if rows and (len(rows) >= MAX_ROWS or octets + size > MAX_OCTETS):
                yield rows
                rows, octets = [], 0
            rows.append(row)
            octets += size
    if rows:
        yield rows


def _store(pairs: Sequence[Pair], settings: Settings) -> int:
    assert settings.store.path is not None, "the caller has looked"
    if os.geteuid() == 0:  # what root made now the guard could not open later
        for directory in {settings.state_dir, settings.store.path.parent}:
            host.own_directory(directory, settings.user)
        host.drop_rights(settings.user)
    key = account_secret(settings.state_dir)
    return trio.run(remember, pairs, settings.store.path, settings.policy.ban_memory_s, key)


async def remember(pairs: Sequence[Pair], path: Path, memory_s: float, key: bytes) -> int:
    """Write `pairs` into the database at `path`, added to what it knows of them; the number of
    those it did not know. Raises `StoreError`."""
    store = await SqliteStore.open(path, memory_s)
    try:
        now = time.time()
        known = {
            (memory.account, memory.net): memory
            for memory in await store.recall(now)
            if isinstance(memory, FamiliarPair)
        }
        told = [
            FamiliarPair(account_key(pair.authcid, key), pair.net, pair.first_at, pair.last_at)
            for pair in pairs
        ]
        merged = [_merged(each, known.get((each.account, each.net))) for each in told]
        for start in range(0, len(merged), BATCH):
            await store.remember(merged[start : start + BATCH], now)
    finally:
        await store.aclose()
    return sum((each.account, each.net) not in known for each in told)


def _merged(told: FamiliarPair, known: FamiliarPair | None) -> FamiliarPair:
    if known is None:
        return told
    return replace(
        told,
        first_at=min(told.first_at, known.first_at),
        last_at=max(told.last_at, known.last_at),
    )
