"""Events are records that hold no secret in the open."""

from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import get_args

import pytest

from gatekeeper.ban import Scope
from gatekeeper.events import (
    AuthAttempt,
    AuthCommand,
    Client,
    JudgedEvent,
    Login,
    MailProtocol,
    ObservedEvent,
    SaslResponse,
    Violation,
    ViolationKind,
)
from gatekeeper.prefix import entity
from gatekeeper.secret import Secret

PLANTED = "tanstaaftanstaaf"
EVENTS = sorted(
    {*get_args(JudgedEvent), *get_args(ObservedEvent)}, key=lambda event: event.__name__
)


@pytest.mark.parametrize("event", EVENTS)
def test_events_are_frozen_slotted_and_told_of(event: type) -> None:
    assert is_dataclass(event)
    assert "__slots__" in event.__dict__
    assert event.__doc__
    made = event(*[None for _ in fields(event)])
    for name in ("reply", "added"):
        with pytest.raises((FrozenInstanceError, TypeError)):  # TypeError: CPython 3.11, new names
            setattr(made, name, None)


@pytest.mark.parametrize(
    "event",
    [
        AuthAttempt("PLAIN", "bob", secret=Secret(PLANTED.encode())),
        AuthCommand("PLAIN", Secret(PLANTED.encode())),
        SaslResponse(Secret(PLANTED.encode())),
        Login(b"a1", "bob", Secret(PLANTED.encode())),
    ],
)
def test_no_event_prints_its_secret(event: object) -> None:
    assert PLANTED not in repr(event)
    assert PLANTED not in str(event)


@pytest.mark.parametrize(
    ("protocol", "scope"),
    [
        (MailProtocol.SMTP, Scope.MX),
        (MailProtocol.SUBMISSION, Scope.AUTH),
        (MailProtocol.IMAP, Scope.AUTH),
    ],
)
def test_the_scope_follows_from_the_protocol(protocol: MailProtocol, scope: Scope) -> None:
    client = Client("192.0.2.7", 1, "192.0.2.1", 25, entity("192.0.2.7"), "mx", protocol)
    assert client.scope is scope


def test_a_violation_lets_the_session_go_on_unless_it_says_otherwise() -> None:
    assert not Violation(ViolationKind.BAD_SYNTAX, b"").fatal


def test_the_words_for_violations_are_stable_and_distinct() -> None:
    words = [kind.value for kind in ViolationKind]
    assert len(set(words)) == len(words)
    assert all(word == word.lower() and " " not in word for word in words)
