"""`gatekeeper check` asks backends whether they relay: servers of every kind, by their answers."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from smtp_answers import server

from gatekeeper.check import Finding, Severity, check, relay
from gatekeeper.check.finding import warning
from gatekeeper.check.relay import check_relay
from gatekeeper.events import MailProtocol
from gatekeeper.settings import (
    Announce,
    BackendSettings,
    Endpoint,
    ListenerSettings,
    Settings,
    TlsMode,
    TlsSettings,
)

SMTP, SUBMISSION, IMAP = MailProtocol.SMTP, MailProtocol.SUBMISSION, MailProtocol.IMAP
GREETING = "220 mx.example.org ESMTP"
DENIED = "554 5.7.1 Relay access denied"
TOLD = Announce.PROXY_V1


def settings(
    port: int,
    protocol: MailProtocol = SMTP,
    announce: Announce = TOLD,
    binds: Iterable[str] = ("127.0.0.1",),
) -> Settings:
    binding = tuple(Endpoint(host, 25) for host in binds)
    listener = ListenerSettings("in", protocol, binding, TlsMode.STARTTLS, "mx")
    backend = BackendSettings("mx", (Endpoint("127.0.0.1", port),), announce=announce)
    return Settings("guard.example.org", TlsSettings(), (listener,), {"mx": backend})


def answers(rcpt: Callable[[str], str], hello: str = "250 mx.example.org") -> Callable[[str], str]:
    """A server that answers RCPT by its path, and all else well."""

    def answer(line: str) -> str:
        if line.startswith("EHLO"):
            return hello
        return (
            rcpt(line.partition("<")[2].rpartition(">")[0]) if line.startswith("RCPT") else "250 ok"
        )

    return answer


def found(
    rcpt: Callable[[str], str],
    *,
    hello: str = "250 mx.example.org",
    greeting: str = GREETING,
    protocol: MailProtocol = SMTP,
    announce: Announce = TOLD,
) -> list[Finding]:
    with server(greeting, answers(rcpt, hello)) as running:
        return check_relay(settings(running.port, protocol, announce))


def test_a_server_that_takes_everything_is_an_open_relay_and_gets_no_mail() -> None:
    with server(GREETING, answers(lambda _: "250 2.1.5 Ok")) as running:
        (finding,) = check_relay(settings(running.port))
    assert finding.severity is Severity.ERROR
    assert finding.subject == "backend mx"
    assert "open relay: a stranger (203.0.113.77, told by proxy-v1)" in finding.text
    assert "reject_unauth_destination" in finding.text
    assert running.lines == [
        "PROXY TCP4 203.0.113.77 192.0.2.25 40077 25",
        "EHLO relay-test.invalid",
        "MAIL FROM:<>",
        "RCPT TO:<relay-test@example.net>",
        "RSET",
        "QUIT",
    ]


def test_a_server_that_refuses_every_form_is_asked_for_each_once_and_passed_over() -> None:
    with server(GREETING, answers(lambda _: DENIED)) as running:
        assert check_relay(settings(running.port)) == []
    asked = [line for line in running.lines if line.startswith(("MAIL", "RCPT"))]
    assert asked == [
        "MAIL FROM:<>",
        "RCPT TO:<relay-test@example.net>",
        "RCPT TO:<relay-test@[203.0.113.99]>",
        "RCPT TO:<relay-test%example.net>",
        "RCPT TO:<relay-test-nobody@mx.example.org>",
        "RCPT TO:<relay-test%example.net@mx.example.org>",
        'RCPT TO:<"relay-test@example.net"@mx.example.org>',
        "RCPT TO:<example.net!relay-test@mx.example.org>",
        "RCPT TO:<@mx.example.org:relay-test@example.net>",
        "MAIL FROM:<postmaster@mx.example.org>",
        "RCPT TO:<relay-test@example.net>",
    ]
    assert running.lines[-2:] == ["RSET", "QUIT"]
    assert not [line for line in running.lines if line.startswith(("DATA", "BDAT"))]


@pytest.mark.parametrize(
    "form",
    [
        "relay-test@[203.0.113.99]",
        "relay-test%example.net",
        "relay-test%example.net@mx.example.org",
        '"relay-test@example.net"@mx.example.org',
        "example.net!relay-test@mx.example.org",
        "@mx.example.org:relay-test@example.net",
    ],
)
def test_one_odd_form_that_is_taken_is_enough(form: str) -> None:
    (finding,) = found(lambda path: "250 ok" if path == form else DENIED)
    assert finding.severity is Severity.ERROR
    assert f"may send to <{form}>" in finding.text


def test_a_server_that_takes_every_name_of_its_own_is_no_relay_for_that() -> None:
    def catch_all(path: str) -> str:
        return "250 ok" if path.endswith("@mx.example.org") else DENIED

    assert found(catch_all) == []


def test_a_server_that_believes_a_sender_of_its_own_is_an_open_relay() -> None:
    count = [0]

    def second_time(path: str) -> str:
        count[0] += path == "relay-test@example.net"
        return "250 ok" if count[0] == 2 else DENIED

    (finding,) = found(second_time)
    assert "may send from <postmaster@mx.example.org> to <relay-test@example.net>" in finding.text


def test_a_refusal_for_another_reason_is_no_proof() -> None:
    (finding,) = found(lambda _: "550 5.1.2 Domain not found")
    assert finding.severity is Severity.WARNING
    assert "perhaps not for being no relay (it said: 550 5.1.2 Domain not found)" in finding.text


@pytest.mark.parametrize("reply", ["550 relay not permitted", "530 5.7.0 Authentication required"])
def test_refusals_that_tell_why_are_proof(reply: str) -> None:
    assert found(lambda _: reply) == []


def test_a_submission_server_may_refuse_in_any_words() -> None:
    refused = "554 5.7.1 <unknown[203.0.113.77]>: Client host rejected: Access denied"
    assert found(lambda _: refused, protocol=SUBMISSION) == []
    (finding,) = found(lambda _: "250 ok", protocol=SUBMISSION)
    assert "open relay" in finding.text


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        ("220 mx ESMTP Postfix", "take 127.0.0.1 out of mynetworks"),
        ("220 mx ESMTP Exim 4.96", "take 127.0.0.1 out of the hostlist relay_from_hosts"),
    ],
)
def test_without_an_announcement_everybody_is_the_guard(greeting: str, words: str) -> None:
    (finding,) = found(lambda _: "250 ok", greeting=greeting, announce=Announce.NONE)
    assert "it takes all clients for the guard (127.0.0.1)" in finding.text
    assert words in finding.text
    (finding,) = found(lambda _: DENIED, greeting=greeting, announce=Announce.NONE)
    assert finding.severity is Severity.WARNING
    assert finding.text.startswith("announce is none")


@pytest.mark.parametrize("seen", ["127.0.0.1", "203.0.113.77"])
def test_whom_a_server_sees_is_read_where_it_tells(seen: str) -> None:
    hello = f"250 mx.example.org Hello relay-test.invalid [{seen}]"
    findings = found(lambda _: DENIED, hello=hello, greeting="220 mx.example.org ESMTP Exim")
    texts = [finding.text for finding in findings]
    if seen == "127.0.0.1":
        assert texts == [
            "sees 127.0.0.1 for its client, not whom it is told of by proxy-v1;"
            " Exim: hosts_proxy = 127.0.0.1"
        ]
    else:
        assert texts == []


def test_a_server_whose_name_is_an_address_does_not_tell_whom_it_sees() -> None:
    assert found(lambda _: DENIED, hello="250 [127.0.0.1]") == []


def test_xclient_is_for_the_guard_alone() -> None:
    (finding,) = found(lambda _: DENIED, hello="250-mx.example.org\r\n250 XCLIENT ADDR LOGIN")
    assert "offers XCLIENT to a stranger (203.0.113.77)" in finding.text


def test_a_backend_is_asked_once_for_each_family_and_what_is_common_is_told_once() -> None:
    with server(GREETING, answers(lambda _: "250 ok")) as running:
        findings = check_relay(settings(running.port, binds=("127.0.0.1", "::1", "127.0.0.2")))
    assert len(findings) == 2  # they name two strangers
    assert sorted(lines[0] for lines in running.sessions) == [
        "PROXY TCP4 203.0.113.77 192.0.2.25 40077 25",
        "PROXY TCP6 2001:db8:203:113::77 2001:db8:192::25 40077 25",
    ]


@pytest.mark.parametrize("greeting", ["421 too busy", "554 5.7.1 we know your address is nobody's"])
def test_a_server_that_does_not_greet_a_stranger_tells_nothing(greeting: str) -> None:
    (finding,) = found(lambda _: DENIED, greeting=greeting)
    assert finding.severity is Severity.WARNING
    assert f"it is refused (it said: {greeting})" in finding.text


def test_what_a_server_says_does_no_harm_to_a_terminal() -> None:
    (finding,) = found(lambda _: "250 \x1b]0;x\x07\x1b[31mok" + "x" * 400)
    assert "\x1b" not in str(finding)
    assert len(finding.text) < 600


def test_a_server_that_hangs_up_in_the_middle_is_told() -> None:
    (finding,) = found(lambda _: "421 4.7.0 too many errors")
    assert finding.severity is Severity.WARNING
    assert "it said: 421 4.7.0 too many errors" in finding.text


def test_a_silent_server_costs_the_deadline_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "DEADLINE_S", 0.2)
    started = time.monotonic()
    with server(GREETING, lambda _: None) as running:
        (finding,) = check_relay(settings(running.port))
    assert finding == warning("backend mx", "relay test: not at its end within 0.2 s")
    assert time.monotonic() - started < 5


def test_refusals_that_count_against_the_guard_are_few() -> None:
    with server(GREETING, answers(lambda _: DENIED)) as running:
        check_relay(settings(running.port, announce=Announce.NONE))
    assert [line for line in running.lines if line.startswith("RCPT")] == [
        "RCPT TO:<relay-test@example.net>"
    ] * 2


def test_a_ca_file_that_cannot_be_used_is_an_error_among_others(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with server(GREETING, lambda _: None) as running:
        plain = settings(running.port)
        wrong = replace(plain.backends["mx"], tls=TlsMode.STARTTLS, tls_ca=tmp_path / "ca.pem")
        (finding,) = check_relay(replace(plain, backends={"mx": wrong}))
    assert finding.severity is Severity.ERROR
    assert "ca.pem" in finding.text


def test_a_backend_that_is_down_is_told_of_once() -> None:
    with server(GREETING, lambda _: None) as running:
        port = running.port
    unreached = [warning("backend mx", "does not answer")]
    assert check_relay(settings(port), unreached) == []


def test_an_imap_server_that_logs_everybody_in_is_an_error() -> None:
    with server("* PREAUTH welcome", lambda _: None) as running:
        (finding,) = check_relay(settings(running.port, IMAP))
    assert finding.severity is Severity.ERROR
    assert "greets with PREAUTH" in finding.text


def test_an_imap_server_is_greeted_and_left() -> None:
    def answer(line: str) -> str:
        tag, verb = line.split(" ")[:2]
        untagged = {"CAPABILITY": "* CAPABILITY IMAP4rev1", "LOGOUT": "* BYE bye"}[verb]
        return f"{untagged}\r\n{tag} OK done"

    with server("* OK ready", answer) as running:
        assert check_relay(settings(running.port, IMAP)) == []
    assert [line.split(" ")[1] for line in running.lines[1:]] == ["CAPABILITY", "LOGOUT"]


def test_an_imap_server_that_takes_no_announcement_is_an_error() -> None:
    def answer(line: str) -> str:
        return f"{line.split(' ', maxsplit=1)[0]} BAD who are you"

    with server("* OK Dovecot ready.", answer) as running:
        (finding,) = check_relay(settings(running.port, IMAP, Announce.IMAP_ID))
    assert "the backend refused ID" in finding.text
    assert "login_trusted_networks = 127.0.0.1" in finding.text


def test_nobody_is_asked_where_that_is_not_wanted() -> None:
    with server(GREETING, answers(lambda _: "250 ok")) as running:
        mine = settings(running.port)
        assert not [each for each in check(mine, relay_test=False) if "relay" in each.text]
        assert [each for each in check(mine) if "open relay" in each.text]
    assert sum(bool(lines) for lines in running.sessions) == 1  # others only see whether it is up
