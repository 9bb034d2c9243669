"""Whatever a packet holds, what is made of it is within the privileged process's bounds."""

import json
from typing import Any

import kernel_packets
import pytest
from hypothesis import find, given, settings

from gatekeeper.kernel.element import SCOPES, Element, masked
from gatekeeper.kernel.parsing import parse
from gatekeeper.kernel.protocol import (
    ENTRIES_MAX,
    ID_MAX,
    LIST_MAX,
    RECORDS_MAX,
    SECONDS_MAX,
    Ban,
    Counters,
    Dial,
    Get,
    Hello,
    Invalid,
    Kill,
    List,
    Put,
    Reload,
    Request,
    Suspend,
    encode,
)

_SHAPES = {(4, 32), (4, 24), (16, 64), (16, 48)}


def bounded(element: Element) -> bool:
    """Whether this is a key of one of the sets."""
    return (
        element.scope in SCOPES
        and (len(element.packed), element.length) in _SHAPES
        and masked(element.packed, element.length) == element.packed
    )


def within_bounds(request: Request | Invalid) -> bool:
    """Whether it asks for nothing that no request may."""
    match request:
        case Invalid(text):
            return text.isprintable() and len(text) < 100
        case Ban(seconds, lifts):
            few = len(seconds) + len(lifts) <= ENTRIES_MAX
            short = all(1 <= each <= SECONDS_MAX for each in seconds.values())
            return few and short and all(map(bounded, (*seconds, *lifts)))
        case Put(scope, length, records, _):
            keys = [Element(scope, key, length) for key, _ in records]
            short = all(1 <= each <= SECONDS_MAX for _, each in records)
            few = len(records) <= RECORDS_MAX and len(set(keys)) == len(keys)
            return few and short and all(map(bounded, keys))
        case Get(element):
            return bounded(element)
        case Kill(elements):
            return len(elements) <= ENTRIES_MAX and all(map(bounded, elements))
        case Reload(allow, block):
            return all(
                len(each) <= LIST_MAX
                and all(masked(it.packed, it.length) == it.packed for it in each)
                for each in (allow, block)
            )
        case Dial(target, source, port):
            return target >= 0 and len(source) in {4, 16} and 0 < port < 65_536
        case Hello() | Counters() | List() | Suspend():
            return True


@given(kernel_packets.packets)
@settings(max_examples=1_500)
def test_no_packet_is_more_than_it_may_be(packet: bytes) -> None:
    ident, request = parse(packet)
    assert 0 <= ident <= ID_MAX
    assert within_bounds(request)


@given(kernel_packets.spoilt())
@settings(max_examples=500)
def test_of_spoilt_requests_nothing_raises_and_every_answer_can_be_said(
    fields: dict[str, Any],
) -> None:
    ident, request = parse(json.dumps(fields).encode())
    assert within_bounds(request)
    if isinstance(request, Invalid):
        assert json.loads(encode({"id": ident, "error": request.text}))["error"] == request.text


@pytest.mark.parametrize("verb", kernel_packets.VERBS)
def test_the_packets_reach_every_verb(verb: str) -> None:
    """The tests above would pass on noise alone."""

    def understood(fields: dict[str, Any]) -> bool:
        request = parse(json.dumps(fields).encode())[1]
        return bool(fields["verb"] == verb and not isinstance(request, Invalid))

    assert find(kernel_packets.sound, understood)["verb"] == verb
