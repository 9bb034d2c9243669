"""Every key of a TOML text is found on its line."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.config.locating import KeyPath, locate

SAMPLE = r'''
# comment with [header] and key = "value"
mode = "enforce"     # "quote
hostname = "it's"
allow = [
  "192.0.2.0/24",    # [x]

  "2001:db8::/32",
]
text = """
[not.a.header]
x = 1 \""" still text"""""
[tls]
certificate = "a"

[[tls.sni]]
names = ["a.example", "b.example"]
[[tls.sni]]
"names" = "c#d"
'private_key' = 'x'

[backend.dovecot]
address="127.0.0.1:10143"
nested.deep = {one = 1, two = [1,
   {three = 3}]}
[[listener]]
name = "a"
[[listener]]
name = "b"
[listener.inner]
key = 1979-05-27 07:32:00
'''


def test_sample_is_toml() -> None:
    assert tomllib.loads(SAMPLE)["listener"][1]["inner"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("mode",), "mode ="),
        (("hostname",), "hostname ="),
        (("allow",), "allow ="),
        (("allow", 0), '"192.0.2.0/24"'),
        (("allow", 1), '"2001:db8'),
        (("text",), "text ="),
        (("tls",), "[tls]"),
        (("tls", "certificate"), "certificate ="),
        (("tls", "sni", 0), "[[tls.sni]]"),
        (("tls", "sni", 0, "names", 1), 'names = ["a'),
        (("tls", "sni", 1, "names"), '"names" ='),
        (("tls", "sni", 1, "private_key"), "'private_key'"),
        (("backend",), "[backend.dovecot]"),
        (("backend", "dovecot", "address"), "address="),
        (("backend", "dovecot", "nested", "deep", "one"), "nested.deep"),
        (("backend", "dovecot", "nested", "deep", "two", 1, "three"), "{three"),
        (("listener", 0, "name"), 'name = "a"'),
        (("listener", 1, "name"), 'name = "b"'),
        (("listener", 1, "inner"), "[listener.inner]"),
        (("listener", 1, "inner", "key"), "key ="),
    ],
)
def test_key_is_on_its_line(path: KeyPath, text: str) -> None:
    assert text in SAMPLE.splitlines()[locate(SAMPLE)[path] - 1]


def test_second_array_table_is_not_the_first() -> None:
    lines = locate(SAMPLE)
    assert lines["listener", 1] > lines["listener", 0]
    assert lines["tls", "sni", 1] == lines["tls", "sni", 0] + 2


def paths_of(value: object, path: KeyPath = ()) -> set[KeyPath]:
    """Every path at which the parsed value holds something."""
    found = {path}
    entries = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else ()
    for key, inner in (*entries, *items):
        found |= paths_of(inner, (*path, key))
    return found


def test_paths_are_those_of_the_parsed_value() -> None:
    assert set(locate(SAMPLE)) == paths_of(tomllib.loads(SAMPLE))


WORDS = st.sampled_from(["a", "b", '"c d"', "'e.f'", '"g\\"h"', "i.j"])
SCALARS = st.sampled_from(
    ['"x"', "'#'", "1", "true", "1.5e3", '"""\n]"""', "'''\n[h]\n'''", "07:32:00", '"\\\\"', '""']
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner).map(lambda items: "[" + ",\n # ]\n".join(items) + "\n]"),
        st.lists(inner, max_size=3).map(
            lambda items: "{" + ", ".join(f"k{n} = {item}" for n, item in enumerate(items)) + "}"
        ),
    ),
    max_leaves=8,
)
PAIRS = st.tuples(WORDS, VALUES).map(lambda pair: f"{pair[0]} = {pair[1]}")
HEADERS = st.tuples(WORDS, st.booleans()).map(
    lambda pair: f"[[{pair[0]}]]" if pair[1] else f"[ {pair[0]} ]"
)


@given(st.lists(st.one_of(PAIRS, HEADERS), max_size=12))
@settings(max_examples=200, deadline=None)
def test_any_valid_text_gives_its_own_paths(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(locate(text)) == paths_of(value)


def test_the_shipped_example_is_located() -> None:
    text = Path("docs/config.md").read_text(encoding="utf-8")
    example = text.partition("```toml\n")[2].partition("```")[0]
    assert set(locate(example)) == paths_of(tomllib.loads(example))
