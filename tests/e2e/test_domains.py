"""Two domains by files before a real Postfix: one message for both, refusals at RCPT, changes."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ticket_mask import TICKETED, masked

from .accounts import ALICE, BOB, CAROL, DOMAIN, SECOND_DOMAIN
from .conftest import Mail
from .guard_process import Guard, Service, guard
from .line_client import LineClient
from .processes import wait_until

NO_SUCH_USER = b"550 5.1.1 No such user here (ref *****)\r\n"
NOT_ACCEPTED = b"550 5.7.1 Recipient not accepted (ref *****)\r\n"
SENDER = b"someone@elsewhere.test"


def write(root: Path, place: str, *lines: str) -> None:
    """A list, put in its place at once."""
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(".fresh")
    fresh.write_text("".join(f"{line}\n" for line in lines))
    os.rename(fresh, path)


@dataclass(frozen=True, slots=True)
class Place:
    """A guard before Postfix and the tree it reads."""

    guard: Guard
    root: Path

    def session(self, source: str) -> LineClient:
        """A client after its EHLO."""
        client = LineClient(self.guard.ports["mx"], source=source)
        assert client.reply().startswith(b"220 ")
        assert client.command(b"EHLO client.example.test").startswith(b"250")
        return client

    def answer(self, source: str, recipient: str, sender: bytes = SENDER) -> bytes:
        """What a client hears to one RCPT."""
        with self.session(source) as client:
            assert client.command(b"MAIL FROM:<" + sender + b">").startswith(b"250 ")
            return masked(client.command(f"RCPT TO:<{recipient}>".encode()))


@pytest.fixture(scope="module")
def place(public: Path, mail: Mail) -> Iterator[Place]:
    """Alice is a user of the first domain, Bob is no more; of the second all are but Eve."""
    directory = public / "domains"
    root = directory / "tree"
    for user in ("alice", "bob"):
        write(root, f"{DOMAIN}/users/valid/{user}")
    write(root, f"{DOMAIN}/users/invalid", "bob")
    write(root, f"{SECOND_DOMAIN}/users/valid", "*")
    write(root, f"{SECOND_DOMAIN}/users/invalid", "eve")
    write(root, f"{SECOND_DOMAIN}/blacklisted/senders", "spam@elsewhere.test")
    services = [Service("mx", "smtp", "none", mail.postfix.mx, "xclient")]
    extra = f'[domains]\nroot = "{root}"\n[policy]\ntarpit_base = 0\ntarpit_max = 0\n'
    with guard(directory, services, mail.pairs, extra=extra) as running:
        yield Place(running, root)


def test_one_message_for_two_domains(place: Place, mail: Mail, source: str, marker: bytes) -> None:
    before = mail.postfix.log()
    with place.session(source) as client:
        assert client.command(b"MAIL FROM:<" + SENDER + b">").startswith(b"250 ")
        answers = {
            recipient: masked(client.command(f"RCPT TO:<{recipient}>".encode()))
            for recipient in (ALICE, BOB, f"dora@{SECOND_DOMAIN}", f"eve@{SECOND_DOMAIN}")
        }
        assert client.command(b"DATA").startswith(b"354 ")
        client.send(b"Subject: for two domains\r\n\r\n" + marker + b"\r\n")
        assert client.command(b".").startswith(b"250 ")
    assert [answer[:4] for answer in answers.values()] == [b"250 ", b"550 ", b"250 ", b"550 "]
    assert answers[BOB] == answers[f"eve@{SECOND_DOMAIN}"] == NO_SUCH_USER
    mail.delivered(ALICE, marker)
    mail.delivered(CAROL, marker)  # the second domain's mail is hers
    assert mail.settled(BOB, marker) == []
    heard = mail.postfix.log()[len(before) :]
    assert "dora@second.test" in heard
    assert BOB not in heard
    assert "eve@second.test" not in heard
    log = place.guard.log()
    assert "reason=unknown-user listener=mx" in log
    assert f"recipient={BOB}" in log


def test_a_sender_is_refused_by_one_of_two_domains(place: Place, source: str) -> None:
    spam = b"Spam@elsewhere.test"
    assert place.answer(source, f"dora@{SECOND_DOMAIN}", spam) == NOT_ACCEPTED
    assert place.answer(source, ALICE, spam).startswith(b"250 ")
    assert place.answer(source, f"dora@{SECOND_DOMAIN}", b"").startswith(b"250 ")


def test_a_refused_sender_finds_out_why_by_his_ticket(place: Place, source: str) -> None:
    spam, recipient = b"Spam@elsewhere.test", f"dora@{SECOND_DOMAIN}"
    with place.session(source) as client:
        assert client.command(b"MAIL FROM:<" + spam + b">").startswith(b"250 ")
        found = TICKETED.search(client.command(f"RCPT TO:<{recipient}>".encode()))
    assert found is not None
    ticket = found[1].decode()
    told = place.guard.command("explain", f"(ref {ticket})").splitlines()
    assert told[0].startswith(f"{ticket}: {source} was refused at ")
    assert told[1].startswith("  sender-blacklisted: ")
    assert f"recipient    {recipient}" in told
    assert f"sender       {spam.decode()}" in told
    assert f" ref={ticket} " in place.guard.log()
    place.guard.command("explain", "ref=22222" if ticket != "22222" else "ref=33333", expect=3)


def test_a_change_is_taken_without_a_signal(place: Place, source: str) -> None:
    recipient = f"frank@{SECOND_DOMAIN}"
    assert place.answer(source, recipient).startswith(b"250 ")
    write(place.root, f"{SECOND_DOMAIN}/users/invalid", "eve", "frank")
    wait_until(lambda: place.answer(source, recipient) == NO_SUCH_USER, "the change is taken")


def test_a_signal_takes_a_change_at_once(place: Place, source: str) -> None:
    recipient = f"grace@{SECOND_DOMAIN}"
    reloads = place.guard.log().count(" reloaded ")
    write(place.root, f"{SECOND_DOMAIN}/users/invalid", "eve", "grace")
    place.guard.signal(signal.SIGHUP)
    wait_until(lambda: place.guard.log().count(" reloaded ") > reloads, "it is reloaded")
    wait_until(lambda: place.answer(source, recipient) == NO_SUCH_USER, "it is taken", 2)


def test_what_cannot_be_read_is_named_and_mail_goes_on(place: Place, source: str) -> None:
    users = place.root / DOMAIN / "users"
    users.chmod(0)  # the guard is another user
    (place.root / "loop.test").symlink_to("loop.test")
    try:
        text = f"path={users}/valid"
        wait_until(lambda: text in place.guard.log(), "the log names what cannot be read")
        assert place.answer(source, ALICE).startswith(b"250 ")  # the last good lists are in force
        assert place.answer(source, BOB) == NO_SUCH_USER
        found = place.guard.command("check")
        assert f"warning: {users}/valid: permission denied" in found
        assert f"warning: {place.root}/loop.test: too many levels of symbolic links" in found
        assert "troubles 3" in place.guard.command("status")
    finally:
        users.chmod(0o755)
    wait_until(lambda: f"why=mended {text}" in place.guard.log(), "it is mended")
