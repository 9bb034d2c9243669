"""What to change in which server so that it believes the guard and trusts no stranger.

The server is told by what it says. Where it says nothing, the settings of all are named.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final, assert_never

from gatekeeper.events import MailProtocol
from gatekeeper.settings import Announce


class Server(Enum):
    """Whose settings are named."""

    POSTFIX = "Postfix"
    EXIM = "Exim"
    DOVECOT = "Dovecot"


# By their names, as they greet, and else by replies that most operators leave as they are.
_NAMES: Final = {server: (server.value.lower().encode("ascii"),) for server in Server}
_HABITS: Final = {
    Server.POSTFIX: (b"relay access denied", b"2.1.5 ok", b"2.1.0 ok"),
    Server.EXIM: (b"relay not permitted", b"250 accepted", b"pipeconnect"),
}


def which(said: Iterable[bytes]) -> Server | None:
    """The server that says this; None where it cannot be told."""
    text = b"\n".join(said).lower()
    for tell_tales in (_NAMES, _HABITS):
        for server, words in tell_tales.items():
            if any(word in text for word in words):
                return server
    return None


def mend_relaying(
    server: Server | None, announce: Announce, protocol: MailProtocol, guard: str
) -> str:
    """How an open relay is closed; the server sees the guard at the address `guard`."""
    known = [server] if server is not None else [Server.POSTFIX, Server.EXIM]
    return "; ".join(_mend_relaying(each, announce, protocol, guard) for each in known)


def _mend_relaying(server: Server, announce: Announce, protocol: MailProtocol, guard: str) -> str:
    trusting = announce is Announce.NONE
    match server:
        case Server.POSTFIX if trusting:
            return (
                f"Postfix: announce clients (xclient with smtpd_authorized_xclient_hosts = {guard},"
                " or proxy-v2 to a port of its own with smtpd_upstream_proxy_protocol = haproxy),"
                f" or take {guard} out of mynetworks"
            )
        case Server.POSTFIX:
            return (
                "Postfix: mynetworks must hold no strangers, and smtpd_relay_restrictions has to"
                " end in reject_unauth_destination (postconf mynetworks smtpd_relay_restrictions)"
            )
        case Server.EXIM if trusting:
            return (
                f"Exim: announce clients (proxy-v2 with hosts_proxy = {guard}), or take {guard} out"
                " of the hostlist relay_from_hosts"
            )
        case Server.EXIM:
            return (
                "Exim: the hostlist relay_from_hosts must hold no strangers, and acl_smtp_rcpt"
                " accept foreign domains of it and of authenticated clients alone"
            )
        case Server.DOVECOT if protocol is MailProtocol.SMTP:
            return "Dovecot's submission service is for logged-in clients, not for port 25"
        case Server.DOVECOT:
            return "Dovecot: does its submission service ask for a login, and nobody before it?"
        case _:
            assert_never(server)


def mend_announcing(server: Server | None, announce: Announce, guard: str) -> str:
    """What has to be set so that the server believes what the guard at `guard` announces; empty
    where there is nothing to be said."""
    by_server = _SETTINGS[announce]
    chosen = [server] if server in by_server else list(by_server)
    return "; ".join(f"{each.value}: {by_server[each].format(guard=guard)}" for each in chosen)


_PROXY: Final = {
    Server.POSTFIX: "smtpd_upstream_proxy_protocol = haproxy on a port of its own in master.cf",
    Server.EXIM: "hosts_proxy = {guard}",
    Server.DOVECOT: (
        "haproxy = yes in an inet_listener of its own and haproxy_trusted_networks = {guard}"
    ),
}
_SETTINGS: Final[dict[Announce, dict[Server, str]]] = {
    Announce.PROXY_V1: _PROXY,
    Announce.PROXY_V2: _PROXY,
    Announce.XCLIENT: {
        Server.POSTFIX: "smtpd_authorized_xclient_hosts = {guard}",
        Server.DOVECOT: "login_trusted_networks = {guard}",
    },
    Announce.IMAP_ID: {Server.DOVECOT: "login_trusted_networks = {guard}"},
    Announce.TRANSPARENT: {},
    Announce.NONE: {},
}
