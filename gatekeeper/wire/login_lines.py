"""Good logins in the logs of Dovecot and Postfix: who, from which address, when.

Theory of operation. A log is half written by strangers: names are theirs, and a line with a failed
login, or one of another program, may hold the text of a good one. So nothing is searched for. A
line is read from its start, `stamp [host tag:] service: Login: user=<`, and it counts only where
each part is where the server puts it.

The name may hold anything its server lets it, also `>, method=PLAIN, rip=…`. Dovecot ends it with
`>, method=` itself, so a line with two of these holds one of somebody's making and is not read.
Whoever has such a name is not made familiar, and nobody else is in his place.

Dovecot cuts a name after 80 characters and puts `?` for what it will not print; such a name is not
the account's and is not read either. Time is linear in the octets of a line.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gatekeeper.prefix import pack_address
from gatekeeper.wire.log_stamps import Stamp, read_stamp

MAX_LINE_OCTETS: Final = 64 * 1024  # far above any login's; syslog daemons end lines at 8 KiB
_MAX_NAME_OCTETS: Final = 1024  # as much as a login may have

_HOST: Final = rb"(?:[\w.:-]{1,255} )?"
_DOVECOT: Final = re.compile(
    rb"(?:" + _HOST + rb"dovecot[\w.-]{0,64}(?:\[\d{1,10}\])?: )?"
    rb"(?:imap|pop3|submission|managesieve)-login: (?:Info: )?(?:Login|Logged in): user=<"
)
_DOVECOT_HINT: Final = b"-login: "
_NAME_END: Final = b">, method="
_DOVECOT_TAIL: Final = re.compile(rb">, method=[\w-]{1,40}, rip=([0-9A-Fa-f:.]{2,45})(?:, |$)")
_POSTFIX: Final = re.compile(
    _HOST + rb"postfix[\w.-]{0,64}(?:/[\w.-]{1,64}){0,3}/smtpd(?:\[\d{1,10}\])?: "
    rb"[0-9A-Za-z]{4,32}: client=[\w.-]{1,255}\[([0-9A-Fa-f:.]{2,45})\](?::\d{1,5})?, "
    rb"sasl_method=[\w-]{1,40}, sasl_username="
)
_POSTFIX_HINT: Final = b", sasl_username="
_CUT: Final = "..."


class Skipped(Enum):
    """A line that gives no login."""

    OTHER = "other"  # it tells of something else
    UNREADABLE = "unreadable"  # it tells of a login, but not surely whose or from where


@dataclass(frozen=True, slots=True)
class Login:
    """`authcid`, as the server calls it, has logged in from `address`."""

    authcid: str
    address: str
    stamp: Stamp


def read_login(line: bytes) -> Login | Skipped:
    """The login that `line` tells of; its end of line does not matter."""
    if _DOVECOT_HINT not in line and _POSTFIX_HINT not in line:
        return Skipped.OTHER
    stamped = read_stamp(line)
    if stamped is None:
        return Skipped.OTHER
    stamp, start = stamped
    line = line.rstrip(b"\r\n")
    if (head := _DOVECOT.match(line, start)) is not None:
        name, address = _dovecot(line, head.end())
    elif (head := _POSTFIX.match(line, start)) is not None:
        name, address = line[head.end() :], head[1]
        if b"," in name:  # more fields, which are the client's words in part
            return Skipped.UNREADABLE
    else:
        return Skipped.OTHER
    authcid = _name(name)
    if len(line) > MAX_LINE_OCTETS or not authcid or not _is_address(address):
        return Skipped.UNREADABLE
    return Login(authcid, address.decode("ascii"), stamp)


def _dovecot(line: bytes, start: int) -> tuple[bytes, bytes]:
    """Name and address of a line whose name begins at `start`; empty where they are not sure."""
    end = line.find(_NAME_END, start)
    if end < 0 or line.find(_NAME_END, end + 1) >= 0:
        return b"", b""
    tail = _DOVECOT_TAIL.match(line, end)
    return (line[start:end], tail[1]) if tail is not None else (b"", b"")


def _name(octets: bytes) -> str:
    """A name; empty where these octets are surely not all of it."""
    if len(octets) > _MAX_NAME_OCTETS or b"?" in octets:
        return ""
    try:
        name = octets.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return "" if name.endswith(_CUT) or not name.isprintable() else name


def _is_address(octets: bytes) -> bool:
    try:
        pack_address(octets.decode("ascii"))
    except ValueError:
        return False
    return True
