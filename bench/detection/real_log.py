"""The lines that Dovecot 2.3 and Postfix 3.7 of Debian 12 write to mail.log about an event.

Theory of operation: the shapes were taken from those two programs, run with Debian's settings
(`auth_verbose` off) and asked over TLS; the time stamp is rsyslog's there. One event is one
connection with one attempt. What is not in an event is fixed: the client's name has no DNS entry,
it speaks PLAIN, and it says goodbye, unless it is rude.

Dovecot's line about a wrong password is written at the end of the connection, Postfix's at once;
here both have the time of the event. When Dovecot cannot ask its own backend, its line is another
one, but Postfix's is the same as for a wrong password.
"""

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Final

from bench.detection.seam import Event

START: Final = datetime(2026, 3, 2, tzinfo=UTC)  # what second 0 of a world is in a log
FAILED: Final = frozenset({"fail", "unavailable"})

_SERVER: Final = "192.0.2.1"
_HOST: Final = "mx"
_PID: Final = 15096
_NAME_OCTETS_MAX: Final = 200  # of an account or a recipient in a line


def lines(event: Event, outcome: str | None, *, rude: bool = False) -> tuple[str, ...]:
    """What is logged about `event`, without line ends. `outcome` is the backend's word: `ok`,
    `fail`, `unavailable`, None where nothing was asked. A rude client hangs up."""
    match event["kind"]:
        case "auth" if event["protocol"] == "imap":
            said = _dovecot(event, outcome, rude)
        case "auth":
            said = _smtpd("postfix/submission/smtpd", event, _sasl(event, outcome), rude)
        case "rcpt" if event["account"] is None:
            said = _smtpd("postfix/smtpd", event, _rcpt(event, outcome), rude)
        case "rcpt":
            said = _smtpd("postfix/submission/smtpd", event, _rcpt(event, outcome), rude)
        case "connect":
            said = _smtpd("postfix/smtpd", event, _Said("CONNECT", (), "", 0, 0), rude)
        case _:
            said = ()
    return tuple(f"{stamp(event['t'])} {_HOST} {line}" for line in said)


def stamp(t: float) -> str:
    """RFC 3339 with microseconds, rsyslog's default since Debian 12."""
    return (START + timedelta(seconds=t)).isoformat(timespec="microseconds")


@dataclass(frozen=True, slots=True)
class _Said:
    """What an smtpd logs between connect and disconnect, and what it counts before QUIT: each
    command, those that went well, and all."""

    last_command: str
    between: tuple[str, ...]
    counts: str
    well: int
    all: int

    def commands(self, quits: int) -> str:
        """The sum at the end of the line."""
        well, given = self.well + quits, self.all + quits
        return f"commands={well}" if well == given > 0 else f"commands={well}/{given}"


def _dovecot(event: Event, outcome: str | None, rude: bool) -> tuple[str, ...]:
    user, session = _printable(event["account"]), _session(event)
    ends = f"rip={ip_address(event['ip'])}, lip={_SERVER}"
    if outcome == "ok":
        return (
            f"dovecot: imap-login: Login: user=<{user}>, method=PLAIN, {ends},"
            f" mpid={_PID}, TLS, session=<{session}>",
            f"dovecot: imap({user})<{_PID}><{session}>: Disconnected: Logged out in=8 out=468"
            " deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 body_bytes=0",
        )
    goodbye = "Connection closed" if rude else "Aborted login by logging out"
    why = (
        "auth failed, 1 attempts in 2 secs"
        if outcome == "fail"
        else "auth service reported temporary failure"
    )
    tls = "TLS: Connection closed" if rude else "TLS"
    return (
        f"dovecot: imap-login: Disconnected: {goodbye} ({why}): user=<{user}>, method=PLAIN,"
        f" {ends}, {tls}, session=<{session}>",
    )


def _smtpd(program: str, event: Event, said: _Said, rude: bool) -> tuple[str, ...]:
    client, tag = f"unknown[{ip_address(event['ip'])}]", f"{program}[{_PID}]:"
    ended = f"{tag} disconnect from {client} {said.counts}"
    last: tuple[str, ...]
    if rude:
        last = (
            f"{tag} lost connection after {said.last_command} from {client}",
            f"{ended}{said.commands(0)}",
        )
    else:
        last = (f"{ended}quit=1 {said.commands(1)}",)
    return (
        f"{tag} connect from {client}",
        *(f"{tag} {line.format(client=client)}" for line in said.between),
        *last,
    )


def _sasl(event: Event, outcome: str | None) -> _Said:
    user = _printable(event["account"])
    if outcome in FAILED:
        line = (
            "warning: {client}: SASL PLAIN authentication failed: (reason unavailable),"
            f" sasl_username={user}"
        )
        return _Said("AUTH", (line,), "ehlo=2 starttls=1 auth=0/1 ", 3, 4)
    line = f"{_queue_id(event)}: client={{client}}, sasl_method=PLAIN, sasl_username={user}"
    return _Said("RSET", (line,), "ehlo=2 starttls=1 auth=1 mail=1 rcpt=1 rset=1 ", 7, 7)


def _rcpt(event: Event, outcome: str | None) -> _Said:
    recipient = _printable(event["recipient"])
    if outcome == "fail":
        sender = _printable(event["account"] or "news@sender.example")
        line = (
            f"NOQUEUE: reject: RCPT from {{client}}: 550 5.1.1 <{recipient}>: Recipient address"
            f" rejected: User unknown in virtual mailbox table; from=<{sender}> to=<{recipient}>"
            " proto=ESMTP helo=<client.example>"
        )
        return _Said("RCPT", (line,), "ehlo=1 mail=1 rcpt=0/1 ", 2, 3)
    line = f"{_queue_id(event)}: client={{client}}"
    return _Said("DATA", (line,), "ehlo=1 mail=1 rcpt=1 data=1 ", 4, 4)


def _printable(name: str) -> str:
    """No world may put a line of its own into a log, as no client can."""
    shown = "".join(
        letter if "!" <= letter <= "~" and letter not in "<>{}" else "?" for letter in name
    )
    return shown[:_NAME_OCTETS_MAX]


def _session(event: Event) -> str:
    text = f"{event['t']} {event['ip']} {event['account']}".encode()
    return base64.b64encode(hashlib.blake2b(text, digest_size=12).digest()).decode()


def _queue_id(event: Event) -> str:
    return (
        hashlib.blake2b(f"{event['t']} {event['ip']}".encode(), digest_size=5).hexdigest().upper()
    )
