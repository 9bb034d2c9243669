"""The ClientHello, looked at before OpenSSL sees it: server name, ALPN, and what is not TLS."""

from typing import Final

from gatekeeper.channel import Channel, deadline_in
from gatekeeper.errors import PeerClosed
from gatekeeper.events import Violation, ViolationKind
from gatekeeper.session.dialogue import Dialogue
from gatekeeper.wire.client_hello import (
    ALERT_DECODE_ERROR,
    ALERT_HANDSHAKE_FAILURE,
    ALERT_NO_APPLICATION_PROTOCOL,
    ClientHello,
    NotTls,
    alert,
    alpn_acceptable,
    read_client_hello,
)
from gatekeeper.wire.need_more import NeedMore

FIRST_OCTETS: Final = 5  # one record header tells how much more there will be

_DECODE_ERROR: Final = alert(ALERT_DECODE_ERROR)
_ALPN_MISMATCH: Final = Violation(
    ViolationKind.ALPN_MISMATCH, alert(ALERT_NO_APPLICATION_PROTOCOL), fatal=True
)
_FINITE_FIELD: Final = Violation(
    ViolationKind.TLS_GARBAGE, alert(ALERT_HANDSHAKE_FAILURE), fatal=True
)


async def read_hello(channel: Channel, alpn: bytes, within_s: float) -> ClientHello | Violation:
    """Peek at a ClientHello, left in the kernel for OpenSSL; a Violation's reply is the alert.

    Raises `ChannelError`.
    """
    deadline = deadline_in(within_s)
    wanted = FIRST_OCTETS
    while True:
        octets = await channel.peek(wanted, deadline)
        hello = read_client_hello(octets)
        match hello:
            case NeedMore(wanted_octets=more):
                if len(octets) < wanted:
                    raise PeerClosed("the client left before its ClientHello was whole")
                wanted = more
            case NotTls(kind=kind):
                reply = _DECODE_ERROR if kind is ViolationKind.TLS_GARBAGE else b""
                return Violation(kind, reply, fatal=True)
            case ClientHello(finite_field=True):
                return _FINITE_FIELD
            case ClientHello():
                return hello if alpn_acceptable(hello, alpn) else _ALPN_MISMATCH


async def send_alert(dialogue: Dialogue, violation: Violation) -> None:
    """Score a refused ClientHello and answer it."""
    await dialogue.judge(violation)
    if violation.reply:
        await dialogue.to_client(violation.reply)
