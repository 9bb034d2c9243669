"""Capability lists are the guard's wherever they occur."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.wire.imap_capabilities import (
    LITERAL_MINUS_OCTETS,
    non_sync_octets,
    read_capabilities,
    rewrite,
)
from gatekeeper.wire.imap_responses import Response, read_line
from gatekeeper.wire.imap_tap import NO_LIMIT

BACKEND = (
    b"IMAP4rev1 STARTTLS LOGINDISABLED AUTH=PLAIN auth=GSSAPI SASL-IR IDLE COMPRESS=DEFLATE "
    b"LOGIN-REFERRALS MAILBOX-REFERRALS UNAUTHENTICATE LITERAL+ X-NEW"
)
SECURED = b"IMAP4rev1 AUTH=PLAIN SASL-IR IDLE LITERAL+ X-NEW"
PLAINTEXT = b"IMAP4rev1 STARTTLS LOGINDISABLED IDLE LITERAL+ X-NEW"
PLACES = [
    b"* OK [CAPABILITY %b] ready\r\n",
    b"* CAPABILITY %b\r\n",
    b"* capability %b\r\n",
    b"a1 OK [CAPABILITY %b] done\r\n",
    b"a[1 NO [capability %b] no\r\n",
    b"+ [CAPABILITY %b] go\r\n",
    b"* BYE [CAPABILITY %b]\r\n",
]


def response(raw: bytes) -> Response:
    read = read_line(raw)
    assert read is not None
    return read


@pytest.mark.parametrize("place", PLACES)
def test_list_is_rewritten_in_every_place(place: bytes) -> None:
    read = response(place % BACKEND)
    assert rewrite(read, offer_starttls=False, login_disabled=False) == place % SECURED
    assert rewrite(read, offer_starttls=True, login_disabled=True) == place % PLAINTEXT
    assert "IDLE" in read_capabilities(read)
    assert "AUTH=GSSAPI" in read_capabilities(read)


@pytest.mark.parametrize(
    "raw",
    [
        b"* OK hi\r\n",
        b"* OK say [CAPABILITY IMAP4rev1 STARTTLS]\r\n",
        b'* LIST () "/" "CAPABILITY STARTTLS"\r\n',
        b"* CAPABILITYX STARTTLS\r\n",
        b"a1 OK [ALERT] CAPABILITY STARTTLS\r\n",
        b"+ \r\n",
        b"* X\r\n",
    ],
)
def test_what_holds_no_list_is_the_same_object(raw: bytes) -> None:
    read = response(raw)
    assert rewrite(read, offer_starttls=True, login_disabled=True) is raw
    assert read_capabilities(read) == frozenset()


def test_binding_mechanisms_take_scram_with_them() -> None:
    read = response(
        b"* CAPABILITY IMAP4rev1 AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN\r\n"
    )
    rewritten = rewrite(read, offer_starttls=False, login_disabled=False)
    assert rewritten == b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"


def test_list_without_a_revision_gets_its_own_at_the_end() -> None:
    read = response(b"* CAPABILITY IDLE\r\n")
    rewritten = rewrite(read, offer_starttls=True, login_disabled=False)
    assert rewritten == b"* CAPABILITY IDLE STARTTLS\r\n"


def test_empty_list_is_rewritten() -> None:
    read = response(b"* CAPABILITY \r\n")
    rewritten = rewrite(read, offer_starttls=False, login_disabled=True)
    assert rewritten == b"* CAPABILITY LOGINDISABLED\r\n"


@pytest.mark.parametrize(
    ("capabilities", "octets"),
    [
        ({"LITERAL+"}, NO_LIMIT),
        ({"LITERAL-"}, LITERAL_MINUS_OCTETS),
        ({"IMAP4REV2"}, LITERAL_MINUS_OCTETS),
        ({"IMAP4REV1"}, 0),
    ],
)
def test_literals_a_backend_takes_unasked(capabilities: set[str], octets: int) -> None:
    assert non_sync_octets(frozenset(capabilities)) == octets


@settings(max_examples=100)
@given(st.lists(st.sampled_from(BACKEND.lower().split() + BACKEND.split())), st.booleans())
def test_rewriting_twice_changes_nothing(words: list[bytes], disabled: bool) -> None:
    once = rewrite(
        response(b"* CAPABILITY " + b" ".join(words) + b"\r\n"),
        offer_starttls=disabled,
        login_disabled=disabled,
    )
    again = rewrite(response(once), offer_starttls=disabled, login_disabled=disabled)
    assert again == once
    assert b"UNAUTHENTICATE" not in once.upper()
    assert once.upper().count(b"STARTTLS") == disabled
