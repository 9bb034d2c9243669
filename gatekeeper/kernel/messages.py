"""nf_tables netlink messages for set elements and counters: octets in and out, no socket.

Shapes are those of <linux/netlink.h>, <linux/netfilter/nfnetlink.h> and
<linux/netfilter/nf_tables.h>. A netlink message is a 16-octet header, a 4-octet nfgenmsg and
attributes; an attribute is its length, its type and a value padded to four octets. Header fields
are in host order, the numbers nf_tables keeps in attributes in network order.

Changes travel in a batch, BEGIN … END, which the kernel applies whole or not at all. Re-adding a
held element does not refresh its timeout on all kernels, and deleting an absent one fails the
batch. So a ban is add, delete, add, and a lift is add, delete: right whether or not it was held.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gatekeeper.kernel.element import SETS, Element

TABLE: Final = "gatekeeper"
NFPROTO_INET: Final = 1
FAMILY: Final = bytes((NFPROTO_INET,))  # how the body of a message on the inet family begins
_SUBSYSTEM: Final = 10  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN: Final = 0x10
_BATCH_END: Final = 0x11

GET_TABLE: Final = _SUBSYSTEM << 8 | 1
NEW_RULE: Final = _SUBSYSTEM << 8 | 6
GET_RULES: Final = _SUBSYSTEM << 8 | 7
NEW_SET: Final = _SUBSYSTEM << 8 | 9
GET_SETS: Final = _SUBSYSTEM << 8 | 10
NEW_ELEMENTS: Final = _SUBSYSTEM << 8 | 12
GET_ELEMENTS: Final = _SUBSYSTEM << 8 | 13
DELETE_ELEMENTS: Final = _SUBSYSTEM << 8 | 14
NEW_OBJECT: Final = _SUBSYSTEM << 8 | 18
GET_OBJECTS: Final = _SUBSYSTEM << 8 | 19
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3

REQUEST: Final = 0x1
ACK: Final = 0x4
DUMP: Final = 0x300
CREATE: Final = 0x400  # without NLM_F_EXCL: adding what is there is no error

_NESTED: Final = 0x8000
_TYPE_MASK: Final = 0x3FFF
_ELEM_KEY: Final = 1
_ELEM_TIMEOUT: Final = 4
_ELEM_EXPIRATION: Final = 5
_OBJ_TABLE: Final = 1
_OBJ_NAME: Final = 2
_OBJ_TYPE: Final = 3
_OBJ_DATA: Final = 4
_OBJECT_COUNTER: Final = 1

# nla_len is 16 bits: at 40 octets an element a thousand stay well below 65535 (and one request of
# the protocol has no more).
ELEMENTS_PER_MESSAGE: Final = 1_000
ENDLESS_MS: Final = 8 * 86_400_000  # the longest ban of the protocol
_LIFT_TIMEOUT_MS: Final = 60_000  # for the moment inside the transaction; any would do

# A whole element, as `_element` builds it, in one go: lengths and types of the element, its key and
# the key's value; the key; the timeout's length, type and milliseconds.
_BULK_V4: Final = struct.Struct("=HHHHHH4sHH8s")
_BULK_V6: Final = struct.Struct("=HHHHHH16sHH8s")
_HEADS_V4: Final = (28, 1 | _NESTED, 12, _ELEM_KEY | _NESTED, 8, 1)
_HEADS_V6: Final = (40, 1 | _NESTED, 24, _ELEM_KEY | _NESTED, 20, 1)

# And as a dump has it, nothing marked as nested: behind them the timeout and the time left.
_HELD_V4: Final = struct.Struct("=HHHHHH4sHH8sHH8s")
_HELD_V6: Final = struct.Struct("=HHHHHH16sHH8sHH8s")
_HELD_HEAD_V4: Final = (40, 1, 12, _ELEM_KEY, 8, 1)
_HELD_HEAD_V6: Final = (52, 1, 24, _ELEM_KEY, 20, 1)
_HELD_MIDDLE: Final = (12, _ELEM_TIMEOUT)
_HELD_END: Final = (12, _ELEM_EXPIRATION)

_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")


@dataclass(frozen=True, slots=True)
class Message:
    """One message out of a datagram. `body` begins behind the netlink header."""

    type: int
    sequence: int
    body: bytes

    @property
    def errno(self) -> int:
        """Of an NLMSG_ERROR (0 is an acknowledgement) or NLMSG_DONE."""
        return -int(struct.unpack_from("=i", self.body)[0]) if len(self.body) >= 4 else 0


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return _ATTRIBUTE.pack(len(value) + 4, kind) + value + b"\x00" * (-len(value) % 4)


def message(kind: int, flags: int, sequence: int, body: bytes, resource: int = 0) -> bytes:
    """One whole message to the inet family."""
    return (
        _HEADER.pack(len(body) + 20, kind, flags | REQUEST, sequence, 0)
        + struct.pack(">BBH", NFPROTO_INET, 0, resource)
        + body
    )


def change(seconds: Mapping[Element, int], lifts: Iterable[Element], sequence: int) -> bytes:
    """One transaction that holds each element of `seconds` for so long from now and lets go of
    `lifts`. The last operation asks for the one acknowledgement. No element may be in both."""
    added = _by_set(seconds)
    lifted = _by_set(lifts)
    operations: list[tuple[int, bytes]] = []
    for name, elements in added.items():
        adds = list(_element_lists(name, elements, seconds))
        operations += [(NEW_ELEMENTS, body) for body in adds]
        operations += [(DELETE_ELEMENTS, body) for body in _element_lists(name, elements, None)]
        operations += [(NEW_ELEMENTS, body) for body in adds]
    for name, elements in lifted.items():
        momentary = dict.fromkeys(elements, _LIFT_TIMEOUT_MS // 1000)
        operations += [(NEW_ELEMENTS, body) for body in _element_lists(name, elements, momentary)]
        operations += [(DELETE_ELEMENTS, body) for body in _element_lists(name, elements, None)]
    return _batch(operations, sequence)


def _batch(operations: Sequence[tuple[int, bytes]], sequence: int) -> bytes:
    """One transaction; its last operation asks for the acknowledgement."""
    parts = [message(_BATCH_BEGIN, 0, sequence, b"", _SUBSYSTEM)]
    for index, (kind, body) in enumerate(operations, 1):
        flags = CREATE if kind == NEW_ELEMENTS else 0
        parts.append(message(kind, flags | ACK * (index == len(operations)), sequence, body))
    parts.append(message(_BATCH_END, 0, sequence, b"", _SUBSYSTEM))
    return b"".join(parts)


def get(wanted: Element, sequence: int) -> bytes:
    """Ask for one element; the answer is one NEW_ELEMENTS or an error (ENOENT: not held)."""
    (body,) = _element_lists(wanted.set_name, [wanted], None)
    return message(GET_ELEMENTS, 0, sequence, body)


def dump(set_name: str, sequence: int) -> bytes:
    """Ask for all elements of a set."""
    return message(GET_ELEMENTS, DUMP, sequence, _set(set_name))


def counters(sequence: int) -> bytes:
    """Ask for all named counters of the table."""
    body = attribute(_OBJ_TABLE, _name(TABLE)) + attribute(
        _OBJ_TYPE, _OBJECT_COUNTER.to_bytes(4, "big")
    )
    return message(GET_OBJECTS, DUMP, sequence, body)


def sets(sequence: int) -> bytes:
    """Ask for the sets of the table, without their elements."""
    return message(GET_SETS, DUMP, sequence, attribute(1, _name(TABLE)))


def rules(sequence: int) -> bytes:
    """Ask for the rules of the table."""
    return message(GET_RULES, DUMP, sequence, attribute(1, _name(TABLE)))


def read_table(body: bytes) -> str:
    """The table that any message of nf_tables speaks of, which is its first attribute throughout;
    empty where it has none."""
    return _text(read_attributes(body[4:]).get(1, b""))


def read_name(body: bytes) -> str:
    """The name of a NEW_SET answer, or the set of a message on elements."""
    return _text(read_attributes(body[4:]).get(2, b""))


def table(sequence: int) -> bytes:
    """Ask for the table itself."""
    return message(GET_TABLE, 0, sequence, attribute(1, _name(TABLE)))


def messages(datagram: bytes) -> Iterator[Message]:
    """The messages of one datagram from the kernel."""
    position = 0
    while position + 16 <= len(datagram):
        length, kind, _flags, sequence, _port = _HEADER.unpack_from(datagram, position)
        if length < 16:
            return
        yield Message(kind, sequence, datagram[position + 16 : position + length])
        position += length + 3 & ~3


def read_records(body: bytes) -> list[tuple[bytes, int]]:
    """Of a NEW_ELEMENTS answer the packed keys and the milliseconds each has left, as
    `read_elements` has them; for the thousands of a dump, which all look alike."""
    listed = read_attributes(body[4:]).get(3, b"")
    for shape, head in ((_HELD_V4, _HELD_HEAD_V4), (_HELD_V6, _HELD_HEAD_V6)):
        if len(listed) % shape.size == 0:
            rows = list(shape.iter_unpack(listed))
            if all(
                row[:6] == head and row[7:9] == _HELD_MIDDLE and row[10:12] == _HELD_END
                for row in rows
            ):
                return [(row[6], int.from_bytes(row[12], "big")) for row in rows]
    return [(each.packed, left_ms) for each, left_ms in read_elements(body)]


def read_elements(body: bytes) -> list[tuple[Element, int]]:
    """The elements of a NEW_ELEMENTS answer, with the milliseconds each has left; one without end,
    which only somebody else makes, has `ENDLESS_MS`."""
    top = read_attributes(body[4:])
    name = _text(top[2])
    scope, length = SETS[name]
    found = []
    for kind, value in _iterate(top.get(3, b"")):
        if kind == 1:
            fields = read_attributes(value)
            key = read_attributes(fields[_ELEM_KEY])[1]
            left = fields.get(_ELEM_EXPIRATION) or fields.get(_ELEM_TIMEOUT) or b""
            left_ms = int.from_bytes(left, "big") if left else ENDLESS_MS
            found.append((Element(scope, key, length), left_ms))
    return found


def put(name: str, records: Sequence[tuple[bytes, int]], replace: bool, sequence: int) -> bytes:
    """One transaction that holds `records`, each the packed key of set `name` and its seconds.

    `replace` makes it add, delete, add, as `change` does; else what is held keeps its time, at a
    third of the kernel's work. `records` are not empty and no key comes twice.
    """
    pack = _BULK_V4.pack if len(records[0][0]) == 4 else _BULK_V6.pack
    head = _HEADS_V4 if len(records[0][0]) == 4 else _HEADS_V6
    chunks = [
        records[at : at + ELEMENTS_PER_MESSAGE]
        for at in range(0, len(records), ELEMENTS_PER_MESSAGE)
    ]
    adds = [
        (
            NEW_ELEMENTS,
            b"".join(
                [
                    pack(*head, key, 12, _ELEM_TIMEOUT, (left * 1000).to_bytes(8, "big"))
                    for key, left in chunk
                ]
            ),
        )
        for chunk in chunks
    ]
    deletes = [
        (DELETE_ELEMENTS, b"".join([_element(key, None) for key, _ in chunk])) for chunk in chunks
    ]
    table_and_set = _set(name)
    operations = [
        (kind, table_and_set + attribute(3 | _NESTED, body))
        for kind, body in (adds + deletes + adds if replace else adds)
    ]
    return _batch(operations, sequence)


def read_counter(body: bytes) -> tuple[str, int, int]:
    """Name, packets and octets of a NEW_OBJECT answer."""
    fields = read_attributes(body[4:])
    data = read_attributes(fields[_OBJ_DATA])
    name = _text(fields[_OBJ_NAME])
    return name, int.from_bytes(data[2], "big"), int.from_bytes(data[1], "big")


def _by_set(elements: Iterable[Element]) -> dict[str, list[Element]]:
    sets: dict[str, list[Element]] = {}
    for each in elements:
        sets.setdefault(each.set_name, []).append(each)
    return sets


def _element_lists(
    set_name: str, elements: Sequence[Element], seconds: Mapping[Element, int] | None
) -> Iterator[bytes]:
    """Bodies of element messages for one set, none longer than an attribute may be."""
    head = _set(set_name)
    for start in range(0, len(elements), ELEMENTS_PER_MESSAGE):
        chunk = elements[start : start + ELEMENTS_PER_MESSAGE]
        nested = b"".join(
            _element(each.packed, None if seconds is None else seconds[each] * 1000)
            for each in chunk
        )
        yield head + attribute(3 | _NESTED, nested)


def _element(key: bytes, timeout_ms: int | None) -> bytes:
    fields = attribute(_ELEM_KEY | _NESTED, attribute(1, key))
    if timeout_ms is not None:
        fields += attribute(_ELEM_TIMEOUT, timeout_ms.to_bytes(8, "big"))
    return attribute(1 | _NESTED, fields)


def _set(set_name: str) -> bytes:
    return attribute(1, _name(TABLE)) + attribute(2, _name(set_name))


def _text(value: bytes) -> str:
    return value.rstrip(b"\x00").decode("ascii", "replace")


def _name(text: str) -> bytes:
    return text.encode("ascii") + b"\x00"


def _iterate(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, position)
        if length < 4:
            return
        yield kind & _TYPE_MASK, data[position + 4 : position + length]
        position += length + 3 & ~3


def read_attributes(data: bytes) -> dict[int, bytes]:
    """Attributes by their type; of two of one type the last."""
    return dict(_iterate(data))
