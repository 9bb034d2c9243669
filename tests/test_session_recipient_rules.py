"""The Rules on recipients of port 25 as a client meets them: relays, harvesters, numbers a day."""

from dataclasses import replace

import pytest
from envelope_rig import SETTINGS, passed, reasons, talking
from guard_bench import Bench, client
from rig import Talk, virtual_time
from smtp_scripts import EHLO, GREETING

from gatekeeper.ban import Scope
from gatekeeper.events import MailProtocol, RcptResult
from gatekeeper.policy.recipient_rules import HOPELESS
from gatekeeper.policy.recipients import PROBE_S, WINDOW_S
from gatekeeper.sessions import End
from gatekeeper.settings import PolicySettings, Settings
from gatekeeper.verdict import Reason

DENIED = "554 5.7.1 <{}>: Relay access denied"
UNKNOWN = "550 5.1.1 <{}>: no such user"
CLIENT = client(protocol=MailProtocol.SMTP)
HANG_UP = b"421 4.7.0 Service closing transmission channel"


def with_policy(**numbers: float) -> Settings:
    policy = PolicySettings(tarpit_base_s=0.0, tarpit_max_s=0.0, **numbers)  # type: ignore[arg-type]
    return replace(SETTINGS, policy=policy)


async def in_transaction(talk: Talk) -> None:
    await talk.play(GREETING + EHLO + passed("MAIL FROM:<a@b.example>"))


async def asks(talk: Talk, recipient: str, answer: str) -> bytes:
    """What the client hears of a recipient for whom the backend has `answer`."""
    command = f"RCPT TO:<{recipient}>\r\n".encode()
    await talk.client.send(command)
    await talk.backend.hear(command)
    await talk.backend.send(answer.format(recipient).encode() + b"\r\n")
    return (await talk.client.hear_line()).rstrip()


async def unheard(talk: Talk, recipient: str) -> bytes:
    """What the client hears of a recipient whom the guard does not pass on."""
    await talk.client.send(f"RCPT TO:<{recipient}>\r\n".encode())
    line = await talk.client.hear_line()
    await talk.backend.hear_nothing()
    return line.partition(b" (ref ")[0].rstrip()


def unknown(bench: Bench) -> int:
    source = bench.guard._place(CLIENT.entity).source
    return bench.guard.evidence.harvest.known(source, bench.now).unknown


@virtual_time
async def test_relaying_is_denied_in_the_backends_words_and_counted() -> None:
    async with talking() as (talk, bench):
        await in_transaction(talk)
        for number in range(1, 2 * HOPELESS):
            recipient = f"x@relay{number}.example"
            assert await asks(talk, recipient, DENIED) == DENIED.format(recipient).encode()
            assert unknown(bench) == pytest.approx(number, abs=2), "different ones, by estimate"
            if unknown(bench) >= HOPELESS:
                break
        assert (await talk.client.hear_line()).startswith(HANG_UP)
        assert await talk.rig.end() is End.REFUSED
    assert reasons(bench)[-1] is Reason.UNKNOWN_RECIPIENTS
    last = bench.guard.journal.of(lambda _: True)[-1]
    assert last.what == f"recipient: {RcptResult.RELAY_DENIED.value}"
    assert bench.bans() == []


@virtual_time
async def test_a_stale_mx_is_no_relay_attempt_for_long() -> None:
    """Denied as often as taken: the share of what was in vain stays below a half."""
    async with talking(settings=with_policy(harvest_defer=5, harvest_ban=10)) as (talk, bench):
        await in_transaction(talk)
        for number in range(30):
            await asks(talk, f"x@moved{number}.example", DENIED)
            await asks(talk, f"x{number}@d.example", "250 ok")
    assert bench.bans() == []
    assert set(reasons(bench)) <= {Reason.TARPIT}


@virtual_time
async def test_a_harvester_is_put_off_and_then_banned() -> None:
    async with talking(settings=with_policy(harvest_defer=6, harvest_ban=12)) as (talk, bench):
        await in_transaction(talk)
        await asks(talk, "ann@d.example", "250 ok")  # not hopeless
        for number in range(6):
            assert (await asks(talk, f"x{number}@d.example", UNKNOWN)).startswith(b"550 5.1.1 ")
        later = b"450 4.7.1 Recipient not accepted now, try again later"
        assert await unheard(talk, "x6@d.example") == later
        bench.now += PROBE_S
        assert (await asks(talk, "x7@d.example", UNKNOWN)).startswith(b"550 5.1.1 ")
        for _ in range(2):  # who repeats himself asks for nobody new
            assert await unheard(talk, "x6@d.example") == later
        assert [await unheard(talk, f"x{number}@d.example") for number in (8, 9, 10)] == [later] * 3
        assert unknown(bench) == 11
        assert await unheard(talk, "x11@d.example") == later
        assert await unheard(talk, "x12@d.example") == HANG_UP
        assert await talk.rig.end() is End.REFUSED
    [ban] = bench.bans()
    assert (ban.scope, ban.reason) == (Scope.MX, Reason.UNKNOWN_RECIPIENTS)


@virtual_time
async def test_an_address_has_so_many_recipients_a_day() -> None:
    async with talking(settings=with_policy(recipients_per_address_day=5)) as (talk, bench):
        await in_transaction(talk)
        for number in range(5):
            assert await asks(talk, f"x{number}@d.example", "250 ok") == b"250 ok"
        answer = b"450 4.7.1 Recipient not accepted now, try again later"
        assert await unheard(talk, "x5@d.example") == answer
        assert reasons(bench) == [Reason.RECIPIENT_RATE]
        bench.now += WINDOW_S / 5
        assert await asks(talk, "x5@d.example", "250 ok") == b"250 ok"
        assert await unheard(talk, "x6@d.example") == answer


@pytest.mark.parametrize("verb", ["VRFY", "EXPN"])
@virtual_time
async def test_other_ways_to_ask_for_a_recipient_count_as_well(verb: str) -> None:
    async with talking() as (talk, bench):
        await talk.play(GREETING + EHLO)
        await talk.play(f"""
            C> {verb} ann
            B< {verb} ann
            B> 550 5.1.1 no such user
            C< 550 5.1.1 no such user
        """)
        assert unknown(bench) == 1


def test_ten_thousand_a_day_where_nothing_is_written() -> None:
    assert PolicySettings().recipients_per_address_day == 10_000
