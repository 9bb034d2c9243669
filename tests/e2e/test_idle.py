"""IMAP IDLE with Dovecot: who holds too many pays for it, and not the neighbours at its address."""

import json
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from .accounts import ALICE, BOB, CAROL, PASSWORDS
from .conftest import Mail
from .guard_process import Guard, Service, guard
from .line_client import LineClient
from .processes import wait_until

PER_ACCOUNT, PER_ADDRESS = 3, 5
BYE = b"* BYE [LIMIT] Too many sessions in IDLE\r\n"


@pytest.fixture
def capped(mail: Mail, public: Path, tmp_path: Path) -> Iterator[Guard]:
    """A guard before Dovecot with small caps."""
    service = Service("imaps", "imap", "implicit", mail.dovecot.imap_haproxy, "proxy-v2")
    caps = f"[limits]\nidle_per_account = {PER_ACCOUNT}\nidle_per_address = {PER_ADDRESS}\n"
    with guard(public / tmp_path.name, [service], mail.pairs, extra=caps) as running:
        yield running


class Office:
    """Clients of several accounts behind one address."""

    def __init__(self, running: Guard, tls: ssl.SSLContext, source: str, stack: ExitStack) -> None:
        self._guard = running
        self._tls = tls
        self.source = source
        self._stack = stack

    def reader(self, account: str, source: str = "") -> LineClient:
        """A session with its inbox open."""
        client = self._stack.enter_context(
            LineClient(self._guard.ports["imaps"], source=source or self.source, tls=self._tls)
        )
        assert client.line().startswith(b"* OK ")
        login = f"a LOGIN {account} {PASSWORDS[account.lower()]}".encode()
        assert b"\na OK " in b"\n" + client.ask(login)
        assert b"\nb OK " in client.ask(b"b SELECT INBOX")
        return client

    def idler(self, account: str, source: str = "") -> LineClient:
        """A session that has told the server of its IDLE; the server may not have agreed yet."""
        client = self.reader(account, source)
        client.send(b"c IDLE\r\n")
        return client

    def who(self) -> list[dict[str, Any]]:
        """The sessions that idle, as the operator sees them."""
        rows: list[dict[str, Any]] = json.loads(self._guard.command("who", "-o", "json"))
        return [row for row in rows if row["idle"]]

    def ends(self, count: int) -> list[tuple[str, str]]:
        """Account and reason of every session that was ended for its IDLE, once so many were."""
        wait_until(lambda: len(self._ends()) >= count, f"{count} ends are logged")
        return self._ends()

    def _ends(self) -> list[tuple[str, str]]:
        words = [line.split() for line in self._guard.log().splitlines() if " session " in line]
        fields = [dict(word.split("=", 1) for word in line if "=" in word) for line in words]
        return [(one["user"], one["end"]) for one in fields if one["end"].startswith("idle-")]


@pytest.fixture
def office(capped: Guard, tls: ssl.SSLContext, source: str) -> Iterator[Office]:
    """The clients of a test."""
    with ExitStack() as stack:
        yield Office(capped, tls, source, stack)


def agreed(client: LineClient) -> LineClient:
    """A client whose server waits with it."""
    assert client.line().startswith(b"+ ")
    return client


def lives(client: LineClient) -> None:
    """Its IDLE goes on until it says DONE itself."""
    client.send(b"DONE\r\n")
    assert b"c OK " in client.tagged(b"c")
    assert client.ask(b"d NOOP").splitlines()[-1].startswith(b"d OK ")


def test_an_account_over_its_cap_loses_its_oldest_idle_session_and_nobody_elses(
    office: Office,
) -> None:
    bobs = [agreed(office.idler(BOB)) for _ in range(2)]
    oldest = agreed(office.idler(ALICE))
    at_home = agreed(office.idler(ALICE, source="127.200.1.1"))
    others = [agreed(office.idler(ALICE))]
    others.append(agreed(office.idler(ALICE.title())))  # the same to Dovecot
    assert oldest.rest() == BYE
    assert office.ends(1) == [(ALICE, "idle-limit")]
    rows = office.who()
    assert sorted(row["account"].lower() for row in rows) == sorted([ALICE] * 3 + [BOB] * 2)
    assert all(0 <= row["idle_s"] <= row["since_s"] < 600 for row in rows)
    for client in (*bobs, at_home, *others):
        lives(client)
    assert office.who() == []


def test_a_full_address_costs_each_account_only_its_own(office: Office) -> None:
    bobs = [agreed(office.idler(BOB)) for _ in range(2)]
    alices = [agreed(office.idler(ALICE)) for _ in range(3)]
    newcomer = office.idler(CAROL)  # who has nothing older here to give
    heard = newcomer.rest()
    assert heard.endswith(BYE)
    assert not heard.removesuffix(BYE) or heard.startswith(b"+ ")
    elsewhere = agreed(office.idler(CAROL, source="127.200.1.2"))
    youngest = agreed(office.idler(BOB))
    assert bobs[0].rest() == BYE
    assert office.ends(2) == [(CAROL, "idle-limit"), (BOB, "idle-limit")]
    for client in (bobs[1], youngest, *alices, elsewhere):
        lives(client)


def test_news_still_reach_the_sessions_that_stay(office: Office) -> None:
    bob = agreed(office.idler(BOB))
    alices = [agreed(office.idler(ALICE)) for _ in range(PER_ACCOUNT + 1)]
    assert alices[0].rest() == BYE
    sender = office.reader(BOB)
    assert sender.ask(b"e APPEND INBOX {16}").startswith(b"+ ")
    sender.send(b"Subject: new\r\n\r\n\r\n")
    assert b"e OK " in sender.tagged(b"e")
    while not (line := bob.line()).endswith(b" EXISTS\r\n"):
        assert line.startswith(b"* ")
    for client in (bob, *alices[1:]):
        lives(client)
