"""Senders are read where all servers read them alike, and not at all elsewhere."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.policy.strict_paths import StrictPath, read_strictly


@pytest.mark.parametrize(
    ("path", "local", "domain"),
    [
        ("", "", ""),
        ("root", "root", ""),
        ("ann@b.example", "ann", "b.example"),
        ("ann+news=x.example@b.example", "ann+news=x.example", "b.example"),
        ("a%c.example@b.example", "a%c.example", "b.example"),
        ('"ann"@b.example', '"ann"', "b.example"),
        ('"a@c.example"@b.example', '"a@c.example"', "b.example"),
        (r'"a\"@c.example"@b.example', r'"a\"@c.example"', "b.example"),
        ('"john doe"@b.example', '"john doe"', "b.example"),
        ("@r.example:a@b.example", "a", "b.example"),
        ("@r.example,@s.example:a@b.example", "a", "b.example"),
        ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
        ("a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]"),
        ("josé@bücher.example", "josé", "bücher.example"),
        ("a@b.example.", "a", "b.example."),
        ("a@b..example", "a", "b..example"),
        ("\udcff@b.example", "\udcff", "b.example"),
    ],
)
def test_senders(path: str, local: str, domain: str) -> None:
    assert read_strictly(path) == StrictPath(local, domain)


# Behind each what Postfix 3.7 reads in it.
@pytest.mark.parametrize(
    "path",
    [
        "<>a@b.example",  # a@b.example
        "a@b.example>",  # a@b.example
        "a@b.example ",  # a@b.example
        "a @b.example",  # a@b.example
        "a@b.example(x@c.example)",  # a@b.example
        "a%b.example",  # a@b.example
        "b.example!a",  # a@b.example
        "<a@b.example",  # a@b.example
        "x <a@b.example",  # a@b.example
        '"x" <a@b.example',  # a@b.example
        "x:a@b.example;",  # a@b.example
        'a@"b.example"',  # a@b.example
        "a@b\\.example",  # a@b.example
        "(x)<a@b.example>",  # a@b.example
        "a@b.example@c.example",  # "a@b.example"@c.example
        "a@b.example\t",  # a@b.example
        'a"b@b.example',
        '"a@b.example',
        "@b.example",
        "a@",
        "a@[b",
        "x\0y z",
    ],
)
def test_what_servers_read_each_in_their_own_way_is_not_read(path: str) -> None:
    assert read_strictly(path) is None


@given(st.text('ab.@"\\<>()[]:;,%! \t\xfc'))
def test_what_is_read_has_one_place_for_a_domain(path: str) -> None:
    sender = read_strictly(path)
    if sender is not None:
        assert path.endswith(f"{sender.local}@{sender.domain}" if sender.domain else sender.local)
        assert "@" not in sender.domain
        assert sender.domain or "@" not in sender.local


@pytest.mark.parametrize(
    "path",
    [
        *('"' + '\\"' * 50_000, '"\\' * 50_000, "(" * 100_000, "a@" * 50_000, "@a" * 50_000),
        *("@a," * 30_000, "@a,@a:" * 20_000, "a" * 100_000, '"a' * 50_000),
    ],
)
def test_the_time_it_takes_is_linear(path: str) -> None:
    """Else it would be minutes."""
    started = time.perf_counter()
    read_strictly(path)
    read_strictly(path + "@b.example")
    assert time.perf_counter() - started < 1.0
