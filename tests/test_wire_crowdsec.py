"""CrowdSec's decisions: its three shapes, what is left out, and Go's durations."""

import json
from collections import Counter
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.prefix import Prefix
from gatekeeper.wire.ban_lists import Listed
from gatekeeper.wire.crowdsec import Left, go_duration, read_decisions

Decision = dict[str, object]
BAN: Final[Decision] = {
    "duration": "3h59m58.123s",
    "id": 1,
    "origin": "CAPI",
    "scenario": "crowdsecurity/dovecot-spam",
    "scope": "Ip",
    "type": "ban",
    "value": "192.0.2.1",
}
FOUND: Final = Listed(Prefix.parse("192.0.2.1"), 4 * 3600 - 2 + 0.123)
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["new", "deleted", "decisions", "type", "scope", "value", "duration"]),
            inner | st.sampled_from(["ban", "Ip", "192.0.2.1", "4h"]),
        )
    ),
)


@pytest.mark.parametrize(
    "answer",
    [
        [BAN],  # GET /v1/decisions
        {"new": [BAN], "deleted": None},  # GET /v1/decisions/stream
        {"new": [BAN]},
        [{"id": 7, "decisions": [BAN], "source": {}}, {"id": 8, "decisions": None}],  # cscli
    ],
)
def test_each_shape_is_read(answer: object) -> None:
    found = read_decisions(json.dumps(answer).encode())
    assert found is not None
    assert found.listed == [FOUND]
    assert not +found.left


@pytest.mark.parametrize("answer", [None, [], {"new": None, "deleted": None}])
def test_no_decisions_are_none(answer: object) -> None:
    found = read_decisions(json.dumps(answer).encode())
    assert found is not None
    assert not found.listed
    assert not +found.left


@pytest.mark.parametrize(
    "octets",
    [b"", b"{}", b'{"message":"access forbidden"}', b"5", b'"x"', b"[", b"\xff", b"[" * 100_000,
     b'{"new": 5}', b"<html>"],
    ids=lambda octets: repr(octets[:9]),
)  # fmt: skip
def test_another_answer_is_none_of_them(octets: bytes) -> None:
    assert read_decisions(octets) is None


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"type": "captcha"}, Left.OTHER_TYPE),
        ({"scope": "AS", "value": "64500"}, Left.OTHER_SCOPE),
        ({"scope": "Country", "value": "XX"}, Left.OTHER_SCOPE),
        ({"simulated": True}, Left.SIMULATED),
        ({"duration": "-2m3.5s"}, Left.ENDED),
        ({"duration": "0s"}, Left.ENDED),
        ({"duration": "soon"}, Left.UNREADABLE),
        ({"duration": 14400}, Left.UNREADABLE),
        ({"value": "example.org"}, Left.UNREADABLE),
        ({"value": None}, Left.UNREADABLE),
    ],
)
def test_what_is_no_ban_in_force_is_counted(changes: Decision, left: Left) -> None:
    found = read_decisions(json.dumps([BAN | changes, BAN]).encode())
    assert found is not None
    assert found.listed == [FOUND]
    assert found.left == Counter({left: 1})


def test_entries_that_are_no_decisions_are_counted() -> None:
    found = read_decisions(json.dumps([5, None, "x", [], {}, BAN]).encode())
    assert found is not None
    assert (len(found.listed), found.left[Left.UNREADABLE]) == (1, 5)


def test_deleted_decisions_are_counted_and_not_read() -> None:
    found = read_decisions(json.dumps({"new": [], "deleted": [BAN, BAN]}).encode())
    assert found is not None
    assert not found.listed
    assert found.left == Counter({Left.DELETED: 2})


def test_a_range_is_a_network_whatever_bits_it_has_behind_its_length() -> None:
    decision = BAN | {"scope": "range", "value": "198.51.100.7/24", "simulated": False}
    found = read_decisions(json.dumps([decision]).encode())
    assert found is not None
    assert found.listed[0].prefix == Prefix.parse("198.51.100.0/24")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3h59m58.123s", 14398.123),
        ("59m57.393321424s", 3597.393321424),
        ("-1m0.5s", -60.5),
        ("167h59m59s", 604799.0),
        ("1.5h", 5400.0),
        ("250ms", 0.25),
        ("12µs", 12e-6),
        ("12\u03bcs", 12e-6),
        ("1ns", 1e-9),
        ("0s", 0.0),
        ("0", 0.0),
    ],
)
def test_go_durations_are_read(text: str, seconds: float) -> None:
    assert go_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "-", "4", "4d", "h", "4h ", "4h x", "1" * 65, "٣h", None, 4.0]
)
def test_what_is_no_go_duration_is_none(text: object) -> None:
    assert go_duration(text) is None


@given(JSON)
def test_no_json_raises(answer: object) -> None:
    read_decisions(json.dumps(answer).encode())


@given(st.binary())
def test_no_octets_raise(octets: bytes) -> None:
    read_decisions(octets)


@given(st.text(alphabet="0123456789.hmsnuµ-", max_size=70))
def test_no_text_raises(text: str) -> None:
    go_duration(text)
