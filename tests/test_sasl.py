"""SASL exchanges, from the client's side."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.events import AuthAttempt, Violation, ViolationKind
from gatekeeper.wire.mechanisms import ALLOWED_MECHANISMS
from gatekeeper.wire.sasl import (
    MALFORMED,
    MAX_AUTHCID_CHARACTERS,
    MAX_PART_OCTETS,
    MAX_RESPONSE_OCTETS,
    SaslExchange,
    normalise_authcid,
    supported,
)

XOAUTH2 = b"user=bob@example.org\x01auth=Bearer ya29.token\x01\x01"
OAUTHBEARER = b"n,a=bob@example.org,\x01host=mx\x01port=993\x01auth=Bearer ya29.token\x01\x01"
SCRAM_FIRST = b"n,,n=bob,r=fyko+d2lbbFgONRv9qkxdawL"
SCRAM_FINAL = b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfc,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
LONGEST = b"x" * MAX_PART_OCTETS


def judged(mechanism: str, *responses: bytes) -> tuple[str, str, bytes | None]:
    """The names and the secret of the attempt that the last of `responses` completes."""
    exchange = SaslExchange(mechanism)
    for response in responses[:-1]:
        assert exchange.step(response) is None
    attempt = exchange.step(responses[-1])
    assert isinstance(attempt, AuthAttempt)
    assert attempt.mechanism == mechanism.upper()
    secret = None if attempt.secret is None else attempt.secret.declassify()
    return attempt.authcid, attempt.authzid, secret


# -- credentials that are read ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (b"\0tim\0tanstaaftanstaaf", ("tim", "", b"tanstaaftanstaaf")),  # RFC 4616 4
        (b"Ursel\0Kurt\0xipj3plmq", ("Kurt", "Ursel", b"xipj3plmq")),
        (b"\0b\xc3\xbcrger\0\xff", ("b\u00fcrger", "", b"\xff")),
        (b"\0b\xff\0x", ("b\udcff", "", b"x")),
        (b"\0" + LONGEST + b"\0" + LONGEST, (LONGEST.decode(), "", LONGEST)),
    ],
)
def test_plain_is_read(response: bytes, said: tuple[str, str, bytes]) -> None:
    assert judged("PLAIN", response) == said


def test_login_is_read_from_two_responses() -> None:
    assert judged("LOGIN", b"bob", b"secret") == ("bob", "", b"secret")


def test_xoauth2_is_read() -> None:
    assert judged("XOAUTH2", XOAUTH2) == ("bob@example.org", "", b"ya29.token")


@pytest.mark.parametrize(
    ("response", "authcid"),
    [
        (OAUTHBEARER, "bob@example.org"),
        (b"n,,\x01auth=Bearer ya29.token\x01\x01", ""),
        (b"y,a=b=2Co=3Db,\x01auth=bearer ya29.token\x01\x01", "b,o=b"),
    ],
)
def test_oauthbearer_is_read(response: bytes, authcid: str) -> None:
    assert judged("OAUTHBEARER", response) == (authcid, "", b"ya29.token")


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "scram-sha-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize(
    ("response", "authcid", "authzid"),
    [
        (SCRAM_FIRST, "bob", ""),
        (b"y,a=ur=2Csel,n=b=3Do=2Cb,r=x", "b=o,b", "ur,sel"),
        (b"n,,n=bob,r=x,e=extension", "bob", ""),
    ],
)
def test_scram_shows_names_and_no_secret(
    mechanism: str, response: bytes, authcid: str, authzid: str
) -> None:
    assert judged(mechanism, response) == (authcid, authzid, None)


# -- what may follow a credential ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mechanism", "first", "closing"),
    [
        ("SCRAM-SHA-1", SCRAM_FIRST, [SCRAM_FINAL, b""]),
        ("XOAUTH2", XOAUTH2, [b""]),
        ("XOAUTH2", XOAUTH2, [b"\x01"]),
        ("OAUTHBEARER", OAUTHBEARER, [b"\x01"]),
    ],
)
def test_closing_responses_ask_for_no_judgement_and_are_counted(
    mechanism: str, first: bytes, closing: list[bytes]
) -> None:
    exchange = SaslExchange(mechanism)
    assert isinstance(exchange.step(first), AuthAttempt)
    assert [exchange.step(response) for response in closing] == [None] * len(closing)
    assert exchange.step(b"") is MALFORMED


@pytest.mark.parametrize(
    ("mechanism", "responses"),
    [
        ("PLAIN", [b"\0bob\0secret", b"\0alice\0secret"]),
        ("PLAIN", [b"\0bob\0secret", b""]),
        ("LOGIN", [b"bob", b"secret", b"secret2"]),
        ("XOAUTH2", [XOAUTH2, XOAUTH2]),
        ("OAUTHBEARER", [OAUTHBEARER, OAUTHBEARER]),
        ("SCRAM-SHA-1", [SCRAM_FIRST, SCRAM_FIRST]),
        ("SCRAM-SHA-1", [SCRAM_FIRST, b""]),
        ("SCRAM-SHA-1", [SCRAM_FIRST, SCRAM_FINAL, SCRAM_FINAL]),
        ("SCRAM-SHA-1", [SCRAM_FIRST, SCRAM_FINAL + b"x" * MAX_RESPONSE_OCTETS]),
    ],
)
def test_a_second_credential_cannot_follow_the_judged_one(
    mechanism: str, responses: list[bytes]
) -> None:
    exchange = SaslExchange(mechanism)
    for response in responses[:-1]:
        assert not isinstance(exchange.step(response), Violation)
    assert exchange.step(responses[-1]) is MALFORMED


# -- malformed -------------------------------------------------------------------------------------

BAD = {
    "PLAIN": [
        b"",
        b"bob",
        b"\0bob",
        b"bob\0secret",
        b"\0bob\0secret\0",
        b"\0\0bob\0secret",
        b"\0\0secret",
        b"bob\0\0secret",
        b"\0bob\0",
        b"\0" + LONGEST + b"x\0secret",
        b"\0bob\0" + LONGEST + b"x",
        LONGEST + b"x\0bob\0secret",
        b"\0" * MAX_RESPONSE_OCTETS,
    ],
    "LOGIN": [b"", b"bo\0b", LONGEST + b"x"],
    "XOAUTH2": [
        b"",
        b"\x01\x01",
        XOAUTH2[:-1],
        XOAUTH2 + b"\x01",
        XOAUTH2[:-2] + b"\0\x01\x01",
        b"auth=Bearer T\x01\x01",
        b"user=bob\x01\x01",
        b"user=\x01auth=Bearer T\x01\x01",
        b"user=bob\x01auth=\x01\x01",
        b"user=bob\x01auth=Bearer \x01\x01",
        b"user=bob\x01auth=Bearer T U\x01\x01",
        b"user=bob\x01auth=Basic T\x01\x01",
        b"user=bob\x01user=alice\x01auth=Bearer T\x01\x01",
        b"user=bob\x01USER=alice\x01auth=Bearer T\x01\x01",
        b"user=bob\x01auth=Bearer T\x01auth=Bearer U\x01\x01",
        b"user=bob\x01nonsense\x01auth=Bearer T\x01\x01",
        b"user=" + LONGEST + b"x\x01auth=Bearer T\x01\x01",
        b"user=bob\x01auth=Bearer " + b"T" * MAX_RESPONSE_OCTETS + b"\x01\x01",
    ],
    "OAUTHBEARER": [
        b"",
        b"\x01",
        XOAUTH2,
        b"n,a=bob,",
        b"n,a=bob\x01auth=Bearer T\x01\x01",
        b"n,a=,\x01auth=Bearer T\x01\x01",
        b"n,bob,\x01auth=Bearer T\x01\x01",
        b"n,a=b=2co,\x01auth=Bearer T\x01\x01",
        b"n,a=bob,x\x01auth=Bearer T\x01\x01",
        b"p=tls-exporter,a=bob,\x01auth=Bearer T\x01\x01",
        b"n,a=bob,\x01user=alice\x01auth=Bearer T\x01\x01",
        b"n,a=bob,\x01auth=\x01\x01",
    ],
    "SCRAM-SHA-256": [
        b"",
        b"n",
        b"n,,",
        b"n,,n=bob",
        b"n,,n=bob,",
        b"n,,n=bob,r=",
        b"n,,n=,r=x",
        b"n,,n=b=o,r=x",
        b"n,,n=b=2co,r=x",
        b"n,,n=bo\0b,r=x",
        b"n,,n=bob,r=x\0y",
        b"n,,r=x,n=bob",
        b"n,,m=x,n=bob,r=x",
        b"n,bob,n=bob,r=x",
        b"n,a=,n=bob,r=x",
        b"x,,n=bob,r=x",
        b"p=tls-unique,,n=bob,r=x",
        b"n,,n=" + LONGEST + b"x,r=x",
        SCRAM_FIRST + b"x" * MAX_RESPONSE_OCTETS,
    ],
}


@pytest.mark.parametrize(
    ("mechanism", "response"), [(name, response) for name in BAD for response in BAD[name]]
)
def test_a_malformed_credential_ends_the_exchange(mechanism: str, response: bytes) -> None:
    exchange = SaslExchange(mechanism)
    assert exchange.step(response) == Violation(ViolationKind.BAD_SASL, b"", fatal=False)
    assert exchange.step({"PLAIN": b"\0bob\0secret", "LOGIN": b"bob"}.get(mechanism, b"")) is (
        MALFORMED
    )


@pytest.mark.parametrize("password", [b"", b"sec\0ret", LONGEST + b"x"])
def test_a_malformed_login_password_ends_the_exchange(password: bytes) -> None:
    exchange = SaslExchange("LOGIN")
    assert exchange.step(b"bob") is None
    assert exchange.step(password) is MALFORMED
    assert exchange.step(b"secret") is MALFORMED


# -- mechanisms ------------------------------------------------------------------------------------


def test_every_mechanism_that_may_be_offered_can_be_read() -> None:
    assert all(supported(mechanism) for mechanism in ALLOWED_MECHANISMS)
    assert supported("plain")


@pytest.mark.parametrize("mechanism", ["", "CRAM-MD5", "SCRAM-SHA-256-PLUS", "GSSAPI", "X-EXPS"])
def test_other_mechanisms_cannot(mechanism: str) -> None:
    assert not supported(mechanism)
    with pytest.raises(ValueError, match="not a supported mechanism"):
        SaslExchange(mechanism)


@given(
    mechanism=st.sampled_from(sorted(ALLOWED_MECHANISMS)),
    responses=st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.text("nyp,=aruC23D\x00\x01 user=auth=Bearer", max_size=60).map(str.encode),
            st.sampled_from([XOAUTH2, OAUTHBEARER, SCRAM_FIRST, SCRAM_FINAL, b"\0bob\0secret"]),
        ),
        max_size=5,
    ),
)
@settings(max_examples=300)
def test_any_responses_get_at_most_one_attempt_and_nothing_after_a_violation(
    mechanism: str, responses: list[bytes]
) -> None:
    exchange = SaslExchange(mechanism)
    results = [exchange.step(response) for response in responses]
    assert sum(isinstance(result, AuthAttempt) for result in results) <= 1
    if MALFORMED in results:
        assert all(result is MALFORMED for result in results[results.index(MALFORMED) :])


# -- the counter key -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authcid", "key"),
    [
        ("bob", "bob@example.org"),
        (" Bob ", "bob@example.org"),
        ("BOB@Example.ORG", "bob@example.org"),
        ("\uff22\uff4f\uff42", "bob@example.org"),
        ("bob\u00a0", "bob@example.org"),
        ("Stra\u00dfe@x", "strasse@x"),
        ("Bu\u0308rger@x", "b\u00fcrger@x"),
        ("b\udcff@x", "b\udcff@x"),
        ("", ""),
        ("  ", ""),
    ],
)
def test_spellings_of_an_account_are_one_key(authcid: str, key: str) -> None:
    assert normalise_authcid(authcid, "example.org") == key


def test_without_a_default_domain_none_is_added() -> None:
    assert normalise_authcid("Bob") == "bob"


@pytest.mark.parametrize("character", ["a", "\u0323", "\ufdfa", "\u0390"])
def test_a_key_is_bounded(character: str) -> None:
    assert len(normalise_authcid(character * 70_000)) == MAX_AUTHCID_CHARACTERS


@given(st.text(max_size=40))
def test_a_key_has_no_blanks_around_it_and_folds_case(authcid: str) -> None:
    key = normalise_authcid(authcid)
    assert key == key.strip()
    if authcid.isascii():
        assert key == normalise_authcid(authcid.upper())
        assert key == normalise_authcid(key)
