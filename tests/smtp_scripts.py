"""What the tests of SMTP sessions have in common: the usual beginnings of a dialogue."""

from rig import Rig, Talk

from gatekeeper.events import Violation, ViolationKind

GREETING = """
    B> 220 mx.example ESMTP
    C< 220 mx.example ESMTP
"""
EHLO = """
    C> EHLO client.example
    B< EHLO client.example
    B> 250-mx.example Hello client.example
    B> 250-PIPELINING
    B> 250 CHUNKING
    C< 250-guard.example
    C< 250-PIPELINING
    C< 250 CHUNKING
"""
TRANSACTION = """
    C> MAIL FROM:<a@b.example>
    B< MAIL FROM:<a@b.example>
    B> 250 ok
    C< 250 ok
    C> RCPT TO:<c@d.example>
    B< RCPT TO:<c@d.example>
    B> 250 ok
    C< 250 ok
"""
DATA = """
    C> DATA
    B< DATA
    B> 354 go on
    C< 354 go on
"""


GONE = """
    C< 421 4.3.2 Service not available, try again later
    C.
"""


async def greeted(rig: Rig) -> Talk:
    talk = await rig.connect()
    await talk.play(GREETING + EHLO)
    return talk


async def in_data(rig: Rig) -> Talk:
    talk = await greeted(rig)
    await talk.play(TRANSACTION + DATA)
    return talk


def violations(talk: Talk) -> list[ViolationKind]:
    return [event.kind for event in talk.judge.heard(Violation)]
