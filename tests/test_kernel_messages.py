"""The netlink octets: what goes to nf_tables, and what is read from it."""

import struct

import pytest

from gatekeeper.kernel import messages
from gatekeeper.kernel.element import SETS, Element, element

V4 = element("192.0.2.7", 32, "auth")
V4_NETWORK = element("192.0.2.0", 24, "auth")
V6 = element("2001:db8:1:2::", 64, "mx")

_BEGIN, _END = 0x10, 0x11
_ADD, _DELETE = messages.NEW_ELEMENTS, messages.DELETE_ELEMENTS


def sent(datagram: bytes) -> list[tuple[int, int, int]]:
    """Type, flags and length of every message; together they are the whole datagram."""
    found = []
    position = 0
    while position < len(datagram):
        length, kind, flags = struct.unpack_from("=IHH", datagram, position)
        found.append((kind, flags, length))
        position += length
    assert position == len(datagram)
    return found


def kinds(datagram: bytes) -> list[int]:
    return [kind for kind, _, _ in sent(datagram)]


def test_a_get_of_one_element_is_these_octets() -> None:
    """Written out by hand from the kernel's headers, for a little-endian machine."""
    assert messages.get(V4, 5) == (
        b"\x48\x00\x00\x00\x0d\x0a\x01\x00"  # length, NFT_MSG_GETSETELEM, NLM_F_REQUEST
        b"\x05\x00\x00\x00\x00\x00\x00\x00"  # sequence, port
        b"\x01\x00\x00\x00"  # nfgenmsg: inet
        b"\x0f\x00\x01\x00gatekeeper\x00\x00"  # NFTA_SET_ELEM_LIST_TABLE
        b"\x0e\x00\x02\x00ban4_auth\x00\x00\x00"  # NFTA_SET_ELEM_LIST_SET
        b"\x14\x00\x03\x80"  # NFTA_SET_ELEM_LIST_ELEMENTS
        b"\x10\x00\x01\x80"  # NFTA_LIST_ELEM
        b"\x0c\x00\x01\x80"  # NFTA_SET_ELEM_KEY
        b"\x08\x00\x01\x00\xc0\x00\x02\x07"  # NFTA_DATA_VALUE
    )


def test_a_ban_adds_deletes_and_adds_in_one_batch() -> None:
    assert kinds(messages.change({V4: 60}, (), 1)) == [_BEGIN, _ADD, _DELETE, _ADD, _END]


def test_a_lift_adds_and_deletes_in_one_batch() -> None:
    assert kinds(messages.change({}, [V4], 1)) == [_BEGIN, _ADD, _DELETE, _END]


def test_each_set_has_messages_of_its_own() -> None:
    datagram = messages.change({V4: 60, V6: 60, V4_NETWORK: 60}, [element("::", 48, "auth")], 1)
    assert kinds(datagram) == [_BEGIN, *[_ADD, _DELETE, _ADD] * 3, _ADD, _DELETE, _END]


@pytest.mark.parametrize(("bans", "lifts"), [({V4: 60}, ()), ({}, (V6,)), ({V4: 60}, (V6,))])
def test_only_the_last_operation_asks_for_an_acknowledgement(
    bans: dict[Element, int], lifts: tuple[Element, ...]
) -> None:
    asking = [flags & messages.ACK != 0 for _, flags, _ in sent(messages.change(bans, lifts, 1))]
    assert asking == [False] * (len(asking) - 2) + [True, False]


def test_long_lists_are_cut_before_an_attribute_overflows() -> None:
    many = {
        Element("auth", bytes.fromhex("20010db8") + i.to_bytes(4, "big") + bytes(8), 64): 60
        for i in range(2 * messages.ELEMENTS_PER_MESSAGE + 1)
    }
    datagram = messages.change(many, (), 1)
    assert kinds(datagram) == [_BEGIN, *[_ADD] * 3, *[_DELETE] * 3, *[_ADD] * 3, _END]
    assert max(length for _, _, length in sent(datagram)) < 65_536


@pytest.mark.parametrize("each", [V4, V4_NETWORK, V6, element("2001:db8::", 48, "mx")])
def test_elements_are_read_as_they_are_written(each: Element) -> None:
    datagram = messages.change({each: 90}, (), 9)
    first_add = list(messages.messages(datagram))[1]
    assert first_add.sequence == 9
    assert messages.read_elements(first_add.body) == [(each, 90_000)]


def test_what_is_left_wins_over_the_whole_time() -> None:
    key = messages.attribute(1, messages.attribute(1, V4.packed))
    times = messages.attribute(4, (600_000).to_bytes(8, "big"))
    times += messages.attribute(5, (1_500).to_bytes(8, "big"))
    body = bytes(4) + messages.attribute(2, b"ban4_auth\x00")
    body += messages.attribute(3, messages.attribute(1, key + times))
    assert messages.read_elements(body) == [(V4, 1_500)]


def held(*elements: Element) -> bytes:
    """A NEW_ELEMENTS answer as the kernel dumps it: nothing nested, and the time left behind."""
    listed = b""
    for number, each in enumerate(elements, 1):
        fields = messages.attribute(1, messages.attribute(1, each.packed))
        fields += messages.attribute(4, (600_000).to_bytes(8, "big"))
        fields += messages.attribute(5, number.to_bytes(8, "big"))
        listed += messages.attribute(1, fields)
    name = elements[0].set_name.encode() + b"\x00"
    return bytes(4) + messages.attribute(2, name) + messages.attribute(3, listed)


@pytest.mark.parametrize("each", [V4, V4_NETWORK, V6, element("2001:db8::", 48, "mx")])
def test_a_dump_is_read_as_its_elements_are(each: Element) -> None:
    other = each._replace(packed=bytes([9]) + each.packed[1:])
    body = held(each, other, each)
    assert messages.read_records(body) == [(each.packed, 1), (other.packed, 2), (each.packed, 3)]
    slowly = [(found.packed, left_ms) for found, left_ms in messages.read_elements(body)]
    assert messages.read_records(body) == slowly


def test_a_dump_of_another_shape_is_read_all_the_same() -> None:
    first_add = list(
        messages.messages(messages.change({V4: 90, V4._replace(packed=bytes(4)): 60}, (), 9))
    )[1]
    assert messages.read_records(first_add.body) == [(V4.packed, 90_000), (bytes(4), 60_000)]
    endless = messages.attribute(1, messages.attribute(1, messages.attribute(1, V4.packed)))
    body = bytes(4) + messages.attribute(2, b"ban4_auth\x00") + messages.attribute(3, endless)
    assert messages.read_records(body) == [(V4.packed, messages.ENDLESS_MS)]


def test_many_are_put_as_one_by_one() -> None:
    for each in (V4, V6):
        records = [(each.packed, 90), (bytes([9]) + each.packed[1:], 60)]
        seconds = {each._replace(packed=key): left for key, left in records}
        assert messages.put(each.set_name, records, True, 9) == messages.change(seconds, (), 9)
        alone = messages.put(each.set_name, records, False, 9)
        assert kinds(alone) == [_BEGIN, _ADD, _END]


def test_a_counter_is_read() -> None:
    data = messages.attribute(1, (4096).to_bytes(8, "big"))
    data += messages.attribute(2, (64).to_bytes(8, "big"))
    body = bytes(4) + messages.attribute(2, b"dropped4_mx\x00") + messages.attribute(4, data)
    assert messages.read_counter(body) == ("dropped4_mx", 64, 4096)


def test_errors_and_acknowledgements_have_a_number() -> None:
    failed = struct.pack("=IHHIIi", 20, messages.NLMSG_ERROR, 0, 3, 0, -2)
    acknowledged = struct.pack("=IHHIIi", 20, messages.NLMSG_ERROR, 0, 4, 0, 0)
    found = list(messages.messages(failed + acknowledged))
    assert [(each.sequence, each.errno) for each in found] == [(3, 2), (4, 0)]


@pytest.mark.parametrize("datagram", [b"", b"\x00" * 15, b"\x00" * 64, b"\x05" + b"\x00" * 40])
def test_datagrams_that_are_no_messages_give_none(datagram: bytes) -> None:
    assert list(messages.messages(datagram)) == []


def test_every_scope_and_length_has_a_set() -> None:
    assert len(SETS) == 8
    for name, (scope, length) in SETS.items():
        packed = bytes(4 if length in {24, 32} else 16)
        assert Element(scope, packed, length).set_name == name
