"""The privileged process believes nothing: every packet is checked, none makes it fail."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.kernel.element import Element, Network
from gatekeeper.kernel.parsing import parse
from gatekeeper.kernel.protocol import (
    ENTRIES_MAX,
    PACKET_MAX_OCTETS,
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

V4 = Element("auth", b"\xc0\x00\x02\x07", 32)
V6 = Element("mx", bytes.fromhex("20010db8000100020000000000000000"), 64)
ENTRY = ["192.0.2.7", 32, "auth"]
ENTRY_V6 = ["2001:db8:1:2::", 64, "mx"]


def asked(**fields: object) -> Request | Invalid:
    """What a packet of these fields asks."""
    return parse(encode(fields))[1]


def put(scope: object, length: object, records: object) -> Request | Invalid:
    """What a `put` asks."""
    return asked(verb="put", scope=scope, length=length, records=records, replace=True)


class TestRequests:
    def test_verbs_without_arguments(self) -> None:
        assert asked(verb="hello") == Hello()
        assert asked(verb="counters") == Counters()

    def test_a_ban_has_elements_and_seconds(self) -> None:
        request = asked(verb="ban", entries=[[*ENTRY, 600], [*ENTRY_V6, 1]])
        assert request == Ban({V4: 600, V6: 1})

    def test_a_ban_may_lift_in_the_same_transaction(self) -> None:
        request = asked(verb="ban", entries=[[*ENTRY, 600]], lift=[ENTRY_V6])
        assert request == Ban({V4: 600}, (V6,))

    def test_the_last_ban_of_an_element_wins(self) -> None:
        assert asked(verb="ban", entries=[[*ENTRY, 600], [*ENTRY, 60]]) == Ban({V4: 60})

    def test_lift_get_and_kill_have_entries_without_time(self) -> None:
        assert asked(verb="lift", entries=[ENTRY, ENTRY]) == Ban({}, (V4,))
        assert asked(verb="get", entry=ENTRY_V6) == Get(V6)
        assert asked(verb="kill", entries=[ENTRY, ENTRY_V6, ENTRY]) == Kill((V4, V6))

    def test_list_starts_or_goes_on(self) -> None:
        assert asked(verb="list", start=True) == List(start=True)
        assert asked(verb="list", start=False) == List(start=False)

    def test_reload_reads_networks_of_any_length(self) -> None:
        request = asked(verb="reload", allow=["192.0.2.1/24", "2001:db8::1"], block=["::/0"])
        assert request == Reload(
            (
                Network(b"\xc0\x00\x02\x00", 24),
                Network(bytes.fromhex("20010db8000000000000000000000001"), 128),
            ),
            (Network(bytes(16), 0),),
        )

    def test_a_put_is_many_bans_of_one_set(self) -> None:
        request = put("auth", 32, "c000020700000258c000020800000001")
        assert request == Put(
            "auth", 32, [(b"\xc0\x00\x02\x07", 600), (b"\xc0\x00\x02\x08", 1)], replace=True
        )
        request = put("mx", 48, "20010db80001000000000258")
        assert request == Put("mx", 48, [(bytes.fromhex("20010db80001") + bytes(10), 600)], True)

    def test_of_a_put_the_last_ban_of_a_key_wins(self) -> None:
        request = put("auth", 24, "c000020000000258c000020000000001")
        assert request == Put("auth", 24, [(b"\xc0\x00\x02\x00", 1)], replace=True)

    def test_a_suspension_and_a_dial(self) -> None:
        assert asked(verb="suspend", on=True) == Suspend(on=True)
        dial = asked(verb="dial", target=0, source="192.0.2.7", port=1025)
        assert dial == Dial(0, b"\xc0\x00\x02\x07", 1025)

    @pytest.mark.parametrize(
        ("scope", "length", "records"),
        [
            ("ssh", 32, "c000020700000258"),
            ("auth", 33, "c000020700000258"),
            ("auth", "32", "c000020700000258"),
            ("auth", True, "c000020700000258"),
            ("auth", 32, "c0000207000002"),  # cut off
            ("auth", 32, "c00002070000025"),
            ("auth", 32, "c0000207zzzzzzzz"),
            ("auth", 32, "c000020700000000"),  # no time
            ("auth", 32, "c0000207000a8c01"),  # a second more than may be
            ("auth", 24, "c000020700000258"),  # host bits
            ("mx", 48, "20010db80001000100000258"),
            ("mx", 64, "c000020700000258"),
            ("auth", 32, 7),
            ("auth", 32, "c000020700000258" * (RECORDS_MAX + 1)),
        ],
    )
    def test_records_without_sense(self, scope: object, length: object, records: object) -> None:
        assert isinstance(put(scope, length, records), Invalid)

    @pytest.mark.parametrize(
        "fields",
        [
            {"target": -1, "source": "192.0.2.7", "port": 1},
            {"target": 0, "source": "192.0.2.7", "port": 0},
            {"target": 0, "source": "192.0.2.7", "port": 65536},
            {"target": True, "source": "192.0.2.7", "port": 1},
            {"target": 0, "source": "::ffff:192.0.2.7", "port": 1},
            {"target": 0, "port": 1},
        ],
    )
    def test_dials_without_sense(self, fields: dict[str, object]) -> None:
        assert isinstance(asked(verb="dial", **fields), Invalid)

    def test_the_id_comes_back_even_of_a_bad_request(self) -> None:
        assert parse(b'{"id":7,"verb":"hello"}')[0] == 7
        assert parse(b'{"id":7,"verb":"nothing"}') == (7, Invalid("unknown verb"))

    def test_the_largest_request_is_one_packet(self) -> None:
        network, length = "ffff:ffff:ffff:ffff::", 64
        entries = [[network, length, "auth", SECONDS_MAX]] * ENTRIES_MAX
        packet = encode({"id": 2**53, "verb": "ban", "entries": entries, "lift": []})
        assert len(packet) <= PACKET_MAX_OCTETS
        assert isinstance(parse(packet)[1], Ban)

    def test_the_largest_put_is_one_packet(self) -> None:
        keys = [i.to_bytes(8, "big") + b"\0\0\0\1" for i in range(RECORDS_MAX)]
        records = b"".join(keys).hex()
        fields = {"scope": "auth", "length": 64, "records": records, "replace": False}
        packet = encode({"id": 2**53, "verb": "put"} | fields)
        assert len(packet) <= PACKET_MAX_OCTETS
        request = parse(packet)[1]
        assert isinstance(request, Put)
        assert len(request.records) == RECORDS_MAX


BAD_ENTRIES = [
    ["192.0.2.7", 31, "auth"],
    ["192.0.2.7", 24, "auth"],  # host bits
    ["192.0.2.7", 0, "auth"],
    ["192.0.2.7", -32, "auth"],
    ["192.0.2.7", True, "auth"],
    ["192.0.2.7", 32.0, "auth"],
    ["192.0.2.7", "32", "auth"],
    ["192.0.2.7", 32, "ssh"],
    ["192.0.2.7", 32, ["auth"]],
    ["192.0.2.7", 32],
    ["192.0.2.07", 32, "auth"],
    ["192.0.2", 32, "auth"],
    ["192.0.2.7\x00", 32, "auth"],
    ["192.0.2.7 }; flush ruleset", 32, "auth"],
    ["example.org", 32, "auth"],
    [3221225991, 32, "auth"],
    ["\udc80", 32, "auth"],
    ["", 32, "auth"],
    ["0.0.0.0", 24.5, "auth"],
    ["2001:db8::1", 128, "auth"],
    ["2001:db8::1", 64, "auth"],  # host bits
    ["2001:db8::%lo", 64, "auth"],
    ["::ffff:192.0.2.7", 32, "auth"],
    ["::ffff:0:0", 64, "auth"],
    ["::", 32, "auth"],
    "192.0.2.7",
    None,
    {},
]


class TestRefusals:
    @pytest.mark.parametrize("entry", BAD_ENTRIES, ids=repr)
    def test_entries_that_are_not_one_of_the_four_shapes(self, entry: object) -> None:
        assert isinstance(asked(verb="get", entry=entry), Invalid)
        assert isinstance(asked(verb="lift", entries=[ENTRY, entry]), Invalid)
        timed = [*entry, 60] if isinstance(entry, list) else entry
        assert isinstance(asked(verb="ban", entries=[[*ENTRY, 60], timed]), Invalid)

    @pytest.mark.parametrize("seconds", [0, -1, SECONDS_MAX + 1, 1.5, "60", None, True, 10**30])
    def test_seconds_out_of_range(self, seconds: object) -> None:
        assert isinstance(asked(verb="ban", entries=[[*ENTRY, seconds]]), Invalid)

    def test_seconds_that_are_no_number(self) -> None:
        for word in ("NaN", "Infinity", "1e3", "9" * 5000):
            packet = f'{{"verb":"ban","entries":[["192.0.2.7",32,"auth",{word}]]}}'
            assert isinstance(parse(packet.encode())[1], Invalid), word

    def test_too_many_entries(self) -> None:
        short = ["10.0.0.0", 24, "mx"]
        many = [short] * (ENTRIES_MAX + 1)
        assert asked(verb="lift", entries=many) == Invalid("too many entries")
        half = ENTRIES_MAX // 2 + 1
        entries = [[*short, 1]] * half
        assert asked(verb="ban", entries=entries, lift=many[:half]) == Invalid("too many entries")

    def test_one_element_banned_and_lifted(self) -> None:
        request = asked(verb="ban", entries=[[*ENTRY, 60]], lift=[ENTRY])
        assert request == Invalid("banned and lifted at once")

    def test_unknown_and_missing_fields(self) -> None:
        for fields in (
            {"verb": "hello", "shell": "true"},
            {"verb": "reload", "allow": [], "ports_auth": [22]},
            {"verb": "reload"},
            {"verb": "list"},
            {"verb": "list", "start": 1},
            {"verb": "ban"},
            {"verb": "get"},
            {"verb": "reload", "allow": "192.0.2.0/24"},
            {"verb": "reload", "allow": ["192.0.2.0/33"]},
            {"verb": "reload", "allow": ["192.0.2.0/+4"]},
            {"verb": "reload", "allow": ["192.0.2.0/24"] * 1001},
            {},
        ):
            assert isinstance(asked(**fields), Invalid), fields

    @pytest.mark.parametrize("ident", [-1, 1.0, "1", None, True, 2**53 + 1, [1]])
    def test_ids_that_are_no_small_number(self, ident: object) -> None:
        assert parse(encode({"id": ident, "verb": "hello"})) == (0, Invalid("bad id"))

    @pytest.mark.parametrize(
        "packet",
        [b"", b"{", b"null", b"[]", b'"ban"', b"\xff\xfe", b"[" * 60_000, b'{"a":' * 10_000],
    )
    def test_what_is_no_object(self, packet: bytes) -> None:
        assert isinstance(parse(packet)[1], Invalid)

    def test_more_than_a_packet(self) -> None:
        packet = b'{"verb":"hello"}' + b" " * PACKET_MAX_OCTETS
        assert parse(packet) == (0, Invalid("packet too large"))


_words = st.sampled_from(
    ["id", "verb", "ban", "lift", "entries", "entry", "allow", "start", "192.0.2.7", "auth", "::"]
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | _words,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_words | st.text(), inner),
    max_leaves=12,
)
_verbs = st.sampled_from(["hello", "ban", "lift", "get", "list", "counters", "kill", "reload"])


class TestAnyPacket:
    @given(st.binary(max_size=200))
    @settings(max_examples=100, deadline=None)
    def test_no_octets_raise(self, packet: bytes) -> None:
        assert isinstance(parse(packet), tuple)

    @given(_verbs, st.dictionaries(_words, _json, max_size=4))
    @settings(max_examples=200, deadline=None)
    def test_no_fields_raise_and_every_answer_can_be_encoded(
        self, verb: str, fields: dict[str, Any]
    ) -> None:
        ident, request = parse(encode(fields | {"verb": verb}))
        if isinstance(request, Invalid):
            json.loads(encode({"id": ident, "error": request.text}))

    @given(
        st.lists(
            st.tuples(
                st.binary(min_size=4, max_size=4),
                st.sampled_from([24, 32]),
                st.sampled_from(["auth", "mx"]),
                st.integers(1, SECONDS_MAX),
            ),
            max_size=20,
        )
    )
    @settings(max_examples=100, deadline=None)
    def test_a_sound_ban_is_read_as_it_was_meant(
        self, rows: list[tuple[bytes, int, str, int]]
    ) -> None:
        wanted = {
            Element(scope, key if length == 32 else key[:3] + b"\x00", length): seconds
            for key, length, scope, seconds in rows
        }
        entries = [[e.network, e.length, e.scope, seconds] for e, seconds in wanted.items()]
        assert asked(verb="ban", entries=entries) == Ban(wanted)
