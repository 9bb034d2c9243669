"""What a packet asks for: octets in, a checked request or an `Invalid` out. Pure.

Each field is checked here, whatever the guard's own code did before it sent it.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from gatekeeper.kernel import protocol
from gatekeeper.kernel.element import SCOPES, Element, Network, element, network, pack

_HOST_OCTETS: Final = {24: 1, 48: 2}  # of a record's key, by prefix length


def parse(packet: bytes) -> tuple[int, protocol.Request | protocol.Invalid]:
    """The id of a packet (0 where it has none) and what it asks. Never raises."""
    if len(packet) > protocol.PACKET_MAX_OCTETS:
        return 0, protocol.Invalid("packet too large")
    try:
        fields = json.loads(packet)
    except (ValueError, RecursionError):
        return 0, protocol.Invalid("not JSON")
    if not isinstance(fields, dict):
        return 0, protocol.Invalid("not an object")
    ident = fields.pop("id", 0)
    if type(ident) is not int or not 0 <= ident <= protocol.ID_MAX:
        return 0, protocol.Invalid("bad id")
    verb = fields.pop("verb", None)
    reader = _READERS.get(verb) if isinstance(verb, str) else None
    if reader is None:
        return ident, protocol.Invalid("unknown verb")
    try:
        request = reader(fields)
    except ValueError as error:
        return ident, protocol.Invalid(str(error))
    if fields:
        return ident, protocol.Invalid("unknown field")
    return ident, request


# Readers take what they know out of the fields; `parse` refuses what is left.


def _read_hello(_fields: dict[str, Any]) -> protocol.Request:
    return protocol.Hello()


def _read_ban(fields: dict[str, Any]) -> protocol.Request:
    rows = _rows(fields.pop("entries", None))
    lifted = _rows(fields.pop("lift", []))
    if len(rows) + len(lifted) > protocol.ENTRIES_MAX:
        raise ValueError("too many entries")
    bans: dict[Element, int] = {}
    for row in rows:
        if not isinstance(row, list) or len(row) != 4:
            raise ValueError("a ban is [address, length, scope, seconds]")
        seconds = row[3]
        if type(seconds) is not int or not 1 <= seconds <= protocol.SECONDS_MAX:
            raise ValueError("seconds out of range")
        bans[_element(row[:3])] = seconds  # the last of one key wins
    lifts = tuple(dict.fromkeys(map(_element, lifted)))
    if not bans.keys().isdisjoint(lifts):
        raise ValueError("banned and lifted at once")
    return protocol.Ban(bans, lifts)


def _read_lift(fields: dict[str, Any]) -> protocol.Request:
    return protocol.Ban({}, tuple(dict.fromkeys(map(_element, _rows(fields.pop("entries", None))))))


def _read_put(fields: dict[str, Any]) -> protocol.Request:
    scope, length = _text(fields.pop("scope", None)), fields.pop("length", None)
    shape = protocol.RECORDS.get(length) if type(length) is int else None
    if scope not in SCOPES or shape is None:
        raise ValueError("unknown set")
    packed = bytes.fromhex(_text(fields.pop("records", None)))
    if len(packed) % shape.size or len(packed) > shape.size * protocol.RECORDS_MAX:
        raise ValueError("records are cut off or too many")
    records = dict(shape.iter_unpack(packed))  # the last of one key wins
    if records and not 1 <= min(records.values()) <= max(records.values()) <= protocol.SECONDS_MAX:
        raise ValueError("seconds out of range")
    if length in _HOST_OCTETS and any(key[-_HOST_OCTETS[length] :].strip(b"\0") for key in records):
        raise ValueError("address has host bits")
    host = bytes(8) if shape is protocol.LONG else b""
    whole = [(key + host, left) for key, left in records.items()]
    return protocol.Put(scope, length, whole, _flag(fields.pop("replace", None)))


def _read_get(fields: dict[str, Any]) -> protocol.Request:
    return protocol.Get(_element(fields.pop("entry", None)))


def _read_list(fields: dict[str, Any]) -> protocol.Request:
    return protocol.List(_flag(fields.pop("start", None)))


def _read_counters(_fields: dict[str, Any]) -> protocol.Request:
    return protocol.Counters()


def _read_kill(fields: dict[str, Any]) -> protocol.Request:
    return protocol.Kill(tuple(dict.fromkeys(map(_element, _rows(fields.pop("entries", None))))))


def _read_reload(fields: dict[str, Any]) -> protocol.Request:
    return protocol.Reload(
        _networks(fields.pop("allow", None)), _networks(fields.pop("block", None))
    )


def _networks(value: object) -> tuple[Network, ...]:
    if not isinstance(value, list) or len(value) > protocol.LIST_MAX:
        raise ValueError("allow and block are lists, and not long ones")
    return tuple(network(_text(text)) for text in value)


def _read_suspend(fields: dict[str, Any]) -> protocol.Request:
    return protocol.Suspend(_flag(fields.pop("on", None)))


def _read_dial(fields: dict[str, Any]) -> protocol.Request:
    target, port = fields.pop("target", None), fields.pop("port", None)
    if type(target) is not int or type(port) is not int or not 0 < port < 65536 or target < 0:
        raise ValueError("target and port are numbers")
    return protocol.Dial(target, pack(_text(fields.pop("source", None))), port)


_READERS: Final[dict[str, Callable[[dict[str, Any]], protocol.Request]]] = {
    "hello": _read_hello,
    "ban": _read_ban,
    "lift": _read_lift,
    "put": _read_put,
    "get": _read_get,
    "list": _read_list,
    "counters": _read_counters,
    "kill": _read_kill,
    "reload": _read_reload,
    "suspend": _read_suspend,
    "dial": _read_dial,
}


def _rows(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("entries is a list")
    if len(value) > protocol.ENTRIES_MAX:
        raise ValueError("too many entries")
    return value


def _element(row: object) -> Element:
    if not isinstance(row, list) or len(row) != 3:
        raise ValueError("an entry is [address, length, scope]")
    address, length, scope = row
    if type(length) is not int:
        raise ValueError("length is not a number")
    return element(_text(address), length, _text(scope))


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not true or false")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a string")
    return value
