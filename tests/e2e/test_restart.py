"""A guard is started anew, or reads its configuration again, while clients come all along.

The listening sockets are inherited, as from socket units: they outlive each guard.
"""

import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .conftest import Mail
from .guard_process import Service
from .line_client import LineClient
from .processes import wait_until
from .sink import Sink, sink
from .socket_manager import SocketManager, socket_manager

SENDERS = 6
RESTARTS = 2
EXTRA = '[limits]\ndrain = "2s"\n'
FAREWELL = b"421 "


@dataclass
class Tally:
    """What clients saw, all together."""

    greeted: int = 0
    acknowledged: set[str] = field(default_factory=set)
    sent_away: int = 0  # with 421, or cut in what they were at: they come again
    unanswered: list[str] = field(default_factory=list)  # refused, reset or closed without a word
    enough: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Running:
    """Who holds the sockets, and what is behind the guard."""

    manager: SocketManager
    sink: Sink
    tls: ssl.SSLContext


@pytest.fixture
def running(public: Path, mail: Mail, tmp_path: Path) -> Iterator[Running]:
    directory = public / tmp_path.name
    with sink() as behind:
        services = [
            Service("mx", "smtp", "none", behind.smtp_port),
            Service("imaps", "imap", "implicit", behind.imap_port),
        ]
        with socket_manager(directory, services, mail.pairs, extra=EXTRA) as manager:
            manager.start()
            yield Running(manager, behind, mail.authority.client_context())


@contextmanager
def senders(running: Running, tally: Tally) -> Iterator[None]:
    """Clients that send one message after the other until the block ends."""
    threads = [
        threading.Thread(target=_send, args=(running.manager.ports["mx"], tally, str(number)))
        for number in range(SENDERS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        tally.enough.set()
        for thread in threads:
            thread.join()


def _send(port: int, tally: Tally, sender: str) -> None:
    number = 0
    while not tally.enough.is_set():
        number += 1
        ident = f"{sender}-{number}"
        try:
            with LineClient(port) as client:
                _send_one(client, ident, tally)
        except OSError as error:
            tally.unanswered.append(f"{ident}: {error}")


def _send_one(client: LineClient, ident: str, tally: Tally) -> None:
    greeting = client.reply()
    if not greeting.startswith((b"220 ", FAREWELL)):
        tally.unanswered.append(f"{ident}: {greeting!r}")
        return
    tally.greeted += greeting.startswith(b"220 ")
    commands = (b"EHLO client.example", b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.org>")
    try:
        for command in (*commands, b"DATA"):
            if not client.command(command).startswith((b"250", b"354")):
                tally.sent_away += 1
                return
        content = f"X-Id: {ident}\r\n\r\n{'x' * 70}\r\n.\r\n".encode()
        client.send(content)
        if client.reply().startswith(b"250"):
            tally.acknowledged.add(ident)
            client.command(b"QUIT")
        else:
            tally.sent_away += 1
    except OSError:
        tally.sent_away += 1


def _wait_for_mail(tally: Tally) -> None:
    """Until each sender has sent some more."""
    enough = len(tally.acknowledged) + 10 * SENDERS
    wait_until(lambda: len(tally.acknowledged) >= enough, "mail flows")


def test_a_restart_loses_no_connection_attempt_and_no_acknowledged_message(
    running: Running,
) -> None:
    tally = Tally()
    with senders(running, tally):
        for _ in range(RESTARTS):
            running.manager.stop()
            running.manager.start()
            _wait_for_mail(tally)
    assert tally.unanswered == []
    assert tally.acknowledged
    assert tally.acknowledged <= running.sink.taken
    assert tally.greeted >= len(tally.acknowledged)


def test_a_reload_under_load_loses_no_session(running: Running) -> None:
    guard = running.manager.guard
    assert guard is not None
    tally = Tally()
    with ExitStack() as stack:
        smtp = [stack.enter_context(LineClient(guard.ports["mx"])) for _ in range(10)]
        imap = [
            stack.enter_context(LineClient(guard.ports["imaps"], tls=running.tls))
            for _ in range(10)
        ]
        for number, client in enumerate(imap):
            assert client.line().startswith(b"* OK")
            assert b"a OK" in client.ask(b"a LOGIN user%d secret" % number)
        for client in smtp:
            assert client.reply().startswith(b"220")
            assert client.command(b"EHLO client.example").startswith(b"250")
        with senders(running, tally):
            for round_ in range(3):
                _wait_for_mail(tally)
                assert "in force" in guard.command("reload")
                for client in smtp:
                    assert client.command(b"NOOP").startswith(b"250")
                for client in imap:
                    assert client.ask(b"b%d NOOP" % round_).startswith(b"b%d OK" % round_)
    assert tally.unanswered == []
    assert tally.sent_away == 0
    assert tally.acknowledged
    assert tally.acknowledged <= running.sink.taken
