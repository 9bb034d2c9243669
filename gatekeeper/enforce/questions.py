"""Bans as questions to the privileged process: a few of any kind in one packet, or thousands packed
set by set. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final

from gatekeeper.ban import Scope
from gatekeeper.enforce.shape import Key
from gatekeeper.kernel.protocol import RECORDS, RECORDS_MAX

Question = dict[str, object]
_Bulk = dict[tuple[Scope, int], list[bytes]]

_KEY_OCTETS: Final = {length: shape.size - 4 for length, shape in RECORDS.items()}


def single(final: Mapping[Key, int | None], entries_max: int) -> Iterator[Question]:
    """`ban` questions of at most `entries_max` changes each; None is a lift."""
    changes = iter(final.items())
    while chunk := list(islice(changes, entries_max)):
        entries: list[list[object]] = []
        lift: list[list[object]] = []
        for (prefix, scope), seconds in chunk:
            entry: list[object] = [prefix.network, prefix.length, scope.value]
            if seconds is None:
                lift.append(entry)
            else:
                entries.append([*entry, seconds])
        yield {"verb": "ban", "entries": entries, "lift": lift}


def bulk(final: Mapping[Key, int | None], *, replace: bool) -> Iterator[Question]:
    """`put` questions, each of one set; lifts go before them."""
    lifts: dict[Key, int | None] = {}
    packed: _Bulk = {}
    for key, seconds in final.items():
        if seconds is None:
            lifts[key] = None
        else:
            prefix, scope = key
            length = prefix.length
            record = RECORDS[length].pack(prefix.packed[: _KEY_OCTETS[length]], seconds)
            packed.setdefault((scope, length), []).append(record)
    yield from single(lifts, RECORDS_MAX // 4)
    for (scope, length), records in packed.items():
        for chunk in _chunks(records):
            yield {
                "verb": "put",
                "scope": scope.value,
                "length": length,
                "records": b"".join(chunk).hex(),
                "replace": replace,
            }


def _chunks(records: Iterable[bytes]) -> Iterator[list[bytes]]:
    waiting = iter(records)
    while chunk := list(islice(waiting, RECORDS_MAX)):
        yield chunk
