"""The demo: its backend's pure parts, what its tour takes for a proof, and the tour itself."""

import io
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from demo.backend import refusal, serve
from demo.cast import Cast
from demo.clients import Account, Origin, Somebody
from demo.evidence import (
    StepFailed,
    is_refused,
    is_unanswered,
    read_counter,
    read_element,
    read_scores,
    was_cut,
)
from demo.guard import Plan
from demo.imap_syntax import BadSyntax, fetch_items, render, sequence, tokens
from demo.mailbox import MAILBOX_MAX_MESSAGES, Accounts, Mailbox, Message, read_plain
from demo.narrator import Narrator
from demo.scene import asked
from demo.smtp_sink import read_path
from demo.tour import Tour
from gatekeeper.config import load

CHECKOUT = Path(__file__).parent.parent
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OCTETS = b"From: a@example.org\r\nSubject: folded\r\n over two lines\r\n\r\nbody\r\n"
ATTACKER = "203.0.113.66"
NFT_SET = """table inet gatekeeper {
    set ban4_auth {
        type ipv4_addr
        size 1000000
        flags timeout
        elements = { 203.0.113.6 timeout 1h expires 59m1s,
                     203.0.113.66 timeout 12s expires 11s250ms }
    }
}
"""
PROXY_V1 = b"PROXY TCP4 198.51.100.10 127.0.0.1 40000 993\r\n"
PROXY_V2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
    + socket.inet_aton("198.51.100.10")
    + socket.inet_aton("127.0.0.1")
    + bytes.fromhex("9c4003e1")
)


# -- pure parts ------------------------------------------------------------------------------------


def test_a_command_is_cut_into_words() -> None:
    command = b'a1 LOGIN {4}\r\nan a "p \\"w\\\\" (X BODY[HEADER.FIELDS (To)])\r\n'
    assert tokens(command) == [
        *(b"a1", b"LOGIN", b"an a", b'p "w\\'),
        *(b"(", b"X", b"BODY[HEADER.FIELDS (To)]", b")"),
    ]


@pytest.mark.parametrize("command", [b'a "open\r\n', b"a {x}\r\n"])
def test_what_is_no_command_is_refused(command: bytes) -> None:
    with pytest.raises(BadSyntax):
        tokens(command)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [(b"1", [1]), (b"2:*", [2, 3]), (b"*:2", [2, 3]), (b"1,3:9999999999", [1, 3]), (b"7", [])],
)
def test_a_sequence_set_names_what_is_there(text: bytes, numbers: list[int]) -> None:
    assert sequence(text, 3) == numbers


@pytest.mark.parametrize("text", [b"", b"a", b"1:", b"1,,2", b"-1"])
def test_a_broken_sequence_set_is_refused(text: bytes) -> None:
    with pytest.raises(BadSyntax):
        sequence(text, 3)


@pytest.mark.parametrize(
    ("item", "rendered"),
    [
        ("UID", b"UID 7"),
        ("FLAGS", rb"FLAGS (\Seen)"),
        ("RFC822.SIZE", b"RFC822.SIZE %d" % len(OCTETS)),
        ("INTERNALDATE", b'INTERNALDATE "02-Jan-2026 03:04:05 +0000"'),
        ("BODY.PEEK[]", b"BODY[] {%d}\r\n%b" % (len(OCTETS), OCTETS)),
        ("BODY[TEXT]", b"BODY[TEXT] {6}\r\nbody\r\n"),
        ("BODY[TEXT]<1.2>", b"BODY[TEXT]<1> {2}\r\nod"),
        (
            "BODY[HEADER.FIELDS (SUBJECT)]",
            b"BODY[HEADER.FIELDS (SUBJECT)] {36}\r\nSubject: folded\r\n over two lines\r\n\r\n",
        ),
    ],
)
def test_a_message_is_rendered(item: str, rendered: bytes) -> None:
    assert render(item, Message(OCTETS, NOW, {r"\Seen"}), 7) == rendered


def test_an_item_that_is_not_served_is_refused() -> None:
    with pytest.raises(BadSyntax):
        render("ENVELOPE", Message(OCTETS, NOW), 1)


def test_fetch_items_are_read() -> None:
    assert fetch_items([b"(", b"uid", b"FLAGS", b")"]) == ["UID", "FLAGS"]


def test_a_path_is_read_with_its_size() -> None:
    assert read_path(b"FROM:<a@example.org> BODY=8BITMIME SIZE=12") == ("a@example.org", 12)
    assert read_path(b"FROM:a@example.org") is None


def test_plain_credentials_are_read() -> None:
    assert read_plain(b"\0anna\0word") == ("anna", b"word")
    assert read_plain(b"boss\0anna\0word") is None
    assert read_plain(b"anna") is None


def test_a_login_wants_the_right_password() -> None:
    refused: list[tuple[str, str]] = []
    accounts = Accounts({"anna@example.org": "right"}, lambda *who: refused.append(who))
    mailbox = accounts.mailbox("anna@example.org")
    assert accounts.login("Anna@example.org", b"right", "192.0.2.1") is mailbox
    assert not refused
    assert accounts.login("anna@example.org", b"wrong", "192.0.2.2") is None
    assert accounts.login("nobody@example.org", b"right", "192.0.2.3") is None
    assert refused == [("192.0.2.2", "anna@example.org"), ("192.0.2.3", "nobody@example.org")]


def test_a_wrong_password_is_one_line_of_the_backends_log(tmp_path: Path) -> None:
    log = tmp_path / "backend.log"
    log.write_text(refusal("192.0.2.1", "a\nrefused 192.0.2.2 b") + refusal("192.0.2.22", "x"))
    assert [asked(log, f"192.0.2.{last}") for last in (1, 2, 22)] == [1, 0, 1]


def test_a_full_mailbox_takes_no_more() -> None:
    mailbox = Mailbox()
    taken = [mailbox.deliver(b"x", NOW) for _ in range(MAILBOX_MAX_MESSAGES + 1)]
    assert taken == [True] * MAILBOX_MAX_MESSAGES + [False]


@pytest.mark.parametrize("pretended", [None, {"imaps": 20993, "mx": 20025}])
def test_the_configuration_is_one_that_the_guard_takes(
    tmp_path: Path, pretended: dict[str, int] | None
) -> None:
    ports = {"mx": 10025, "submission": 10587, "submissions": 10465, "imaps": 10993, "imap": 10143}
    backends = {"mx": 1025, "submission": 1587, "imap": 1143}
    plan = Plan(tmp_path, ("127.0.0.1",), ports, backends, False, pretended=pretended)
    (tmp_path / "gatekeeper.toml").write_text(plan.text())
    settings = load(tmp_path / "gatekeeper.toml")
    assert len(settings.listeners) == len(ports) + len(pretended or {})


# -- the backend -----------------------------------------------------------------------------------


async def talk(stream: trio.SocketStream, octets: bytes, until: bytes) -> bytes:
    """Send, and gather what comes up to `until`."""
    await stream.send_all(octets)
    answer = b""
    with trio.fail_after(5):
        while until not in answer:
            received = await stream.receive_some()
            assert received, answer
            answer += received
    return answer


@pytest.mark.parametrize("header", [PROXY_V1, PROXY_V2])
async def test_submitted_mail_wakes_an_idle_session(nursery: trio.Nursery, header: bytes) -> None:
    ports = await nursery.start(serve, Accounts({"anna@example.org": "word"}))
    imap = await trio.open_tcp_stream("127.0.0.1", ports["imap"])
    smtp = await trio.open_tcp_stream("127.0.0.1", ports["submission"])
    async with imap, smtp:
        await talk(imap, header + b"a LOGIN anna@example.org {4}\r\n", b"+ ")
        await talk(imap, b"word\r\n", b"a OK")
        assert b"* 0 EXISTS" in await talk(imap, b"b SELECT INBOX\r\n", b"b OK")
        await talk(imap, b"c IDLE\r\n", b"+ ")
        await talk(smtp, header + b"EHLO client\r\nMAIL FROM:<x@example.net>\r\n", b"530 ")
        await talk(smtp, b"AUTH PLAIN AGFubmFAZXhhbXBsZS5vcmcAd29yZA==\r\n", b"235 ")
        envelope = b"MAIL FROM:<x@example.net>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n"
        await talk(smtp, envelope, b"354 ")  # pipelined
        await talk(smtp, b"Subject: s\r\n\r\n..dot\r\n.\r\n", b"250 2.0.0 Ok: kept")
        await talk(imap, b"", b"* 1 EXISTS\r\n")
        await talk(imap, b"DONE\r\n", b"c OK")
        fetched = await talk(imap, b"d UID FETCH 1:* (FLAGS BODY.PEEK[])\r\n", b"d OK")
    assert b"([198.51.100.10])" in fetched
    assert fetched.count(b"\r\n.dot\r\n") == 1
    nursery.cancel_scope.cancel()


async def test_mail_from_outside_needs_a_known_recipient(nursery: trio.Nursery) -> None:
    ports = await nursery.start(serve, Accounts({"anna@example.org": "word"}))
    async with await trio.open_tcp_stream("127.0.0.1", ports["mx"]) as smtp:
        assert b"AUTH" not in await talk(smtp, PROXY_V1 + b"EHLO mx\r\n", b"250 ")
        await talk(smtp, b"AUTH PLAIN AHgAeA==\r\n", b"503 ")
        await talk(smtp, b"MAIL FROM:<>\r\nRCPT TO:<nobody@example.org>\r\n", b"550 5.1.1")
        await talk(smtp, b"RCPT TO:<anna@example.org>\r\n", b"250 2.1.5")
    nursery.cancel_scope.cancel()


async def test_a_wrong_password_is_told_apart_from_an_outage(nursery: trio.Nursery) -> None:
    ports = await nursery.start(serve, Accounts({"anna@example.org": "word"}))
    async with await trio.open_tcp_stream("127.0.0.1", ports["imap"]) as imap:
        await talk(imap, PROXY_V1 + b"a LOGIN anna x\r\n", b"a NO [AUTHENTICATIONFAILED]")
        await talk(imap, b"b AUTHENTICATE PLAIN AHgAeA==\r\n", b"b NO [AUTHENTICATIONFAILED]")
        await talk(imap, b"c SELECT INBOX\r\n", b"c BAD")
    nursery.cancel_scope.cancel()


async def test_who_sends_no_proxy_header_is_hung_up_on(nursery: trio.Nursery) -> None:
    ports = await nursery.start(serve, Accounts({}))
    async with await trio.open_tcp_stream("127.0.0.1", ports["imap"]) as imap:
        await imap.send_all(b"a CAPABILITY\r\n")
        with trio.fail_after(5):
            assert await imap.receive_some() == b""
    nursery.cancel_scope.cancel()


# -- proofs ----------------------------------------------------------------------------------------


def test_an_element_is_found_with_its_countdown() -> None:
    line, left_s = read_element(NFT_SET, ATTACKER)
    assert line == "203.0.113.66 timeout 12s expires 11s250ms"
    assert left_s == pytest.approx(11.25)


@pytest.mark.parametrize("address", ["203.0.113.7", "3.0.113.66", "203.0.113.666", "203.0.1130.6"])
def test_another_element_is_none(address: str) -> None:
    assert read_element(NFT_SET, address) == ("", 0.0)


def test_scores_are_read_from_an_explanation() -> None:
    assert read_scores("192.0.2.1 is not banned; score 13.1 of 13 (1 account)") == (13.1, 13.0)
    with pytest.raises(StepFailed):
        read_scores("192.0.2.1 is banned from the login ports for 9m59s more")


def test_a_counter_that_is_not_there_fails_the_step() -> None:
    assert read_counter("counter dropped4_auth {\n packets 12 bytes 720\n}") == 12
    with pytest.raises(StepFailed):
        read_counter("Error: No such file or directory")


@pytest.fixture
def listening() -> socket.socket:
    """A port on loopback where nobody accepts."""
    return socket.create_server(("127.0.0.1", 0))


def local(context: object = None) -> Somebody:
    return Somebody(Origin("127.0.0.1", "127.0.0.1"), context)  # type: ignore[arg-type]  # no TLS


def test_an_answered_connection_is_not_taken_for_a_dropped_one(listening: socket.socket) -> None:
    with listening:
        assert not is_unanswered(local(), listening.getsockname()[1])


def test_a_refused_connection_is_not_taken_for_a_dropped_one(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    listening.close()
    assert not is_unanswered(local(), port)
    assert is_refused(local(), port)


def test_an_open_session_is_not_taken_for_a_cut_one() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"* BYE\r\n")
        assert not was_cut(ours, 0.05)
        theirs.close()
        assert was_cut(ours, 0.05)


# -- the tour --------------------------------------------------------------------------------------


def tour(nft: Callable[..., str], gatekeeper: Callable[..., str], out: io.StringIO) -> Tour:
    attacker = Somebody(Origin(ATTACKER, "192.0.2.25"), None)  # type: ignore[arg-type]  # no TLS
    account = Account("anna@example.org", "word")
    cast = Cast(
        attacker, None, attacker, attacker, account, {"imaps": 993}, nft, gatekeeper, lambda _: 0
    )
    return Tour(cast, Narrator(out))


def test_a_ban_that_both_know_is_shown() -> None:
    out = io.StringIO()
    tour(lambda *_: NFT_SET, lambda *_: f"{ATTACKER} auth", out).ban_is_held()
    assert "timeout 12s expires 11s250ms" in out.getvalue()


def test_a_ban_the_guard_does_not_list_fails_the_step() -> None:
    with pytest.raises(StepFailed, match="ban list"):
        tour(lambda *_: NFT_SET, lambda *_: "PREFIX", io.StringIO()).ban_is_held()


def test_a_ban_the_kernel_does_not_hold_fails_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.tour._HELD_S", 0.0)
    with pytest.raises(StepFailed, match="nft holds no ban"):
        tour(lambda *_: "elements = { }", lambda *_: ATTACKER, io.StringIO()).ban_is_held()


def test_a_step_that_fails_ends_the_tour(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    broken = tour(lambda *_: "", lambda *_: "", out)

    def fails() -> None:
        """Something"""
        raise ConnectionResetError("by the guard")

    monkeypatch.setattr(Tour, "steps", (fails, fails))
    assert broken.run() is False
    assert out.getvalue().count("FAILED ConnectionResetError: by the guard") == 1


def demo(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "demo", "--once", *options]
    return subprocess.run(
        command, check=False, cwd=CHECKOUT, capture_output=True, text=True, timeout=110
    )


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_the_tour_shows_the_guard_without_the_kernel() -> None:
    done = demo("--memory")
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "no network namespace: bans are held by the guard alone (memory enforcer)",
        "submissions: sent over TLSv1.3",
        *("has 6 of the 10 guesses", "cut off after 10 guesses"),
        "gatekeeper ban list",
        "closed before a single octet of an answer",
        "EXISTS",
        "nobody at 198.51.100.10 was banned or cut off",
        "the attacker's address is served again",
        "steps 3 to 7 were the guard's doing alone",
    ):
        assert words in done.stdout


@pytest.mark.e2e
@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="the demo falls back without root, tested above")
@pytest.mark.timeout(120)
def test_the_tour_shows_the_kernel_at_work() -> None:
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "this machine's ruleset stays untouched",
        "submission: sent over TLSv1.3 after STARTTLS",
        "submissions: sent over TLSv1.3",
        "the same body",
        "the backend's own log has 6 of the 10 guesses",
        "cut off after 10 guesses; his other open session was cut too",
        "203.0.113.66 timeout 12s expires",
        "gatekeeper ban list",
        "no SYN+ACK, no reset, nothing",
        "the kernel's counter of dropped packets went from",
        "EXISTS",
        "connections of the attacker unanswered at the same time",
        "198.51.100.10 is not banned; score",
        "nobody at 198.51.100.10 was banned or cut off",
        "the kernel removed the element by its own timeout",
        "the attacker's address is served again",
        "7 of 7 steps happened",
    ):
        assert words in done.stdout


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_the_tour_fails_where_nobody_is_banned() -> None:
    done = demo("--memory", "--observe")
    assert done.returncode == 1
    assert "FAILED 14 wrong passwords, and no ban" in done.stdout
