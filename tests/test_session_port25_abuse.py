"""Who breaks the protocol of port 25 as no mail server does, and goes on, is banned from it."""

from envelope_rig import SETTINGS, reasons, talking
from rig import virtual_time
from smtp_scripts import EHLO, GREETING

from gatekeeper.ban import Scope
from gatekeeper.sessions import End
from gatekeeper.verdict import Reason

# Other mail servers never log in; password guessers try it everywhere.
LOGIN = """
    C> AUTH LOGIN
    C< 503 5.5.1 Authentication not enabled
"""
NEEDED = round(SETTINGS.policy.mx_ban_score / SETTINGS.policy.hostile_violation_weight)


@virtual_time
async def test_logins_on_port_25_ban_from_port_25_alone() -> None:
    async with talking() as (talk, bench):
        await talk.play(GREETING + EHLO + LOGIN * (NEEDED - 1))
        assert bench.bans() == []
        await talk.play(LOGIN)
        assert (await talk.client.hear_line()).startswith(b"421 4.7.0 Service closing")
        assert await talk.rig.end() is End.REFUSED
    [ban] = bench.bans()
    assert (str(ban.prefix), ban.scope) == ("203.0.113.9", Scope.MX)
    assert ban.reason is Reason.PROTOCOL_ABUSE
    assert reasons(bench)[-1] is Reason.PROTOCOL_ABUSE


@virtual_time
async def test_a_slip_of_a_mail_server_is_answered_and_no_more() -> None:
    async with talking() as (talk, bench):
        await talk.play(
            GREETING
            + EHLO
            + """
            C> STARTTLS now
            C< 501 5.5.4 Bad argument
            C> XCLIENT ADDR=127.0.0.1
            C< 502 5.5.1 Not implemented
            C> RSET
            B< RSET
            B> 250 ok
            C< 250 ok
            """
        )
        await talk.backend.hear_nothing()
    assert bench.bans() == []
