"""What is learnt of a backend's refusals: words that are of nobody, and times as they come."""

from random import Random

import pytest
from legs import a_client

from gatekeeper.events import AuthAttempt
from gatekeeper.prefix import entity
from gatekeeper.secret import Secret
from gatekeeper.session.likeness import (
    ENOUGH,
    ENOUGH_OF_OWN,
    MAX_WORDS_OCTETS,
    SAMPLES,
    SAMPLES_OF_ONE,
    Likeness,
    Manner,
    Stage,
)

PLAIN = Manner("PLAIN", challenged=False, stage=Stage.FINAL)
PLAIN_ASKED = Manner("PLAIN", challenged=True, stage=Stage.FINAL)
LOGIN = Manner("LOGIN", challenged=True, stage=Stage.FINAL)
XOAUTH2 = Manner("XOAUTH2", challenged=False, stage=Stage.FINAL)
DOCUMENT = Manner("XOAUTH2", challenged=False, stage=Stage.CHALLENGE)
NO = b"535 5.7.8 no\r\n"
STRANGER = entity("198.51.100.9")


def address(number: int) -> str:
    return f"192.0.2.{number}"


def attempt(number: int) -> AuthAttempt:
    return AuthAttempt("PLAIN", f"user{number}@a.example", secret=Secret(b"s3cret"))


def learn(
    likeness: Likeness,
    number: int,
    words: bytes | None = NO,
    *,
    account: int | None = None,
    took_s: float = 2.0,
    manner: Manner = PLAIN,
) -> None:
    """A failure of the client `number` at its own account, or at `account`."""
    whose = attempt(number if account is None else account)
    likeness.learn(manner, a_client(address(number)), whose, took_s, words)


def fresh() -> Likeness:
    return Likeness(Random(7))


# -- words ---------------------------------------------------------------------------------------


def test_words_are_repeated_when_two_clients_heard_them() -> None:
    likeness = fresh()
    learn(likeness, 1)
    assert likeness.words(PLAIN) is None
    learn(likeness, 2)
    assert likeness.words(PLAIN) == NO


def test_one_client_or_one_account_alone_teaches_no_words() -> None:
    likeness = fresh()
    learn(likeness, 1)
    learn(likeness, 1, account=2)
    learn(likeness, 3, account=2)
    assert likeness.words(PLAIN) is None


def test_words_that_differ_each_time_are_never_repeated() -> None:
    likeness = fresh()
    for number in range(1, 20):
        learn(likeness, number, b"535 5.7.8 no [session %d]\r\n" % number)
    assert likeness.words(PLAIN) is None


def test_a_backend_that_changes_its_words_is_followed() -> None:
    likeness = fresh()
    for number, words in enumerate([NO, NO, b"535 nope\r\n"], 1):
        learn(likeness, number, words)
    assert likeness.words(PLAIN) == NO
    learn(likeness, 4, b"535 nope\r\n")
    assert likeness.words(PLAIN) == b"535 nope\r\n"


@pytest.mark.parametrize(
    "text",
    [
        "no such user: ann@a.example",
        "no such user: ANN",
        "not as boss",
        "wrong password hunter2",
        "not from 192.0.2.1",
        "x" * MAX_WORDS_OCTETS,
    ],
    ids=["authcid", "its local part", "authzid", "secret", "address", "too long"],
)
def test_words_about_a_client_or_without_bound_are_not_kept(text: str) -> None:
    likeness = fresh()
    words = f"535 {text}\r\n".encode()
    ann = AuthAttempt("PLAIN", "ann@a.example", "boss@a.example", Secret(b"hunter2"))
    # Another account whose client heard the same: as if two people had agreed to teach it.
    other = AuthAttempt("PLAIN", "ann@b.example", "boss@b.example", Secret(b"hunter2"))
    likeness.learn(PLAIN, a_client("192.0.2.1"), ann, 2.0, words)
    likeness.learn(PLAIN, a_client("192.0.2.11"), other, 2.0, words)
    assert likeness.words(PLAIN) is None


def test_a_name_that_is_not_utf8_or_not_ascii_is_found_in_the_words() -> None:
    likeness = fresh()
    for number, octets in enumerate((b"\xff\xe9", b"\xc3\xa9ric"), 1):
        name = octets.decode("utf-8", "surrogateescape")
        for client in (number, number + 10):
            whose = AuthAttempt("PLAIN", f"{name}@{client}")
            words = b"535 not " + octets + b"\r\n"
            likeness.learn(PLAIN, a_client(address(client)), whose, 2.0, words)
    assert likeness.words(PLAIN) is None


def test_words_of_the_likest_manner_stand_in() -> None:
    likeness = fresh()
    for number in (1, 2):
        learn(likeness, number, b"535 login\r\n", manner=LOGIN)
    assert likeness.words(PLAIN) == b"535 login\r\n"
    for number in (1, 2):
        learn(likeness, number, b"535 asked\r\n", manner=PLAIN_ASKED)
    assert likeness.words(PLAIN) == b"535 asked\r\n"
    for number in (1, 2):
        learn(likeness, number, manner=PLAIN)
    assert likeness.words(PLAIN) == NO
    assert likeness.words(LOGIN) == b"535 login\r\n"
    assert likeness.words(DOCUMENT) is None


def test_only_mechanisms_with_error_documents_fail_in_a_challenge() -> None:
    likeness = fresh()
    assert likeness.challenges("XOAUTH2")
    assert not likeness.challenges("PLAIN")
    likeness.learn_shape("XOAUTH2", challenges=False)
    assert not likeness.challenges("XOAUTH2")
    assert likeness.challenges("OAUTHBEARER")
    likeness.learn_shape("XOAUTH2", challenges=True)
    assert likeness.challenges("XOAUTH2")


# -- times ---------------------------------------------------------------------------------------


def drawn(likeness: Likeness, manner: Manner = PLAIN, times: int = 200) -> list[float]:
    return [likeness.delay_s(manner, STRANGER) for _ in range(times)]


def test_until_enough_is_measured_a_refusal_takes_dovecots_two_seconds() -> None:
    likeness = fresh()
    for number in range(ENOUGH - 1):
        learn(likeness, number, took_s=0.1)
    assert all(2.0 <= delay_s <= 2.5 for delay_s in drawn(likeness))
    learn(likeness, ENOUGH, took_s=0.1)
    assert all(delay_s == pytest.approx(0.1) for delay_s in drawn(likeness))


def test_times_are_drawn_from_all_that_was_measured_and_no_value_comes_twice() -> None:
    likeness = fresh()
    for number in range(40):
        learn(likeness, number, took_s=1.5 + number / 80)
    delays = sorted(drawn(likeness))
    assert len(set(delays)) == len(delays)
    assert 1.5 <= delays[0] < 1.53
    assert 1.96 < delays[-1] <= 1.5 + 39 / 80
    assert delays[len(delays) // 2] == pytest.approx(1.74, abs=0.06)


def test_the_oldest_times_are_forgotten() -> None:
    likeness = fresh()
    for number in range(2 * SAMPLES):
        learn(likeness, number, took_s=9.0 if number < SAMPLES else 1.0)
    assert max(drawn(likeness)) == 1.0


def test_one_client_does_not_set_the_pace_of_all() -> None:
    likeness = fresh()
    for number in range(1, 41):
        learn(likeness, number, took_s=2.0)
    for _ in range(10 * SAMPLES):
        learn(likeness, 99, took_s=17.0)
    delays = drawn(likeness)
    slow = SAMPLES_OF_ONE / (40 + SAMPLES_OF_ONE)
    assert sum(delay_s > 10 for delay_s in delays) / len(delays) == pytest.approx(slow, abs=0.08)


def test_a_client_that_was_refused_lately_gets_times_like_its_own() -> None:
    likeness = fresh()
    for number in range(1, 41):
        learn(likeness, number, took_s=2.0)
    for took_s in (2.0, 4.0, *[17.0] * ENOUGH_OF_OWN):
        learn(likeness, 99, took_s=took_s)
    own = entity(address(99))
    assert {likeness.delay_s(PLAIN, own) for _ in range(100)} == {17.0}
    assert min(drawn(likeness)) == 2.0


def test_a_manner_without_times_of_its_own_borrows_those_of_its_stage() -> None:
    likeness = fresh()
    for number in range(ENOUGH):
        learn(likeness, number, took_s=0.3)
    assert drawn(likeness, LOGIN, 1) == [pytest.approx(0.3)]
    assert max(drawn(likeness, DOCUMENT)) <= 0.02
    for number in range(ENOUGH):
        learn(likeness, number, took_s=0.7, manner=XOAUTH2)
    assert drawn(likeness, XOAUTH2, 1) == [pytest.approx(0.7)]
    assert drawn(likeness, PLAIN, 1) == [pytest.approx(0.3)]
