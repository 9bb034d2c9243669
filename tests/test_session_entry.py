"""From accept to the dialogue: PROXY header, room, the first verdict; and ends from outside."""

import pytest
import trio
from rig import Rig, Talk, guard, virtual_time

from gatekeeper.ban import Ban, Scope
from gatekeeper.events import AuthAttempt, ConnectionOpened, MailProtocol, Violation, ViolationKind
from gatekeeper.prefix import Prefix
from gatekeeper.session.entry import PROXY_HEADER_S
from gatekeeper.sessions import End, Session
from gatekeeper.settings import LimitSettings, TlsMode
from gatekeeper.verdict import Action, Reason, Verdict
from gatekeeper.wire.proxy_header import LOCAL_V2, encode_v1, encode_v2

GREETING = """
    B> 220 mx.example ESMTP
    C< 220 mx.example ESMTP
"""
CLIENT = ("192.0.2.1", 1234, "198.51.100.1", 25)
LOCALHOST = Prefix.parse("127.0.0.1")


def ban(prefix: Prefix = LOCALHOST, scope: Scope = Scope.AUTH) -> Ban:
    return Ban(prefix, scope, Reason.AUTH_FAILURES, 1, 0.0, 600.0)


async def greeted(rig: Rig) -> Talk:
    talk = await rig.connect()
    await talk.play(GREETING)
    return talk


# -- PROXY headers -------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [encode_v1(*CLIENT), encode_v2(*CLIENT)], ids=["v1", "v2"])
@pytest.mark.parametrize("portion_octets", [1, 1000])
@virtual_time
async def test_a_trusted_balancer_tells_who_the_client_is(
    header: bytes, portion_octets: int
) -> None:
    async with guard(proxy_protocol_from=("127.0.0.0/8",)) as rig:
        talk = await rig.connect()
        for at in range(0, len(header), portion_octets):
            await talk.client.send(header[at : at + portion_octets])
            await trio.sleep(0.01)
        await talk.play(GREETING)
        [client] = rig.judge.clients
        assert (client.address, client.port) == CLIENT[:2]
        assert (client.local_address, client.local_port) == CLIENT[2:]
        assert client.entity == Prefix.parse("192.0.2.1")
        assert rig.table.count_of(client.entity) == 1


@virtual_time
async def test_what_follows_the_header_in_its_segment_is_the_clients() -> None:
    async with guard(proxy_protocol_from=("127.0.0.1",)) as rig:
        talk = await rig.connect()
        await talk.client.send(encode_v2(*CLIENT) + b"NOOP\r\n")
        await talk.play(GREETING + "B< NOOP")


@virtual_time
async def test_tls_begins_behind_the_header() -> None:
    async with guard(proxy_protocol_from=("127.0.0.1",), tls=TlsMode.IMPLICIT) as rig:
        talk = await rig.connect()
        await talk.client.send(encode_v2(*CLIENT))
        await talk.client.start_tls_client()
        await talk.play(GREETING)


@pytest.mark.parametrize("header", [LOCAL_V2, b"PROXY UNKNOWN\r\n"], ids=["v2", "v1"])
@virtual_time
async def test_a_header_that_names_nobody_leaves_the_balancers_own_address(header: bytes) -> None:
    async with guard(proxy_protocol_from=("127.0.0.1",)) as rig:
        talk = await rig.connect()
        await talk.client.send(header)
        await talk.play(GREETING)
        assert rig.judge.clients[0].address == "127.0.0.1"


@pytest.mark.parametrize(
    "octets", [b"EHLO x\r\n", b"PROXY TCP4 1.2.3.4\r\n", b"\r\n\r\n\0\r\nQUIX\n"]
)
@virtual_time
async def test_a_balancer_without_a_proper_header_is_reset(octets: bytes) -> None:
    async with guard(proxy_protocol_from=("127.0.0.1",)) as rig:
        talk = await rig.connect()
        await talk.client.send(octets)
        await talk.client.hear_reset()
        await rig.no_backend_wanted()
        assert not rig.judge.events


@pytest.mark.parametrize("octets", [b"", b"PROX", encode_v2(*CLIENT)[:20]])
@pytest.mark.parametrize("ends", [True, False])
@virtual_time
async def test_a_balancer_that_does_not_finish_its_header_is_reset(
    octets: bytes, ends: bool
) -> None:
    async with guard(proxy_protocol_from=("127.0.0.1",)) as rig:
        talk = await rig.connect()
        before = trio.current_time()
        await talk.client.send(octets)
        if ends:
            await talk.client.end()
        await talk.client.hear_reset()
        assert trio.current_time() - before <= (0 if ends else PROXY_HEADER_S + 2)
        assert not rig.judge.events


@virtual_time
async def test_a_header_from_anybody_else_is_garbage() -> None:
    async with guard(proxy_protocol_from=("127.0.0.1",)) as rig:
        talk = await rig.connect(source="127.0.0.2")
        await talk.client.send(encode_v1(*CLIENT))
        await talk.play(GREETING + "C< 502 5.5.1 Not implemented")
        assert rig.judge.clients[0].address == "127.0.0.2"
        assert [e.kind for e in rig.judge.heard(Violation)] == [ViolationKind.FORBIDDEN_VERB]


# -- room ----------------------------------------------------------------------------------------


@virtual_time
async def test_one_session_of_an_address_too_many_is_reset() -> None:
    async with guard(limits=LimitSettings(sessions_per_address=1)) as rig:
        first = await greeted(rig)
        second = await rig.connect()
        await second.client.hear_reset()
        await first.play("C> NOOP\nB< NOOP\nB> 250 ok\nC< 250 ok")
        first.client.close()
        await first.play("B.")
        await greeted(rig)


@virtual_time
async def test_in_a_full_table_the_oldest_without_a_login_makes_room() -> None:
    async with guard(limits=LimitSettings(sessions=2)) as rig:
        oldest = await greeted(rig)
        older = await greeted(rig)
        newest = await greeted(rig)
        await oldest.client.hear_until_end()
        for talk in (older, newest):
            await talk.play("C> NOOP\nB< NOOP\nB> 250 ok\nC< 250 ok")
        assert [session.end for session in rig.ended] == [End.TIMEOUT]


@virtual_time
async def test_nobody_with_a_login_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "authcid", property(lambda _: "somebody", lambda *_: None))
    async with guard(limits=LimitSettings(sessions=1)) as rig:
        talk = await greeted(rig)
        second = await rig.connect()
        await second.client.hear_reset()
        await talk.play("C> NOOP\nB< NOOP\nB> 250 ok\nC< 250 ok")


@virtual_time
async def test_sessions_are_counted_by_who_the_client_is_and_not_by_its_balancer() -> None:
    limits = LimitSettings(sessions_per_address=1)
    async with guard(limits=limits, proxy_protocol_from=("127.0.0.1",)) as rig:
        for address in ("192.0.2.1", "192.0.2.2"):
            talk = await rig.connect()
            await talk.client.send(encode_v1(address, 1, "198.51.100.1", 25))
            await talk.play(GREETING)


@virtual_time
async def test_the_oldest_handshake_makes_room_for_a_new_one() -> None:
    async with guard(tls=TlsMode.IMPLICIT, limits=LimitSettings(handshakes=1)) as rig:
        idle = await rig.connect()
        await trio.sleep(0.1)
        talk = await rig.connect()
        await idle.client.hear_until_end()
        await talk.client.start_tls_client()
        await talk.play(GREETING)
        assert [session.end for session in rig.ended] == [End.TIMEOUT]


# -- the first verdict ---------------------------------------------------------------------------

CLOSE = Verdict(Action.CLOSE, Reason.BANNED)


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (MailProtocol.SMTP, "421 4.7.0 Service closing transmission channel"),
        (MailProtocol.SUBMISSION, "421 4.7.0 Service closing transmission channel"),
        (MailProtocol.IMAP, "* BYE Connection closed"),
    ],
)
@virtual_time
async def test_an_unwanted_client_is_told_so_on_plaintext(
    protocol: MailProtocol, words: str
) -> None:
    async with guard(protocol=protocol) as rig:
        rig.judge.answers[ConnectionOpened] = CLOSE
        talk = await rig.connect()
        await talk.play(f"C< {words}\nC.")
        assert await rig.end() is End.REFUSED
        await rig.no_backend_wanted()


@virtual_time
async def test_an_unwanted_client_gets_no_handshake() -> None:
    async with guard(tls=TlsMode.IMPLICIT) as rig:
        rig.judge.answers[ConnectionOpened] = CLOSE
        talk = await rig.connect()
        await talk.client.hear_end()
        assert await rig.end() is End.REFUSED


@virtual_time
async def test_a_greeting_may_be_delayed() -> None:
    async with guard() as rig:
        rig.judge.answers[ConnectionOpened] = Verdict(Action.DELAY, Reason.TARPIT, delay_s=5.0)
        before = trio.current_time()
        await greeted(rig)
        assert trio.current_time() - before >= 5.0


# -- ends from outside ---------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [MailProtocol.SUBMISSION, MailProtocol.IMAP])
@virtual_time
async def test_a_ban_resets_a_session_at_once(protocol: MailProtocol) -> None:
    async with guard(protocol=protocol) as rig:
        talk = await rig.connect()
        backend = await talk.accept()
        await backend.send(b"220 x\r\n" if protocol is MailProtocol.SUBMISSION else b"* OK x\r\n")
        await talk.client.hear_line()
        before = trio.current_time()
        assert rig.table.end_banned(ban()) == 1
        await talk.client.hear_reset()
        await backend.hear_until_end()
        assert await rig.end() is End.BANNED
        assert trio.current_time() == before


@virtual_time
async def test_a_ban_of_a_wider_prefix_ends_what_it_covers() -> None:
    async with guard() as rig:
        await greeted(rig)
        assert rig.table.end_banned(ban(Prefix.parse("127.0.0.0/8"))) == 1
        assert await rig.end() is End.BANNED


@pytest.mark.parametrize("other", [ban(scope=Scope.MX), ban(Prefix.parse("127.0.0.2"))])
@virtual_time
async def test_a_ban_of_another_scope_or_address_ends_nothing(other: Ban) -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        assert rig.table.end_banned(other) == 0
        await talk.play("C> NOOP\nB< NOOP")


@virtual_time
async def test_the_session_being_judged_hears_its_refusal_and_the_others_are_reset() -> None:
    async with guard(tls=TlsMode.IMPLICIT) as rig:
        guesser, other = await rig.connect(), await rig.connect()
        for talk in (guesser, other):
            await talk.client.start_tls_client()
            await talk.play(GREETING)

        def ban_guesser(event: object) -> Verdict | None:
            if not isinstance(event, AuthAttempt):
                return None
            assert rig.table.end_banned(ban()) == 1
            return CLOSE

        rig.judge.decide = ban_guesser
        await guesser.play("""
            C> AUTH PLAIN AGEAYg==
            C< 421 4.7.0 Service closing transmission channel
            C.
        """)
        await other.client.hear_reset()
        assert {session.end for session in rig.ended} >= {End.BANNED}


@virtual_time
async def test_a_ban_does_not_wait_for_a_tarpit() -> None:
    async with guard() as rig:
        rig.judge.answers[Violation] = Verdict(Action.DELAY, Reason.TARPIT, delay_s=100.0)
        talk = await greeted(rig)
        before = trio.current_time()
        await talk.play("C> XCLIENT")
        await trio.sleep(1)
        assert rig.table.end_banned(ban()) == 1
        await talk.client.hear_reset()
        assert trio.current_time() - before < 2


@pytest.mark.parametrize("selector", ["127.0.0.1", "127.0.0.0/8", "id"])
@virtual_time
async def test_a_kick_resets_a_session_at_once(selector: str) -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        [view] = rig.table.list()
        assert rig.table.kick(view.id if selector == "id" else selector) == 1
        await talk.client.hear_reset()
        assert await rig.end() is End.KICKED


@virtual_time
async def test_a_session_kicked_in_its_handshake_ends_too() -> None:
    async with guard(tls=TlsMode.IMPLICIT) as rig:
        talk = await rig.connect()
        await trio.sleep(0.1)
        assert rig.table.kick("127.0.0.1") == 1
        await talk.client.hear_reset()
        assert await rig.end() is End.KICKED


@virtual_time
async def test_a_shutdown_ends_sessions_in_order() -> None:
    async with guard() as rig:
        talk = await greeted(rig)
        assert rig.table.end_all(End.SHUTDOWN) == 1
        await talk.play("C< 421 4.7.0 Service closing transmission channel\nC.\nB.")
        assert await rig.end() is End.SHUTDOWN


@pytest.mark.parametrize("phase", ["header", "dialogue"])
@virtual_time
async def test_a_cancelled_session_closes_both_legs(phase: str) -> None:
    trusted = ("127.0.0.1",) if phase == "header" else ()
    async with guard(proxy_protocol_from=trusted) as rig:
        talk = await rig.connect()
        if phase == "dialogue":
            await talk.play(GREETING)
        await trio.sleep(0.1)
        rig.cancel_sessions()
        await talk.client.hear_reset()
        if phase == "dialogue":
            await talk.backend.hear_until_end()
            assert rig.ended[0].end is End.SHUTDOWN
