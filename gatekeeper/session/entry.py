"""A connection's way from accept to its dialogue: PROXY header, first verdict, TLS."""

import contextlib
import socket
from typing import Final

from gatekeeper.channel import Channel, deadline_in
from gatekeeper.errors import ChannelError, DeadlineExceeded, PeerBroken, PeerClosed
from gatekeeper.events import Client, ConnectionOpened, MailProtocol, Violation
from gatekeeper.prefix import Prefix, canonical, entity
from gatekeeper.readiness import Waiter
from gatekeeper.session import imap, smtp
from gatekeeper.session.before_greeting import before_greeting
from gatekeeper.session.dialogue import Dialogue, Service
from gatekeeper.session.handshake import read_hello, send_alert
from gatekeeper.sessions import End, Phase, Session, SessionTable
from gatekeeper.settings import TlsMode
from gatekeeper.verdict import Action, Reason, Verdict
from gatekeeper.wire.need_more import NeedMore
from gatekeeper.wire.proxy_header import ProxyHeader, read_proxy_header
from gatekeeper.wire.smtp_replies import format_reply

PROXY_HEADER_S: Final = 5.0  # a balancer sends its header at once
LINGER_S: Final = 2.0  # for a refused client to read why
_PROXY_FIRST_OCTETS: Final = 8  # the shortest that tells v1 from v2

# Instead of a greeting (RFC 5321 3.1). It tells no rule and no list, as all refusals.
_NOT_WELCOME: Final = format_reply(554, "5.7.1", "Mail from your address is not accepted")

# Two that a decent sender can mend tell what is wrong: the address's name (RFC 7372 3.3), and that
# the client does not wait.
_REFUSALS: Final = {
    Reason.REVERSE_DNS: format_reply(554, "5.7.25", "Your address lacks a name that leads back"),
    Reason.EARLY_TALKER: smtp.EARLY.reply,
}

Address = tuple[str, int]

# Ends at which the client may still be sending: closing at once could reset away the last reply.
_WITH_LAST_WORDS: Final = frozenset({End.VIOLATION, End.REFUSED, End.UNAVAILABLE, End.TLS})


async def hold(service: Service, table: SessionTable, sock: socket.socket, peer: Address) -> None:
    """Hold an accepted connection until it ends or the relay has it.

    Owns `sock`. Never raises but on cancellation, which closes both legs at once: an unexpected
    exception ends this one session and is reported to the table.
    """
    waiter = Waiter(service.readiness)
    try:
        try:
            channel = Channel(sock, service.readiness, waiter)
        except OSError:  # the epoll takes no more (epoll_ctl(2): ENOSPC, ENOMEM)
            sock.close()
            return
        client = await _client(service, channel, peer)
        if client is not None and _admits(service, table, client):
            await _hold_session(service, table, client, channel, waiter)
        else:
            channel.abort()
    finally:
        waiter.close()


async def _client(service: Service, channel: Channel, peer: Address) -> Client | None:
    """Who the client is; None where that cannot be told."""
    try:
        return await _identify(service, channel, peer)
    except (ChannelError, OSError):
        return None
    except BaseException:
        channel.abort()
        raise


async def _hold_session(
    service: Service, table: SessionTable, client: Client, channel: Channel, waiter: Waiter
) -> None:
    session = Session(client)
    table.add(session)
    dialogue = _dialogue(service, session, channel, waiter)
    try:
        await _converse(table, dialogue)
    except Exception as error:  # a fault of ours costs this client its session, and no other
        table.fault(session, error)
        if session.link is not None:
            session.link.abort()
    finally:
        if session.link is None:
            _let_go(session, dialogue)
            table.remove(session)


def _dialogue(
    service: Service, session: Session, channel: Channel, waiter: Waiter
) -> smtp.SmtpDialogue | imap.ImapDialogue:
    if session.client.protocol is MailProtocol.IMAP:
        return imap.ImapDialogue(service, session, channel, waiter)
    return smtp.SmtpDialogue(service, session, channel, waiter)


async def _converse(table: SessionTable, dialogue: smtp.SmtpDialogue | imap.ImapDialogue) -> None:
    """Run the dialogue under the session's own cancel scope and note how it ended."""
    session = dialogue.session
    scope = session.cancel_scope
    assert scope is not None, "a new session has its scope"
    end: End | None = None
    with scope:
        try:
            end = await _begin(table, dialogue)
            if end is None:
                table.established(session)
                end = await dialogue.run()
            if end in _WITH_LAST_WORDS:
                await dialogue.client.linger(deadline_in(LINGER_S))
        except PeerClosed:
            end = End.CLIENT
        except DeadlineExceeded:
            end = End.TIMEOUT
        except PeerBroken:
            end = End.BROKEN if dialogue.client.tls is None or session.tls_version else End.TLS
    if session.end is None and session.link is None:
        session.end = end


async def _begin(
    table: SessionTable, dialogue: smtp.SmtpDialogue | imap.ImapDialogue
) -> End | None:
    """The first verdicts, and implicit TLS."""
    session, listener = dialogue.session, dialogue.service.listener
    if listener.protocol is not MailProtocol.SMTP:
        verdict = await dialogue.judge(ConnectionOpened())
    else:
        if listener.tls is not TlsMode.IMPLICIT:
            table.greeting(session)
        verdict = await before_greeting(dialogue, *table.crowd_of(session.client.entity))
    if listener.tls is TlsMode.IMPLICIT:
        if verdict.action > Action.DELAY:
            return End.REFUSED
        alpn = imap.ALPN if listener.protocol is MailProtocol.IMAP else smtp.ALPN
        hello = await read_hello(dialogue.client, alpn, dialogue.limits.handshake_timeout_s)
        if isinstance(hello, Violation):
            await send_alert(dialogue, hello)
            return End.TLS
        await dialogue.client_tls(hello)
        dialogue.secured()
    elif verdict.action > Action.DELAY:
        return await _turn_away(dialogue, verdict)
    return None


async def _turn_away(dialogue: Dialogue, verdict: Verdict) -> End:
    """End a session that was not greeted yet: for good, or for now."""
    if verdict.action is Action.REJECT and dialogue.session.client.protocol is MailProtocol.SMTP:
        await dialogue.refuse(_REFUSALS.get(verdict.reason, _NOT_WELCOME))
        return End.REFUSED
    return await dialogue.hang_up()


def _let_go(session: Session, dialogue: Dialogue) -> None:
    """Close both legs: in order after a conversation, at once when ended by a ban."""
    session.end = session.end or End.SHUTDOWN
    dialogue.close_backend()
    if session.end in {End.BANNED, End.KICKED, End.FAULT}:
        dialogue.client.abort()
        return
    if session.end is End.SHUTDOWN and session.phase in {Phase.GREETING, Phase.DIALOGUE}:
        with contextlib.suppress(PeerBroken):  # a courtesy: nothing is waited for any more
            dialogue.client.send_nowait(dialogue.last_words.closing)
    dialogue.client.close()


async def _identify(service: Service, channel: Channel, peer: Address) -> Client | None:
    """Who the client is: the socket's peer, or whom a listed balancer's header names.

    None for a refused header. Raises `ChannelError` or `OSError`.
    """
    local = channel.sock.getsockname()[:2]
    trusted = service.listener.proxy_protocol_from
    if trusted:
        source = Prefix.parse(peer[0].partition("%")[0])
        if any(prefix.covers(source) for prefix in trusted):
            header = await _read_proxy(channel)
            if header is None:
                return None
            if header.source is not None and header.destination is not None:
                peer = (header.source, header.source_port)
                local = (header.destination, header.destination_port)
    address = canonical(peer[0].partition("%")[0])
    return Client(
        address=address,
        port=peer[1],
        local_address=canonical(local[0].partition("%")[0]),
        local_port=local[1],
        entity=entity(address),
        listener=service.listener.name,
        protocol=service.listener.protocol,
    )


async def _read_proxy(channel: Channel) -> ProxyHeader | None:
    deadline = deadline_in(PROXY_HEADER_S)
    wanted = _PROXY_FIRST_OCTETS
    while True:
        octets = await channel.peek(wanted, deadline)
        header = read_proxy_header(octets)
        match header:
            case ProxyHeader():
                channel.receive_nowait(header.size_octets)  # peeked at, so it is all there
                return header
            case NeedMore(wanted_octets=more):
                if len(octets) < wanted:
                    return None
                wanted = more
            case Violation():
                return None


def _admits(service: Service, table: SessionTable, client: Client) -> bool:
    """Whether there is room for one more of this client."""
    limits = service.settings.limits
    if table.count_of(client.entity) >= limits.sessions_per_address:
        return False
    if len(table) >= limits.sessions and not table.drop_oldest_stranger():
        return False
    if table.handshaking >= limits.handshakes:
        table.drop_oldest_handshake()
    return True
