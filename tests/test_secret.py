"""Secrets stay unseen."""

import copy
import json
import pickle
from collections.abc import Callable

import pytest

from gatekeeper.secret import FINGERPRINT_OCTETS, Secret

PLANTED = b"correct horse battery staple"
KEY = b"k" * 32


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        "{!r:>40}".format,
        "{:>40}".format,
        lambda secret: f"{secret}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 -- the old way must not leak either
        lambda secret: repr({"password": [secret]}),
    ],
)
def test_no_way_of_printing_shows_it(show: Callable[[Secret], str]) -> None:
    assert PLANTED.decode() not in show(Secret(PLANTED))


@pytest.mark.parametrize("save", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps])
def test_it_is_not_serialised(save: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError):
        save(Secret(PLANTED))


def test_comparing_and_hashing_are_refused() -> None:
    with pytest.raises(TypeError, match="fingerprint"):
        assert Secret(PLANTED) == Secret(PLANTED)
    with pytest.raises(TypeError, match="fingerprint"):
        assert Secret(PLANTED) != PLANTED
    with pytest.raises(TypeError, match="unhashable"):
        hash(Secret(PLANTED))


def test_it_has_no_attributes_to_hang_a_copy_on() -> None:
    with pytest.raises(AttributeError):
        Secret(PLANTED).copy = PLANTED  # type: ignore[attr-defined]  # the point of the test


def test_declassify_gives_the_octets() -> None:
    assert Secret(PLANTED).declassify() == PLANTED


def test_length_and_truth_are_those_of_the_octets() -> None:
    assert len(Secret(PLANTED)) == len(PLANTED)
    assert Secret(PLANTED)
    assert not Secret(b"")


def test_a_fingerprint_is_equal_for_equal_secrets_only() -> None:
    print_ = Secret(PLANTED).fingerprint(KEY, b"bob")
    assert len(print_) == FINGERPRINT_OCTETS
    assert print_ == Secret(PLANTED).fingerprint(KEY, b"bob")
    others = {
        Secret(PLANTED + b"x").fingerprint(KEY, b"bob"),
        Secret(PLANTED).fingerprint(KEY, b"alice"),
        Secret(PLANTED).fingerprint(b"other key", b"bob"),
        Secret(PLANTED).fingerprint(KEY),
    }
    assert len(others) == 4
    assert print_ not in others


def test_context_and_secret_do_not_run_into_each_other() -> None:
    assert Secret(b"bc").fingerprint(KEY, b"a") != Secret(b"c").fingerprint(KEY, b"ab")
