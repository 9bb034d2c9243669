"""A local refusal of a credential is told in the backend's words and takes its time."""

from base64 import b64encode

import pytest
import trio
from rig import FakeJudge, Rig, Talk, guard, virtual_time

from gatekeeper.ban import Ban, Scope
from gatekeeper.events import AuthAttempt, AuthOutcome, JudgedEvent, MailProtocol, Violation
from gatekeeper.prefix import Prefix
from gatekeeper.session.likeness import ENOUGH
from gatekeeper.sessions import End
from gatekeeper.settings import TlsMode
from gatekeeper.verdict import Action, Reason, Verdict

DECOY = Verdict(Action.DECOY, Reason.SPRAYED_PASSWORD)
REJECT = Verdict(Action.REJECT, Reason.AUTH_FAILURES)
DEFER = Verdict(Action.DEFER, Reason.ATTACK_LEVEL)
LATENCY_S = 3.25
GENERIC = {
    MailProtocol.SUBMISSION: "535 5.7.8 Authentication credentials invalid",
    MailProtocol.IMAP: "a NO [AUTHENTICATIONFAILED] Authentication failed",
}
OWN = {
    MailProtocol.SUBMISSION: "535 5.7.8 Error: (reason unavailable)",
    MailProtocol.IMAP: "a NO [AUTHENTICATIONFAILED] Nope.",
}
LATER = {
    MailProtocol.SUBMISSION: "454 4.7.0 Temporary authentication failure",
    MailProtocol.IMAP: "a NO [UNAVAILABLE] Temporary authentication failure",
}
NEXT = {
    MailProtocol.SUBMISSION: "C> NOOP\nB< NOOP\nB> 250 ok\nC< 250 ok",
    MailProtocol.IMAP: "C> z NOOP\nB< z NOOP\nB> z OK ok\nC< z OK ok",
}
each_protocol = pytest.mark.parametrize("protocol", [MailProtocol.SUBMISSION, MailProtocol.IMAP])
refusing = pytest.mark.parametrize("verdict", [DECOY, REJECT], ids=["decoy", "reject"])


def base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def plain(protocol: MailProtocol, authcid: str = "ann") -> str:
    response = base64(f"\0{authcid}\0secret")
    verb = "a AUTHENTICATE" if protocol is MailProtocol.IMAP else "AUTH"
    return f"{verb} PLAIN {response}"


async def connected(rig: Rig, source: str = "127.0.0.1") -> Talk:
    """A client over TLS that has been greeted."""
    talk = await rig.connect(source)
    await talk.client.start_tls_client()
    greeting = "* OK ready"
    if rig.service.listener.protocol is MailProtocol.SUBMISSION:
        greeting = "220 mx.example ESMTP"
    await talk.play(f"B> {greeting}\nC< {greeting}")
    return talk


async def refused_by_backend(
    talk: Talk, command: str, words: str, latency_s: float = LATENCY_S
) -> float:
    """The backend refuses `command` in these words; how long the client waited."""
    before = trio.current_time()
    await talk.play(f"C> {command}\nB< {command}")
    await trio.sleep(latency_s)  # virtual: the backend's own delay
    await talk.play(f"B> {words}\nC< {words}")
    return trio.current_time() - before


async def taught(rig: Rig, command: str = "", words: str = "") -> None:
    """The guard has seen enough failures, of different clients at different accounts."""
    protocol = rig.service.listener.protocol
    for number in range(1, ENOUGH + 1):
        talk = await connected(rig, f"127.0.1.{number}")
        asked = command or plain(protocol, f"user{number}")
        await refused_by_backend(talk, asked, words or OWN[protocol])
        talk.client.close()


def decoy_for_ann(judge: FakeJudge, verdict: Verdict) -> None:
    def decide(event: JudgedEvent) -> Verdict | None:
        return verdict if isinstance(event, AuthAttempt) and event.authcid == "ann" else None

    judge.decide = decide


@each_protocol
@refusing
@virtual_time
async def test_a_local_refusal_repeats_the_backends_words_and_takes_its_time(
    protocol: MailProtocol, verdict: Verdict
) -> None:
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT) as rig:
        decoy_for_ann(rig.judge, verdict)
        await taught(rig)
        talk = await connected(rig)
        for _ in range(3):  # RFC 4954 4: three attempts at least are to be had
            before = trio.current_time()
            await talk.play(f"C> {plain(protocol)}\nC< {OWN[protocol]}")
            assert trio.current_time() - before == pytest.approx(LATENCY_S, abs=0.01)
        await talk.play(NEXT[protocol])
        assert len(rig.judge.heard(AuthOutcome)) == ENOUGH


@each_protocol
@refusing
@virtual_time
async def test_until_the_backend_is_known_a_refusal_is_generic_and_takes_two_seconds(
    protocol: MailProtocol, verdict: Verdict
) -> None:
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT) as rig:
        decoy_for_ann(rig.judge, verdict)
        talk = await connected(rig)
        before = trio.current_time()
        await talk.play(f"C> {plain(protocol)}\nC< {GENERIC[protocol]}")
        assert 2.0 <= trio.current_time() - before <= 2.6
        await talk.play(NEXT[protocol])


@each_protocol
@virtual_time
async def test_not_now_comes_no_sooner_than_a_refusal_but_in_words_of_its_own(
    protocol: MailProtocol,
) -> None:
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT) as rig:
        decoy_for_ann(rig.judge, DEFER)
        await taught(rig)
        talk = await connected(rig)
        before = trio.current_time()
        await talk.play(f"C> {plain(protocol)}\nC< {LATER[protocol]}")
        assert trio.current_time() - before == pytest.approx(LATENCY_S, abs=0.01)


@each_protocol
@virtual_time
async def test_a_tarpit_comes_on_top_of_either_refusal(protocol: MailProtocol) -> None:
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT) as rig:
        await taught(rig)
        slowed = Verdict(Action.DECOY, Reason.SPRAYED_PASSWORD, delay_s=5.0)
        decoy_for_ann(rig.judge, slowed)
        rig.judge.answers[AuthOutcome] = Verdict(Action.DELAY, Reason.TARPIT, delay_s=5.0)
        talk = await connected(rig)
        real_s = await refused_by_backend(talk, plain(protocol, "bob"), OWN[protocol])
        before = trio.current_time()
        await talk.play(f"C> {plain(protocol)}\nC< {OWN[protocol]}")
        assert trio.current_time() - before == pytest.approx(real_s, abs=0.01)
        assert real_s == pytest.approx(LATENCY_S + 5.0, abs=0.01)


@each_protocol
@virtual_time
async def test_what_the_guard_itself_delays_is_not_taken_for_the_backends_latency(
    protocol: MailProtocol,
) -> None:
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT) as rig:
        rig.judge.answers[AuthAttempt] = Verdict(Action.DELAY, Reason.TARPIT, delay_s=4.0)
        rig.judge.answers[AuthOutcome] = Verdict(Action.DELAY, Reason.TARPIT, delay_s=5.0)
        await taught(rig)
        decoy_for_ann(rig.judge, DECOY)
        talk = await connected(rig)
        before = trio.current_time()
        await talk.play(f"C> {plain(protocol)}\nC< {OWN[protocol]}")
        assert trio.current_time() - before == pytest.approx(LATENCY_S, abs=0.01)


@virtual_time
async def test_the_cancel_of_the_backends_half_is_within_the_wait() -> None:
    async with guard(tls=TlsMode.IMPLICIT) as rig:
        decoy_for_ann(rig.judge, DECOY)
        await taught(rig)
        talk = await connected(rig)
        await talk.play("C> AUTH PLAIN\nB< AUTH PLAIN\nB> 334\nC< 334")
        before = trio.current_time()
        await talk.play(f"C> {base64(chr(0) + 'ann' + chr(0) + 'x')}\nB< *")
        await trio.sleep(1.0)  # virtual: a backend that is slow to cancel
        await talk.play(f"B> 501 5.7.0 Authentication aborted\nC< {OWN[MailProtocol.SUBMISSION]}")
        assert trio.current_time() - before == pytest.approx(LATENCY_S, abs=0.01)


@virtual_time
async def test_each_tag_is_the_clients_own() -> None:
    async with guard(protocol=MailProtocol.IMAP, tls=TlsMode.IMPLICIT) as rig:
        decoy_for_ann(rig.judge, DECOY)
        await taught(rig)
        talk = await connected(rig)
        await talk.play("C> tag.7 LOGIN ann x\nC< tag.7 NO [AUTHENTICATIONFAILED] Nope.")


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (MailProtocol.SUBMISSION, "534 5.7.9 Application-specific password required"),
        (MailProtocol.SUBMISSION, "454 4.7.0 later"),
        (MailProtocol.SUBMISSION, "504 5.5.4 what"),
        (MailProtocol.IMAP, "a NO [EXPIRED] Your password is too old"),
        (MailProtocol.IMAP, "a NO [UNAVAILABLE] later"),
        (MailProtocol.IMAP, "a BAD what"),
    ],
)
@virtual_time
async def test_only_a_plain_failure_is_repeated(protocol: MailProtocol, words: str) -> None:
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT) as rig:
        decoy_for_ann(rig.judge, DECOY)
        await taught(rig, words=words)
        talk = await connected(rig)
        await talk.play(f"C> {plain(protocol)}\nC< {GENERIC[protocol]}")


@virtual_time
async def test_untagged_data_before_a_failure_is_not_repeated() -> None:
    async with guard(protocol=MailProtocol.IMAP, tls=TlsMode.IMPLICIT) as rig:
        decoy_for_ann(rig.judge, DECOY)
        for number in range(1, 3):
            talk = await connected(rig, f"127.0.1.{number}")
            login = f"a LOGIN user{number} x"
            await talk.play(f"C> {login}\nB< {login}\nB> * OK wait\nB> a NO Nope.")
            await talk.play("C< * OK wait\nC< a NO Nope.")
        talk = await connected(rig)
        await talk.play("C> a LOGIN ann x\nC< a NO Nope.")


@virtual_time
async def test_a_backend_that_hangs_up_after_its_refusal_teaches_only_the_refusal() -> None:
    async with guard(tls=TlsMode.IMPLICIT) as rig:
        decoy_for_ann(rig.judge, DECOY)
        for number in range(1, 3):
            talk = await connected(rig, f"127.0.1.{number}")
            command = plain(MailProtocol.SUBMISSION, f"user{number}")
            await talk.play(f"C> {command}\nB< {command}\nB> 535 no\nC< 535 no")
            talk.backend.close()
            await talk.play("C< 421 4.3.2 Service not available, try again later\nC.")
        talk = await connected(rig)
        await talk.play(f"C> {plain(MailProtocol.SUBMISSION)}\nC< 535 no\n")
        await talk.play(NEXT[MailProtocol.SUBMISSION])


# -- mechanisms that fail in a challenge ----------------------------------------------------------

PROTOCOLS = {MailProtocol.SUBMISSION: ("AUTH", "334"), MailProtocol.IMAP: ("a AUTHENTICATE", "+")}
DOCUMENT = base64('{"status":"400","schemes":"Bearer"}')


def xoauth2(protocol: MailProtocol, authcid: str = "ann") -> str:
    response = base64(f"user={authcid}\1auth=Bearer token\1\1")
    return f"{PROTOCOLS[protocol][0]} XOAUTH2 {response}"


@each_protocol
@virtual_time
async def test_a_refused_token_is_told_in_the_backends_challenge_and_then_again(
    protocol: MailProtocol,
) -> None:
    challenge = f"{PROTOCOLS[protocol][1]} {DOCUMENT}"
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT) as rig:
        decoy_for_ann(rig.judge, DECOY)
        for number in range(1, ENOUGH + 1):
            talk = await connected(rig, f"127.0.1.{number}")
            command = xoauth2(protocol, f"user{number}")
            await refused_by_backend(talk, command, challenge, 0.5)
            await refused_by_backend(talk, "", OWN[protocol])
        talk = await connected(rig)
        before = trio.current_time()
        await talk.play(f"C> {xoauth2(protocol)}\nC< {challenge}")
        assert trio.current_time() - before == pytest.approx(0.5, abs=0.01)
        before = trio.current_time()
        await talk.play(f"C>\nC< {OWN[protocol]}")
        assert trio.current_time() - before == pytest.approx(LATENCY_S, abs=0.01)
        await talk.play(NEXT[protocol])


@each_protocol
@pytest.mark.parametrize(
    ("answer", "smtp", "imap"),
    [
        ("", GENERIC[MailProtocol.SUBMISSION], GENERIC[MailProtocol.IMAP]),
        ("AQ==", GENERIC[MailProtocol.SUBMISSION], GENERIC[MailProtocol.IMAP]),
        (
            "*",
            "501 5.7.0 Authentication aborted",
            "a BAD Authentication aborted by client.",
        ),
        ("YW5u", "501 5.5.2 Cannot decode response", "a BAD Cannot decode response"),
        ("!", "501 5.5.2 Cannot decode response", "a BAD Invalid base64"),
    ],
    ids=["empty", "kvsep", "cancel", "a second credential", "no base64"],
)
@virtual_time
async def test_a_refused_token_is_told_in_a_generic_challenge_until_the_backend_is_known(
    protocol: MailProtocol, answer: str, smtp: str, imap: str
) -> None:
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT) as rig:
        decoy_for_ann(rig.judge, DECOY)
        talk = await connected(rig)
        document = base64('{"status":"401","schemes":"bearer","scope":"mail"}')
        await talk.play(f"C> {xoauth2(protocol)}\nC< {PROTOCOLS[protocol][1]} {document}")
        await talk.play(f"C> {answer}\nC< {imap if protocol is MailProtocol.IMAP else smtp}")
        await talk.play(NEXT[protocol])
        assert bool(rig.judge.heard(Violation)) is (answer in {"YW5u", "!"})


@each_protocol
@virtual_time
async def test_a_backend_that_refuses_tokens_at_once_is_followed(protocol: MailProtocol) -> None:
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT) as rig:
        decoy_for_ann(rig.judge, DECOY)
        talk = await connected(rig)
        await refused_by_backend(talk, xoauth2(protocol, "bob"), OWN[protocol])
        await talk.play(f"C> {xoauth2(protocol)}\nC< {GENERIC[protocol]}")


# -- the wait ------------------------------------------------------------------------------------


@each_protocol
@virtual_time
async def test_a_ban_ends_the_wait_without_a_word(protocol: MailProtocol) -> None:
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT) as rig:
        decoy_for_ann(rig.judge, DECOY)
        talk = await connected(rig)
        before = trio.current_time()
        await talk.play(f"C> {plain(protocol)}")
        await talk.client.hear_nothing()
        prefix = Prefix.parse("127.0.0.1")
        rig.table.end_banned(Ban(prefix, Scope.AUTH, Reason.AUTH_FAILURES, 1, 0.0, 99.0))
        await talk.client.hear_reset()
        assert await rig.end() is End.BANNED
        assert trio.current_time() - before < 1.0


@virtual_time
async def test_the_wait_ends_for_a_client_that_is_gone() -> None:
    async with guard(tls=TlsMode.IMPLICIT) as rig:
        decoy_for_ann(rig.judge, DECOY)
        talk = await connected(rig)
        before = trio.current_time()
        await talk.play(f"C> {plain(MailProtocol.SUBMISSION)}")
        await talk.client.hear_nothing()
        talk.client.reset()
        assert await rig.end() is End.BROKEN
        assert trio.current_time() - before < 1.0


@virtual_time
async def test_a_client_that_only_ends_its_side_is_answered_in_time() -> None:
    async with guard(tls=TlsMode.IMPLICIT) as rig:
        decoy_for_ann(rig.judge, DECOY)
        talk = await connected(rig)
        before = trio.current_time()
        await talk.play(f"C> {plain(MailProtocol.SUBMISSION)}")
        await talk.client.end()
        await talk.play(f"C< {GENERIC[MailProtocol.SUBMISSION]}")
        assert trio.current_time() - before >= 2.0
        assert await rig.end() is End.CLIENT


@virtual_time
async def test_a_backend_that_hangs_up_meanwhile_ends_no_wait() -> None:
    async with guard(tls=TlsMode.IMPLICIT) as rig:
        decoy_for_ann(rig.judge, DECOY)
        talk = await connected(rig)
        before = trio.current_time()
        await talk.play(f"C> {plain(MailProtocol.SUBMISSION)}")
        await talk.client.hear_nothing()
        talk.backend.close()
        await talk.play(f"C< {GENERIC[MailProtocol.SUBMISSION]}")
        assert trio.current_time() - before >= 2.0
        await talk.play("C< 421 4.3.2 Service not available, try again later\nC.")


# -- what the backend let in -----------------------------------------------------------------------


@each_protocol
@refusing
@virtual_time
async def test_a_right_password_that_is_refused_looks_like_a_wrong_one(
    protocol: MailProtocol, verdict: Verdict
) -> None:
    async with guard(protocol=protocol, tls=TlsMode.IMPLICIT) as rig:
        await taught(rig)
        rig.judge.answers[AuthOutcome] = verdict
        talk = await connected(rig)
        yes = "a OK in" if protocol is MailProtocol.IMAP else "235 welcome"
        before = trio.current_time()
        await talk.play(f"C> {plain(protocol)}\nB< {plain(protocol)}\nB> {yes}")
        await talk.play(f"C< {OWN[protocol]}")
        assert trio.current_time() - before == pytest.approx(LATENCY_S, abs=0.01)
        assert await rig.end() is End.REFUSED
        assert rig.ended[-1].authcid == ""
