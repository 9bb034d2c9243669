"""Sessions with the real Guard and Ledger: the guess that bans, and what becomes of the others."""

from base64 import b64encode
from pathlib import Path

import trio
from rig import Rig, Talk, guard, virtual_time

from gatekeeper.abc import BanChange
from gatekeeper.ban import Ban, Scope
from gatekeeper.guard import Guard
from gatekeeper.ledger import Ledger
from gatekeeper.policy.logins import PACE
from gatekeeper.prefix import Prefix
from gatekeeper.sessions import End
from gatekeeper.settings import PolicySettings, Settings, TlsMode, TlsSettings
from gatekeeper.wire.proxy_header import encode_v2

# Bans are for who guesses fast: of a list of accounts, the first guess beyond `PACE` reaches this.
POLICY = PolicySettings(auth_ban_score=20.0, tarpit_max_s=0.0, auth_suspect_share=1.0)
SETTINGS = Settings("guard.example", TlsSettings(), (), {}, policy=POLICY, state_dir=Path("."))
GUESSER = "192.0.2.1"
BYSTANDER = "192.0.2.2"


async def secured(rig: Rig, address: str) -> Talk:
    """A client at `address`, as its balancer tells, that is ready to log in."""
    talk = await rig.connect()
    await talk.client.send(encode_v2(address, 1000, "198.51.100.1", 465))
    await talk.client.start_tls_client()
    await talk.play("B> 220 mx.example ESMTP\nC< 220 mx.example ESMTP")
    return talk


async def guess(talk: Talk, number: int) -> None:
    """A wrong password, one account each, that goes to the backend and comes back as wrong."""
    response = b64encode(b"\0ann%d\0guess %d" % (number, number)).decode()
    await talk.play(f"C> AUTH PLAIN {response}\nB< AUTH PLAIN {response}")
    await talk.play("B> 535 5.7.8 no\nC< 535 5.7.8 no")


@virtual_time
async def test_the_guess_that_bans_hears_its_refusal_and_the_clients_other_sessions_end() -> None:
    ledger = Ledger(POLICY, (), trio.current_time)
    judge = Guard(
        SETTINGS,
        ledger,
        clock=trio.current_time,
        account_secret=b"a",
        password_secret=b"p" * 16,
    )
    async with guard(judge=judge, tls=TlsMode.IMPLICIT, proxy_protocol_from=("127.0.0.1",)) as rig:

        def end_banned(change: BanChange) -> None:
            if isinstance(change, Ban):
                rig.table.end_banned(change)

        ledger.subscribe(end_banned)
        guessing = await secured(rig, GUESSER)
        second = await secured(rig, GUESSER)
        bystander = await secured(rig, BYSTANDER)
        for number in range(PACE.burst):
            earlier = await secured(rig, GUESSER)
            await guess(earlier, number)
            earlier.client.close()
        await guess(guessing, PACE.burst)
        await guessing.play("C< 421 4.7.0 Service closing transmission channel (ref *****)\nC.\nB.")
        await second.client.hear_reset()
        assert ledger.find(Prefix.parse(GUESSER), Scope.AUTH) is not None
        await bystander.play("C> NOOP\nB< NOOP\nB> 250 ok\nC< 250 ok")
        guessing.client.close()
        bystander.client.close()
        await rig.end()
        assert rig.ended[PACE.burst].end is End.BANNED
        assert {session.end for session in rig.ended} == {End.BANNED, End.REFUSED, End.CLIENT}
