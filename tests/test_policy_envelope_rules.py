"""The Rules on EHLO and MAIL."""

import pytest
from facts import facts

from gatekeeper.ban import Scope
from gatekeeper.events import ConnectionOpened, HelloAttempt, MailAttempt
from gatekeeper.findings import HelloFault, SenderDomain, SpfResult
from gatekeeper.policy.envelope_rules import hello, sender_domain, spf_fail
from gatekeeper.verdict import Action, Reason, Verdict

MX, AUTH = facts(scope=Scope.MX), facts(scope=Scope.AUTH)
NO_HELLO = Verdict(Action.REJECT, Reason.HELLO)


@pytest.mark.parametrize("fault", HelloFault)
def test_every_fault_of_ehlo_refuses(fault: HelloFault) -> None:
    assert hello(HelloAttempt("x", extended=True, fault=fault), MX) == NO_HELLO


def test_ehlo_without_a_fault_passes() -> None:
    assert hello(HelloAttempt("mail.example.net", extended=False), MX) is None


def test_mail_before_any_ehlo_is_refused_on_port_25_alone() -> None:
    assert hello(MailAttempt("a@b.example"), MX) == NO_HELLO
    assert hello(MailAttempt("a@b.example"), AUTH) is None
    assert hello(MailAttempt("a@b.example", "mail.example.net"), MX) is None


@pytest.mark.parametrize(
    ("says", "verdict"),
    [
        (None, None),
        (SenderDomain.FOUND, None),
        (SenderDomain.MISSING, Verdict(Action.REJECT, Reason.SENDER_DOMAIN)),
        (SenderDomain.UNREADABLE, Verdict(Action.REJECT, Reason.SENDER_DOMAIN)),
        (SenderDomain.NULL_MX, Verdict(Action.REJECT, Reason.SENDER_NULL_MX)),
    ],
)
def test_a_sender_nobody_can_answer_is_refused(
    says: SenderDomain | None, verdict: Verdict | None
) -> None:
    assert sender_domain(MailAttempt("a@b.example", domain=says), MX) == verdict


@pytest.mark.parametrize("result", [None, *SpfResult])
def test_of_all_results_only_fail_refuses(result: SpfResult | None) -> None:
    expected = Verdict(Action.REJECT, Reason.SPF_FAIL) if result is SpfResult.FAIL else None
    assert spf_fail(MailAttempt("a@b.example", spf=result), MX) == expected


def test_a_sender_who_cannot_be_read_is_taken_for_forged() -> None:
    event = MailAttempt("a%b.example", domain=SenderDomain.UNREADABLE)
    assert spf_fail(event, MX) == Verdict(Action.REJECT, Reason.SPF_FAIL)


def test_other_events_are_none_of_their_business() -> None:
    assert [rule(ConnectionOpened(), MX) for rule in (hello, sender_domain, spf_fail)] == [None] * 3
