"""Hooks before a real Postfix: own words at RCPT, a change with SIGHUP, a slip, and faults."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ticket_mask import masked

from .accounts import ALICE, BOB
from .conftest import Mail
from .guard_process import Guard, Service, guard
from .line_client import LineClient
from .processes import wait_until

SENDER = b"someone@elsewhere.test"
FIRST = """
import threading
from gatekeeper.hooks import *

threading.Thread(target=threading.Event().wait).start()  # never ends, nor lets the process end

def helo(event, facts, context):
    context.tag("first")

def rcpt(event, facts):
    if event.forward_path.startswith("bob@"):
        return refuse("5.7.1 Not to Bob\\r\\n250 ok")

async def mail(event, facts):
    if event.reverse_path.startswith("fault"):
        raise SystemExit("no\\r\\nmore")
"""
SECOND = FIRST.replace("Not to Bob", "Never to Bob").replace("first", "second")


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o644)


@pytest.fixture(scope="module")
def hooks(public: Path) -> Path:
    directory = public / "hooks"
    directory.mkdir(mode=0o755)
    write(directory / "hooks.py", FIRST)
    return directory / "hooks.py"


@pytest.fixture(scope="module")
def running(public: Path, mail: Mail, hooks: Path) -> Iterator[Guard]:
    services = [Service("mx", "smtp", "none", mail.postfix.mx, "xclient")]
    extra = f'[hooks]\nfiles = ["{hooks}"]\n[policy]\ngreet_wait = 0\n'
    with guard(hooks.parent, services, mail.pairs, extra=extra) as found:
        yield found


def answers(running: Guard, source: str, *recipients: str, sender: bytes = SENDER) -> list[bytes]:
    with LineClient(running.ports["mx"], source=source) as client:
        assert client.reply().startswith(b"220 ")
        assert client.command(b"EHLO client.example.test").startswith(b"250")
        assert client.command(b"MAIL FROM:<" + sender + b">").startswith(b"250 ")
        return [masked(client.command(f"RCPT TO:<{one}>".encode())) for one in recipients]


def reload(running: Guard, word: str) -> None:
    before = running.log().count(word)
    running.signal(signal.SIGHUP)
    wait_until(lambda: running.log().count(word) > before, f"it says {word}")


def test_a_refusal_in_own_words_and_what_is_told_of_it(
    running: Guard, mail: Mail, source: str
) -> None:
    before = mail.postfix.log()
    one, two = answers(running, source, BOB, ALICE)
    assert one == b"550 5.7.1 Not to Bob 250 ok (ref *****)\r\n"
    assert two.startswith(b"250 ")
    assert BOB not in mail.postfix.log()[len(before) :]
    wait_until(lambda: " session " in running.log(), "the session is logged")
    log = running.log()
    assert "reason=hook listener=mx" in log
    assert 'hook=hooks.py:rcpt text="5.7.1 Not to Bob 250 ok" tags=first' in log
    told = running.command("explain", source)
    assert "mx: recipient, tagged first" in told
    assert "hook hooks.py:rcpt" in told
    assert "3 ok" in running.command("status")
    rows = json.loads(running.command("hooks", "-o", "json"))
    assert [(row["hook"], row["called"], row["calls"]) for row in rows] == [
        ("hooks.py:helo", "thread", 1),
        ("hooks.py:mail", "async", 1),
        ("hooks.py:rcpt", "thread", 2),
    ]


def test_a_fault_is_told_once_and_mail_goes_on(running: Guard, source: str) -> None:
    for _ in range(3):
        (answer,) = answers(running, source, ALICE, sender=b"fault@elsewhere.test")
        assert answer.startswith(b"250 ")
    line = ' hook state=failing why="SystemExit: no more (line 16)" hook=hooks.py:mail'
    wait_until(lambda: line in running.log(), "it is told")
    wait_until(lambda: running.log().count(" session ") >= 4, "all sessions are logged")
    assert running.log().count(" hook state=") == 1
    assert "2 ok, hooks.py:mail failing" in running.command("status")
    (told,) = [line for line in running.command("hooks").splitlines() if "mail" in line]
    assert told.split()[1:5] == ["async", "failing", "4", "3"]


def test_a_change_is_taken_and_a_slip_is_not(running: Guard, hooks: Path, source: str) -> None:
    write(hooks, SECOND)
    reload(running, " reloaded ")
    assert answers(running, source, BOB) == [b"550 5.7.1 Never to Bob 250 ok (ref *****)\r\n"]
    write(hooks, SECOND + "\ndef mail(event:\n")
    reload(running, " reload-failed ")
    (line,) = [one for one in running.log().splitlines() if " reload-failed " in one]
    assert f"{hooks}:18: syntax error: " in line
    assert answers(running, source, BOB) == [b"550 5.7.1 Never to Bob 250 ok (ref *****)\r\n"]
    said = running.command("check", expect=1)
    assert f"error: {hooks}:18: syntax error: " in said
