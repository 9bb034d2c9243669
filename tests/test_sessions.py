"""The table of sessions: who is found by which word, and each end told once."""

import pytest
import trio
from legs import a_client, a_session, inside_trio
from rig import virtual_time

from gatekeeper.ban import Ban, Scope
from gatekeeper.events import MailProtocol
from gatekeeper.prefix import Prefix, entity
from gatekeeper.sessions import End, Phase, Session, SessionTable
from gatekeeper.verdict import Reason


class FakeLink:
    """A relayed pair that remembers what was done to it."""

    def __init__(self, *, quiet: bool = True) -> None:
        self.done: list[object] = []
        self.quiet = quiet

    def abort(self) -> None:
        self.done.append("abort")

    def finish(self, end: End) -> None:
        self.done.append(end)

    def dismiss(self, end: End, bye: bytes) -> None:
        self.done.append((end, bye))


class Table(SessionTable):
    """A table that remembers what it reported."""

    def __init__(self) -> None:
        self.ended: list[Session] = []
        self.faults: list[Exception] = []
        super().__init__(self.ended.append, lambda _session, error: self.faults.append(error))

    def enter(
        self, address: str, account: str = "", protocol: MailProtocol = MailProtocol.IMAP
    ) -> Session:
        """A session that is past its handshake."""
        session = a_session(address, protocol)
        session.authcid = account
        self.add(session)
        self.established(session)
        return session


def a_ban(prefix: str, scope: Scope = Scope.AUTH) -> Ban:
    return Ban(Prefix.parse(prefix), scope, Reason.AUTH_FAILURES, 1, 0.0, 600.0)


def ends(sessions: list[Session]) -> list[End | None]:
    return [session.end for session in sessions]


@inside_trio
def test_a_crowd_is_those_on_port_25_of_an_address_and_its_network() -> None:
    table = Table()
    one, six = entity("192.0.2.1"), entity("2001:db8:0:1::1")
    assert table.crowd_of(one) == (0, 0)
    mx = [
        table.enter(address, protocol=MailProtocol.SMTP)
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.9", "2001:db8:0:1::1", "2001:db8:0:2::1")
    ]
    table.enter("192.0.2.1", protocol=MailProtocol.SUBMISSION)
    assert table.crowd_of(one) == (2, 3)
    assert table.crowd_of(six) == (1, 2)
    assert table.crowd_of(entity("192.0.3.1")) == (0, 0)
    for session in mx:
        table.remove(session)
        table.remove(session)
    assert table.crowd_of(one) == table.crowd_of(six) == (0, 0)
    assert not table._crowds, "nothing is left behind"


@inside_trio
def test_who_waits_for_the_greeting_shakes_no_hands() -> None:
    table = Table()
    session = a_session("192.0.2.1", MailProtocol.SMTP)
    table.add(session)
    assert table.handshaking == 1
    table.greeting(session)
    assert (table.handshaking, session.phase) == (0, Phase.GREETING)
    table.established(session)
    assert session.phase is Phase.DIALOGUE


@inside_trio
def test_a_census_is_by_listener_and_phase() -> None:
    table = Table()
    assert table.census() == {}
    first = table.enter("192.0.2.1")
    table.add(a_session("192.0.2.2"))
    table.add(a_session("192.0.2.3"))
    listener = first.client.listener
    assert table.census() == {(listener, Phase.DIALOGUE): 1, (listener, Phase.HANDSHAKE): 2}
    table.remove(first)
    assert table.census() == {(listener, Phase.HANDSHAKE): 2}


@inside_trio
def test_sessions_are_counted_by_entity() -> None:
    table = Table()
    sessions = [table.enter("192.0.2.1"), table.enter("192.0.2.1"), table.enter("192.0.2.2")]
    table.enter("2001:db8::1")
    table.enter("2001:db8::2")
    assert len(table) == 5
    assert table.count_of(entity("192.0.2.1")) == 2
    assert table.count_of(entity("2001:db8::99")) == 2  # one /64, one customer
    assert table.count_of(entity("203.0.113.1")) == 0
    table.remove(sessions[0])
    assert table.count_of(entity("192.0.2.1")) == 1


@inside_trio
def test_ids_differ() -> None:
    table = Table()
    assert len({table.enter("192.0.2.1").id for _ in range(100)}) == 100


@inside_trio
def test_an_end_is_told_once() -> None:
    table = Table()
    session = table.enter("192.0.2.1")
    table.remove(session)
    table.remove(session)
    assert table.ended == [session]
    assert len(table) == table.handshaking == 0


@virtual_time
async def test_a_session_without_a_link_is_cancelled() -> None:
    session = a_session()
    assert session.cancel_scope is not None
    with session.cancel_scope as scope:
        session.stop(End.KICKED)
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert session.end is End.KICKED


@pytest.mark.parametrize(
    ("end", "done"),
    [(End.KICKED, "abort"), (End.BANNED, "abort"), (End.SHUTDOWN, End.SHUTDOWN)],
)
@inside_trio
def test_a_relayed_session_is_reset_or_at_shutdown_closed(end: End, done: object) -> None:
    session = a_session()
    session.link = link = FakeLink()
    session.cancel_scope = None
    session.stop(end)
    assert link.done == [done]
    assert session.end is end


@inside_trio
def test_the_first_reason_of_an_end_stays() -> None:
    session = a_session()
    session.stop(End.BANNED)
    session.stop(End.SHUTDOWN)
    assert session.end is End.BANNED


@inside_trio
def test_a_fault_is_reported_and_is_the_end() -> None:
    table = Table()
    session = table.enter("192.0.2.1")
    error = ZeroDivisionError()
    table.fault(session, error)
    assert table.faults == [error]
    assert session.end is End.FAULT


# -- kick ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selector", "kicked"),
    [
        ("192.0.2.1", [0, 1]),
        ("192.0.2.0/24", [0, 1, 2]),
        ("192.0.2.0/31", [0, 1]),
        ("2001:db8::1", [3]),
        ("2001:db8::/48", [3, 4]),
        ("ann@example.org", [0, 3]),
        ("ANN@Example.org", [0, 3]),
        ("ann", []),
        ("", []),
        ("/", []),
        ("192.0.2.0/33", []),
        ("0.0.0.0/0", [0, 1, 2]),
    ],
)
@inside_trio
def test_kick_selects(selector: str, kicked: list[int]) -> None:
    table = Table()
    sessions = [
        table.enter("192.0.2.1", "ann@example.org"),
        table.enter("192.0.2.1"),
        table.enter("192.0.2.2", "bob"),
        table.enter("2001:db8::1", "Ann@example.org"),
        table.enter("2001:db8::2"),
    ]
    assert table.kick(selector) == len(kicked)
    assert [n for n, session in enumerate(sessions) if session.end is End.KICKED] == kicked


@inside_trio
def test_kick_by_id_ends_one() -> None:
    table = Table()
    sessions = [table.enter("192.0.2.1"), table.enter("192.0.2.1")]
    assert table.kick(sessions[1].id) == 1
    assert ends(sessions) == [None, End.KICKED]


# -- accounts ------------------------------------------------------------------------------------


@inside_trio
def test_an_account_is_ended_wherever_it_is_and_however_it_is_written() -> None:
    table = Table()
    sessions = [
        table.enter("192.0.2.1", "ann@example.org"),
        table.enter("192.0.2.1", "bob@example.org"),
        table.enter("2001:db8::1", "Ann@Example.Org", MailProtocol.SUBMISSION),
        table.enter("192.0.2.1"),
    ]
    sessions[0].link = link = FakeLink()
    assert table.end_account("ANN@example.org", End.LOCKED) == 2
    assert ends(sessions) == [End.LOCKED, None, End.LOCKED, None]
    assert link.done == ["abort"]


@inside_trio
def test_sessions_without_an_account_are_nobodys() -> None:
    table = Table()
    session = table.enter("192.0.2.1")
    assert table.end_account("", End.LOCKED) == 0
    assert session.end is None


@inside_trio
def test_a_session_of_the_account_that_is_being_judged_hears_its_verdict() -> None:
    table = Table()
    sessions = [table.enter("192.0.2.1", "ann"), table.enter("192.0.2.1", "ann")]
    sessions[1].judging = True
    assert table.end_account("ann", End.LOCKED) == 1
    assert ends(sessions) == [End.LOCKED, None]


# -- bans ----------------------------------------------------------------------------------------


@inside_trio
def test_a_ban_ends_the_sessions_of_its_prefix_and_scope() -> None:
    table = Table()
    sessions = [
        table.enter("192.0.2.1"),
        table.enter("192.0.2.1", protocol=MailProtocol.SUBMISSION),
        table.enter("192.0.2.1", protocol=MailProtocol.SMTP),
        table.enter("192.0.2.2"),
    ]
    assert table.end_banned(a_ban("192.0.2.1")) == 2
    assert ends(sessions) == [End.BANNED, End.BANNED, None, None]
    assert table.end_banned(a_ban("192.0.2.1", Scope.MX)) == 1


@pytest.mark.parametrize("prefix", ["192.0.2.0/24", "2001:db8:1::/48", "2001:db8:1:2::/64"])
@inside_trio
def test_a_wide_ban_ends_all_it_covers(prefix: str) -> None:
    table = Table()
    inside = ["192.0.2.1", "192.0.2.77"] if "." in prefix else ["2001:db8:1:2::1"] * 2
    sessions = [table.enter(address) for address in (*inside, "198.51.100.1", "2001:db8:2::1")]
    assert table.end_banned(a_ban(prefix)) == 2
    assert ends(sessions) == [End.BANNED, End.BANNED, None, None]


@inside_trio
def test_the_session_being_judged_is_spared() -> None:
    table = Table()
    sessions = [table.enter("192.0.2.1"), table.enter("192.0.2.1")]
    sessions[0].judging = True
    assert table.end_banned(a_ban("192.0.2.1")) == 1
    assert ends(sessions) == [None, End.BANNED]


@inside_trio
def test_a_ban_of_nobody_here_ends_nothing() -> None:
    table = Table()
    table.enter("192.0.2.1")
    assert table.end_banned(a_ban("203.0.113.0/24")) == 0


# -- handshakes ----------------------------------------------------------------------------------


@inside_trio
def test_the_oldest_handshake_makes_room() -> None:
    table = Table()
    sessions = [a_session() for _ in range(3)]
    for session in sessions:
        table.add(session)
    table.established(sessions[0])
    assert table.handshaking == 2
    table.drop_oldest_handshake()
    assert ends(sessions) == [None, End.TIMEOUT, None]
    assert table.handshaking == 1
    assert sessions[0].phase is Phase.DIALOGUE
    table.remove(sessions[1])
    assert table.handshaking == 1


@inside_trio
def test_no_handshake_to_drop_is_no_error() -> None:
    table = Table()
    table.enter("192.0.2.1")
    table.drop_oldest_handshake()
    assert ends(table.ended) == []


# -- room ----------------------------------------------------------------------------------------


@inside_trio
def test_strangers_make_room_oldest_first() -> None:
    table = Table()
    sessions = [a_session() for _ in range(4)]
    for session in sessions:
        table.add(session)
    sessions[0].authcid = "somebody"
    table.remove(sessions[1])
    assert table.drop_oldest_stranger()
    assert ends(sessions) == [None, None, End.TIMEOUT, None]
    assert table.drop_oldest_stranger()
    assert not table.drop_oldest_stranger()
    assert ends(sessions) == [None, None, End.TIMEOUT, End.TIMEOUT]


# -- the drain -----------------------------------------------------------------------------------


@inside_trio
def test_quiet_sessions_end_and_busy_ones_do_not() -> None:
    table = Table()
    quiet, busy, relayed, moving = (table.enter("192.0.2.1") for _ in range(4))
    busy.busy = True
    relayed.link, moving.link = FakeLink(), FakeLink(quiet=False)
    relayed.busy = True  # of its dialogue, which is over
    assert table.end_quiet(End.SHUTDOWN) == 2
    assert ends([quiet, busy, relayed, moving]) == [End.SHUTDOWN, None, End.SHUTDOWN, None]
    assert relayed.link.done == [End.SHUTDOWN]
    assert table.end_all(End.SHUTDOWN) == 4
    assert busy.end is End.SHUTDOWN


@virtual_time
async def test_waiting_for_an_empty_table() -> None:
    table = Table()
    with trio.fail_after(1):
        await table.wait_empty()
    sessions = [table.enter("192.0.2.1"), table.enter("192.0.2.2")]
    with trio.move_on_after(1) as scope:
        await table.wait_empty()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(table.wait_empty)
        nursery.start_soon(table.wait_empty)
        await trio.sleep(0.1)
        for session in sessions:
            table.remove(session)
        with trio.fail_after(1):
            await table.wait_empty()


# -- what is shown -------------------------------------------------------------------------------


@virtual_time
async def test_who_shows_the_oldest_first() -> None:
    table = Table()
    first = table.enter("192.0.2.1", "ann")
    await trio.sleep(3)
    second = Session(a_client("2001:db8::5", MailProtocol.SMTP, "mx"))
    table.add(second)
    first.idle_since = trio.current_time() - 2
    first.phase = Phase.RELAY
    views = table.list()
    assert [view.id for view in views] == [first.id, second.id]
    assert (views[0].account, views[0].phase, views[0].idle) == ("ann", "relay", True)
    assert views[0].since_s == pytest.approx(3)
    assert views[0].idle_s == pytest.approx(2)
    assert (views[1].address, views[1].listener, views[1].protocol) == ("2001:db8::5", "mx", "smtp")
    assert (views[1].phase, views[1].idle, views[1].idle_s) == ("handshake", False, None)
