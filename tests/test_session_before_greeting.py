"""Before the greeting of port 25: early talkers, names, lists and crowds, all within one wait."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from fake_names import FakeNames
from rig import FakeJudge, Rig, guard, virtual_time

from gatekeeper.events import (
    Client,
    ClientListed,
    ConnectionOpened,
    EarlyTalk,
    JudgedEvent,
    Listing,
    MailProtocol,
    ReverseDns,
    ReverseState,
)
from gatekeeper.session.entrance import CROWDED, CROWDED_WAIT_S, Entrance
from gatekeeper.sessions import End
from gatekeeper.settings import (
    AskedOn,
    LimitSettings,
    PolicySettings,
    TlsMode,
    Treatment,
)
from gatekeeper.verdict import Action, Reason, Verdict
from gatekeeper.wire.proxy_header import encode_v1

WAIT_S = PolicySettings().greet_wait_s
GREETED = """
    B> 220 mx.example ESMTP
    C< 220 mx.example ESMTP
"""
NOBODY_ELSE = "127.0.0.9"
CONFIRMED = ReverseDns(ReverseState.CONFIRMED, "mx.sender.example")
MISSING = ReverseDns(ReverseState.MISSING)
LISTED = (Listing("bl.example", ("127.0.0.2",), 1.0),)
SYNCHRONISATION = b"554 5.5.0 SMTP protocol synchronization\r\n"
CLIENT = ("203.0.113.9", 50_000, "192.0.2.1", 25)


@dataclass
class Screen:
    """Says of everybody what a test wants, after a while."""

    says: tuple[Listing, ...] = ()
    delay_s: float = 0.0
    asked: list[AskedOn] = field(default_factory=list)

    async def listings(self, client: Client, on: AskedOn) -> tuple[Listing, ...]:
        """See `gatekeeper.abc.Screen`."""
        del client
        self.asked.append(on)
        await trio.sleep(self.delay_s)
        return self.says

    async def complete(self, event: JudgedEvent, client: Client) -> JudgedEvent:
        """See `gatekeeper.abc.Screen`."""
        del client
        return event


def refusing() -> FakeJudge:
    """Refuses whatever a test of the entrance finds."""
    judge = FakeJudge()
    judge.answers = {
        EarlyTalk: Verdict(Action.REJECT, Reason.EARLY_TALKER),
        ClientListed: Verdict(Action.REJECT, Reason.DNS_LISTED),
        ReverseDns: Verdict(Action.REJECT, Reason.REVERSE_DNS),
    }
    return judge


@asynccontextmanager
async def port_25(
    names: FakeNames | None = None,
    judge: FakeJudge | None = None,
    exempt: tuple[str, ...] = (),
    policy: PolicySettings | None = None,
    *,
    protocol: MailProtocol = MailProtocol.SMTP,
    tls: TlsMode = TlsMode.NONE,
    limits: LimitSettings | None = None,
    screen: Screen | None = None,
    rules: dict[Reason, Treatment] | None = None,
    proxy_protocol_from: tuple[str, ...] = (),
) -> AsyncIterator[Rig]:
    """As `guard` has it, with an entrance."""
    entrance = Entrance(
        names or FakeNames(CONFIRMED, delay_s=None),
        exempt=lambda entity: str(entity) in exempt,
    )
    async with guard(
        protocol=protocol,
        tls=tls,
        limits=limits,
        judge=judge or refusing(),
        screen=screen,
        entrance=entrance,
        policy=policy or PolicySettings(),
        rules=rules,
        proxy_protocol_from=proxy_protocol_from,
    ) as rig:
        yield rig


# -- early talkers --------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [TlsMode.NONE, TlsMode.STARTTLS])
@virtual_time
async def test_a_new_client_is_greeted_after_the_wait_and_the_backend_called_then(
    tls: TlsMode,
) -> None:
    async with port_25(tls=tls) as rig:
        started = trio.current_time()
        talk = await rig.connect()
        await talk.play(GREETED + "C> NOOP\nB< NOOP\nB> 250 ok\nC< 250 ok")
        assert WAIT_S <= trio.current_time() - started < WAIT_S + 1


@virtual_time
async def test_who_speaks_early_is_refused_at_once_and_costs_the_backend_nothing() -> None:
    judge, screen = refusing(), Screen(delay_s=2.0)
    async with port_25(FakeNames(MISSING, delay_s=2.0), judge, screen=screen) as rig:
        talk = await rig.connect()
        await trio.sleep(1.0)
        started = trio.current_time()
        await talk.client.send(b"EHLO bot\r\nMAIL FROM:<a@b.example>\r\n")
        await talk.client.hear(SYNCHRONISATION)
        await talk.client.hear_end()
        assert trio.current_time() - started < 0.5
        await rig.no_backend_wanted()
        talk.client.close()
        assert await rig.end() is End.REFUSED
    [found] = judge.heard(EarlyTalk)
    assert found.octets == len(b"EHLO bot\r\nMAIL FROM:<a@b.example>\r\n")
    assert 1.0 <= found.after_s < 1.5
    assert judge.events == [ConnectionOpened(1, 1), found], "what came too late is not judged"


@virtual_time
async def test_what_came_with_the_connection_is_early_talk() -> None:
    async with port_25(limits=LimitSettings()) as rig:
        talk = await rig.connect()
        await talk.client.send(b"x")
        await talk.client.hear(SYNCHRONISATION)


@virtual_time
async def test_an_early_talker_that_is_only_observed_is_greeted_with_all_it_said() -> None:
    """The other tests go on, and it has to wait again the next time."""
    judge = FakeJudge()
    names = FakeNames(MISSING, delay_s=1.0)
    async with port_25(names, judge) as rig:
        for _ in range(2):
            talk = await rig.connect()
            await talk.client.send(b"NOOP\r\n")
            await talk.play(GREETED + "B< NOOP\nB> 250 ok\nC< 250 ok")
            assert trio.current_time() < WAIT_S
    assert [type(event) for event in judge.events] == [
        *(ConnectionOpened, EarlyTalk, ReverseDns),
        *(ConnectionOpened, EarlyTalk, ReverseDns),
    ]


@virtual_time
async def test_who_has_waited_is_not_made_to_wait_again_for_a_while() -> None:
    async with port_25(policy=PolicySettings(greet_passed_s=60.0)) as rig:
        for waits in (True, False, False):
            started = trio.current_time()
            await (await rig.connect()).play(GREETED)
            assert (trio.current_time() - started >= WAIT_S) is waits
        await trio.sleep(60.0)
        started = trio.current_time()
        await (await rig.connect()).play(GREETED)
        assert trio.current_time() - started >= WAIT_S
        started = trio.current_time()
        await (await rig.connect(NOBODY_ELSE)).play(GREETED)
        assert trio.current_time() - started >= WAIT_S, "that one has not passed"


@virtual_time
async def test_who_has_passed_may_speak_early() -> None:
    async with port_25() as rig:
        await (await rig.connect()).play(GREETED)
        talk = await rig.connect()
        await talk.client.send(b"NOOP\r\n")
        await talk.play(GREETED + "B< NOOP")


@pytest.mark.parametrize(
    ("policy", "rules"),
    [
        (PolicySettings(greet_wait_s=0.0), {}),
        (PolicySettings(), {Reason.EARLY_TALKER: Treatment.IGNORE}),
    ],
)
@virtual_time
async def test_without_the_test_nobody_waits(
    policy: PolicySettings, rules: dict[Reason, Treatment]
) -> None:
    async with port_25(policy=policy, rules=rules) as rig:
        talk = await rig.connect()
        await talk.client.send(b"NOOP\r\n")
        await talk.play(GREETED + "B< NOOP")
        assert trio.current_time() < 1.0


@virtual_time
async def test_nobody_is_remembered_where_each_connection_is_to_wait() -> None:
    async with port_25(policy=PolicySettings(greet_passed_s=0.0)) as rig:
        for _ in range(2):
            started = trio.current_time()
            await (await rig.connect()).play(GREETED)
            assert trio.current_time() - started >= WAIT_S
        assert rig.service.entrance is not None
        assert rig.service.entrance.report() == {"waiting": 0, "passed": 0}


@virtual_time
async def test_early_talk_is_seen_even_where_the_judge_holds_the_client_up_beyond_the_wait() -> (
    None
):
    judge = refusing()
    judge.answers[ClientListed] = Verdict(Action.DELAY, Reason.DNS_LISTED, delay_s=2 * WAIT_S)
    async with port_25(judge=judge, screen=Screen(LISTED)) as rig:
        talk = await rig.connect()
        await trio.sleep(WAIT_S + 1)
        await talk.client.send(b"EHLO bot\r\n")
        await talk.client.hear(SYNCHRONISATION)
        assert rig.service.entrance is not None
        assert rig.service.entrance.report() == {"waiting": 0, "passed": 0}


@pytest.mark.parametrize("how", ["leaves", "resets"])
@virtual_time
async def test_a_client_that_goes_while_it_waits_costs_the_backend_nothing(how: str) -> None:
    names = FakeNames(MISSING, delay_s=2.0)
    async with port_25(names, screen=Screen(LISTED, delay_s=2.0)) as rig:
        talk = await rig.connect()
        await trio.sleep(0.5)
        if how == "leaves":
            talk.client.close()
        else:
            talk.client.reset()
        assert await rig.end() is (End.CLIENT if how == "leaves" else End.BROKEN)
        assert trio.current_time() < 1.0
        await rig.no_backend_wanted()
        assert rig.service.entrance is not None
        assert rig.service.entrance.report() == {"waiting": 0, "passed": 0}


@virtual_time
async def test_with_implicit_tls_it_is_the_client_who_speaks_first() -> None:
    async with port_25(tls=TlsMode.IMPLICIT) as rig:
        talk = await rig.connect()
        await talk.client.start_tls_client()
        await talk.play(GREETED)
        assert trio.current_time() < 1.0


@pytest.mark.parametrize("protocol", [MailProtocol.SUBMISSION, MailProtocol.IMAP])
@virtual_time
async def test_on_login_ports_nothing_is_waited_for_or_asked(protocol: MailProtocol) -> None:
    names, judge = FakeNames(MISSING), refusing()
    async with port_25(names, judge, protocol=protocol) as rig:
        await (await rig.connect()).accept()
        assert trio.current_time() < 1.0
    assert (names.asked, judge.events[0]) == ([], ConnectionOpened())


@virtual_time
async def test_a_balancers_header_is_no_early_talk_but_what_follows_it_is() -> None:
    judge = refusing()
    async with port_25(judge=judge, proxy_protocol_from=("127.0.0.1",)) as rig:
        talk = await rig.connect()
        await talk.client.send(encode_v1(*CLIENT))
        await talk.play(GREETED)
        other = await rig.connect()
        await other.client.send(encode_v1("203.0.113.10", *CLIENT[1:]) + b"EHLO bot\r\n")
        await other.client.hear(SYNCHRONISATION)
    assert [event.octets for event in judge.heard(EarlyTalk)] == [len(b"EHLO bot\r\n")]


@virtual_time
async def test_while_many_wait_each_waits_for_a_shorter_time() -> None:
    limits = LimitSettings(sessions=round(1 / CROWDED))
    async with port_25(limits=limits) as rig:
        first = await rig.connect()
        await trio.sleep(0.1)
        started = trio.current_time()
        second = await rig.connect(NOBODY_ELSE)
        await second.play(GREETED)
        assert CROWDED_WAIT_S <= trio.current_time() - started < WAIT_S - 1
        await first.play(GREETED)


@virtual_time
async def test_waiting_takes_no_room_of_those_who_shake_hands() -> None:
    async with port_25(limits=LimitSettings(handshakes=1)) as rig:
        talks = [await rig.connect(f"127.0.0.{number}") for number in range(1, 4)]
        for _ in talks:
            await (await rig.accept_backend()).send(b"220 mx.example ESMTP\r\n")
        for talk in talks:
            await talk.client.hear(b"220 mx.example ESMTP\r\n")


@virtual_time
async def test_a_session_that_is_ended_while_it_waits_hears_why() -> None:
    async with port_25() as rig:
        talk = await rig.connect()
        await trio.sleep(1.0)
        assert [view.phase for view in rig.table.list()] == ["greeting"]
        rig.table.end_quiet(End.SHUTDOWN)
        await talk.client.hear(b"421 4.7.0 Service closing transmission channel\r\n")
        await rig.no_backend_wanted()


# -- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay_s", [None, 0.5])
@virtual_time
async def test_a_confirmed_name_is_the_clients_from_the_first_command_on(
    delay_s: float | None,
) -> None:
    judge = refusing()
    async with port_25(FakeNames(CONFIRMED, delay_s), judge) as rig:
        talk = await rig.connect()
        await talk.play(GREETED + "C> HELO mx.sender.example\nB< HELO mx.sender.example")
    assert judge.heard(ReverseDns) == []
    assert judge.clients[0].reverse_name is None
    assert judge.clients[-1].reverse_name == CONFIRMED.name
    assert rig.ended[0].client.reverse_name == CONFIRMED.name


@pytest.mark.parametrize("state", [ReverseState.MISSING, ReverseState.UNCONFIRMED])
@pytest.mark.parametrize("delay_s", [None, 1.5])
@virtual_time
async def test_a_client_without_a_name_of_its_own_is_refused_with_what_to_mend(
    state: ReverseState, delay_s: float | None
) -> None:
    judge = refusing()
    found = ReverseDns(state, "lies.example")
    async with port_25(FakeNames(found, delay_s), judge) as rig:
        talk = await rig.connect()
        await talk.client.hear(b"554 5.7.25 Your address lacks a name that leads back\r\n")
        assert trio.current_time() < 2.0
        await rig.no_backend_wanted()
    assert judge.heard(ReverseDns) == [found]
    assert {client.reverse_name for client in judge.clients} == {None}


@pytest.mark.parametrize("wait_s", [0.0, WAIT_S])
@virtual_time
async def test_no_answer_is_no_opinion(wait_s: float) -> None:
    judge = refusing()
    policy = PolicySettings(greet_wait_s=wait_s)
    names = FakeNames(None, delay_s=2.0)
    async with port_25(names, judge, policy=policy, screen=Screen(delay_s=2.0)) as rig:
        await (await rig.connect()).play(GREETED)
        assert max(2.0, wait_s) <= trio.current_time() < max(2.0, wait_s) + 1, "at once"
    assert judge.heard(ReverseDns, ClientListed) == []


@virtual_time
async def test_an_ignored_rule_asks_nobody() -> None:
    rules = dict.fromkeys(
        (Reason.REVERSE_DNS, Reason.DNS_LISTED, Reason.EARLY_TALKER), Treatment.IGNORE
    )
    names, screen = FakeNames(MISSING), Screen(LISTED)
    async with port_25(names, screen=screen, rules=rules) as rig:
        await (await rig.connect()).play(GREETED)
        assert trio.current_time() < 1.0
    assert (names.asked, screen.asked) == ([], [])


# -- lists, and all together ----------------------------------------------------------------------


@virtual_time
async def test_a_listed_client_does_not_wait_for_its_refusal() -> None:
    judge, screen = refusing(), Screen(LISTED, delay_s=0.1)
    async with port_25(FakeNames(MISSING, delay_s=2.0), judge, screen=screen) as rig:
        talk = await rig.connect()
        await talk.client.hear(b"554 5.7.1 Mail from your address is not accepted\r\n")
        assert trio.current_time() < 0.5
        assert rig.service.entrance is not None
        assert rig.service.entrance.report() == {"waiting": 0, "passed": 0}
    assert judge.events == [ConnectionOpened(1, 1), ClientListed(LISTED)]


@virtual_time
async def test_who_is_exempt_is_put_to_no_test() -> None:
    names, screen, judge = FakeNames(MISSING), Screen(LISTED), refusing()
    async with port_25(names, judge, exempt=("127.0.0.1",), screen=screen) as rig:
        talk = await rig.connect()
        await talk.client.send(b"NOOP\r\n")
        await talk.play(GREETED + "B< NOOP")
        assert trio.current_time() < 1.0
    assert (names.asked, screen.asked) == ([], [])
    assert judge.events[0] == ConnectionOpened(), "no crowd is counted against it"


@virtual_time
async def test_the_crowd_of_an_address_and_of_its_network_is_told() -> None:
    judge = FakeJudge()
    policy = PolicySettings(greet_wait_s=0.0)
    async with port_25(judge=judge, policy=policy, proxy_protocol_from=("127.0.0.1",)) as rig:
        for source in ("203.0.113.9", "203.0.113.9", "203.0.113.10", "203.0.112.9"):
            talk = await rig.connect()
            await talk.client.send(encode_v1(source, *CLIENT[1:]))
            await talk.play(GREETED)
    assert judge.heard(ConnectionOpened) == [
        ConnectionOpened(1, 1),
        ConnectionOpened(2, 2),
        ConnectionOpened(1, 3),
        ConnectionOpened(1, 1),
    ]


@virtual_time
async def test_one_connection_too_many_is_put_off_before_anything_is_asked() -> None:
    judge, names = FakeJudge(), FakeNames(MISSING)
    judge.answers[ConnectionOpened] = Verdict(Action.DEFER, Reason.TOO_MANY_CONNECTIONS)
    async with port_25(names, judge) as rig:
        talk = await rig.connect()
        await talk.client.hear(b"421 4.7.0 Service closing transmission channel\r\n")
        await rig.no_backend_wanted()
        assert trio.current_time() < 1.0
    assert names.asked == []
