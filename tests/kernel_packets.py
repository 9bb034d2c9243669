"""Packets for the privileged process's socket: sound ones, spoilt ones, and noise."""

import json
from typing import Any, Final

from hypothesis import strategies as st

VERBS: Final = (
    *("hello", "ban", "lift", "put", "get", "list", "counters", "kill", "reload", "suspend"),
    "dial",
)
# Documentation's and benchmarks' addresses, with and without host bits, and some of nobody's.
_ADDRESSES: Final = (
    *("192.0.2.7", "192.0.2.0", "198.51.100.0", "127.0.0.1", "0.0.0.0", "255.255.255.255"),
    *("2001:db8::", "2001:db8:0:1::", "2001:db8::1", "::1", "::", "fe80::", "::ffff:192.0.2.7"),
)
_addresses = st.sampled_from(_ADDRESSES)
_lengths = st.sampled_from([32, 24, 64, 48])
_scopes = st.sampled_from(["auth", "mx"])
_seconds = st.integers(1, 8 * 86_400)
_entries = st.tuples(_addresses, _lengths, _scopes).map(list)
_bans = st.tuples(_addresses, _lengths, _scopes, _seconds).map(list)
_networks = st.builds(
    "{}/{}".format, st.sampled_from(["192.0.2.0", "198.51.100.9"]), st.integers(0, 32)
)
_records = st.lists(st.binary(min_size=8, max_size=8), max_size=30).map(
    lambda each: b"".join(key[:4] + b"\0\0" + key[4:6] for key in each).hex()
)

# What no reader expects where it comes.
_oddities: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text(max_size=30)
    | st.just("9" * 5_000)
    | st.lists(st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.none(), max_size=2)
    | st.recursive(st.none(), lambda inner: st.lists(inner, max_size=2), max_leaves=40)
)


def _fields(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(fields)


sound: st.SearchStrategy[dict[str, Any]] = st.one_of(
    _fields(verb=st.sampled_from(["hello", "counters"])),
    _fields(verb=st.just("ban"), entries=st.lists(_bans, max_size=20)),
    _fields(
        verb=st.just("ban"),
        entries=st.lists(_bans, max_size=5),
        lift=st.lists(_entries, max_size=5),
    ),
    _fields(verb=st.sampled_from(["lift", "kill"]), entries=st.lists(_entries, max_size=20)),
    _fields(
        verb=st.just("put"),
        scope=_scopes,
        length=_lengths,
        records=_records,
        replace=st.booleans(),
    ),
    _fields(verb=st.just("get"), entry=_entries),
    _fields(verb=st.just("list"), start=st.booleans()),
    _fields(
        verb=st.just("reload"),
        allow=st.lists(_networks, max_size=5),
        block=st.lists(_networks, max_size=5),
    ),
    _fields(verb=st.just("suspend"), on=st.booleans()),
    _fields(
        verb=st.just("dial"),
        target=st.integers(-1, 2),
        source=_addresses,
        port=st.integers(0, 65_536),
    ),
)


@st.composite
def spoilt(draw: st.DrawFn) -> dict[str, Any]:
    """A sound request, one of whose fields is odd, gone or too many."""
    fields = dict(draw(sound))
    name = draw(st.sampled_from([*fields, "id", "shell"]))
    if draw(st.booleans()):
        fields[name] = draw(_oddities)
    else:
        fields.pop(name, None)
    return fields


def _cut(packet: bytes, at: int, octet: int) -> bytes:
    place = at % (len(packet) + 1)
    return packet[:place] + bytes((octet,)) + packet[place + 1 :]


_encoded = (sound | spoilt()).map(lambda fields: json.dumps(fields).encode())
packets: st.SearchStrategy[bytes] = (
    _encoded
    | st.builds(_cut, _encoded, st.integers(0, 10_000), st.integers(0, 255))
    | st.binary(min_size=1, max_size=300)
)
