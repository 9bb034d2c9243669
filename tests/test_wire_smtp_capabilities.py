"""The EHLO reply, read and rewritten by allow-list."""

from gatekeeper.wire.smtp_capabilities import EhloFacts, read_ehlo, rewrite_ehlo
from gatekeeper.wire.smtp_replies import Reply, SmtpReplies

POSTFIX = """250-backend.internal
250-PIPELINING
250-SIZE 10240000
250-VRFY
250-ETRN
250-STARTTLS
250-AUTH PLAIN LOGIN CRAM-MD5 GSSAPI scram-sha-256
250-AUTH=PLAIN LOGIN CRAM-MD5
250-XCLIENT NAME ADDR proto
250-XFORWARD NAME ADDR
250-ENHANCEDSTATUSCODES
250-8BITMIME
250-DSN
250-SMTPUTF8
250-REQUIRETLS
250 CHUNKING
"""

EXCHANGE = """250-ex.internal Hello [192.0.2.7]
250-SIZE 0
250-X-ANONYMOUSTLS
250-AUTH NTLM
250-X-EXPS GSSAPI NTLM
250-BINARYMIME
250-XEXCH50
250-XRDST
250 AUTH=NTLM
"""


def reply(text: str) -> Reply:
    observer = SmtpReplies()
    observer.feed(text.replace("\n", "\r\n").encode())
    found = observer.next_reply()
    assert isinstance(found, Reply)
    return found


def facts(text: str) -> EhloFacts:
    return read_ehlo(reply(text))


def rewritten(text: str, *, tls: bool = False, auth: bool = False, strict: bool = False) -> str:
    octets = rewrite_ehlo(
        reply(text),
        hostname="mail.example.org",
        offer_starttls=tls,
        offer_auth=auth,
        requiretls=strict,
    )
    return octets.decode().replace("\r\n", "\n")


def test_facts_of_a_backend_are_read() -> None:
    found = facts(POSTFIX)
    assert found.chunking
    assert found.starttls
    assert found.size_octets == 10_240_000
    assert found.xclient == ("NAME", "ADDR", "PROTO")
    assert set(found.mechanisms) == {"PLAIN", "LOGIN", "CRAM-MD5", "GSSAPI", "SCRAM-SHA-256"}


def test_facts_that_are_not_there() -> None:
    for text in (EXCHANGE, "502 what\n", "250 backend\n"):
        found = facts(text)
        assert not found.chunking
        assert not found.starttls
        assert found.size_octets is None
        assert found.xclient == ()


def test_a_size_that_is_no_number_is_no_size() -> None:
    assert facts("250-a\n250 SIZE -5\n").size_octets is None
    assert facts("250-a\n250 SIZE\n").size_octets is None


def test_reply_keeps_the_allowed_in_order_with_the_guards_name() -> None:
    assert rewritten(POSTFIX, auth=True) == (
        "250-mail.example.org\n250-PIPELINING\n250-SIZE 10240000\n250-VRFY\n250-ETRN\n"
        "250-AUTH PLAIN LOGIN SCRAM-SHA-256\n250-AUTH=PLAIN LOGIN\n250-ENHANCEDSTATUSCODES\n"
        "250-8BITMIME\n250-DSN\n250-SMTPUTF8\n250 CHUNKING\n"
    )


def test_before_tls_there_is_starttls_and_no_auth() -> None:
    text = rewritten(POSTFIX, tls=True)
    assert text.endswith("250-CHUNKING\n250 STARTTLS\n")
    assert "AUTH" not in text


def test_requiretls_needs_both_legs() -> None:
    assert "250-REQUIRETLS\n" in rewritten(POSTFIX, strict=True)
    assert "REQUIRETLS" not in rewritten(POSTFIX)


def test_binarymime_needs_chunking() -> None:
    assert rewritten(EXCHANGE, auth=True) == "250-mail.example.org\n250 SIZE 0\n"
    assert "BINARYMIME" in rewritten("250-a\n250-BINARYMIME\n250 CHUNKING\n")


def test_a_plus_mechanism_rules_out_scram_in_both_spellings() -> None:
    text = "250-a\n250-AUTH SCRAM-SHA-1 PLAIN\n250 AUTH=SCRAM-SHA-1-PLUS SCRAM-SHA-256 LOGIN\n"
    assert rewritten(text, auth=True) == ("250-mail.example.org\n250-AUTH PLAIN\n250 AUTH=LOGIN\n")


def test_a_lone_first_line_stays_one_line() -> None:
    assert rewritten("250 backend.internal\n", auth=True) == "250 mail.example.org\n"


def test_a_refusal_is_passed_as_it_is() -> None:
    assert rewritten("550-no\n550 way\n", tls=True) == "550-no\n550 way\n"


def test_keywords_that_only_look_allowed_are_dropped() -> None:
    text = "250-a\n250-SIZE=5\n250-XSIZE 5\n250- SIZE 5\n250-size 7\n250-\n250 AUTHX PLAIN\n"
    assert rewritten(text, auth=True) == "250-mail.example.org\n250 size 7\n"
