"""XCLIENT: telling an SMTP backend who the client is (Postfix XCLIENT_README; Dovecot submission).

LOGIN is never sent: it names an authenticated user without a password, so one mistake here would
be an open relay.
"""

from typing import Final

from gatekeeper.prefix import Prefix, pack_address

MAX_COMMAND_OCTETS: Final = 512  # RFC 5321 4.5.3.1.4, line end included; Postfix says the same

_VERB: Final = b"XCLIENT"
_CRLF: Final = b"\r\n"
_XTEXT_PLAIN: Final = frozenset(range(0x21, 0x7F)) - frozenset(b"+=")  # RFC 3461 4
_XTEXT: Final = tuple(
    bytes((octet,)) if octet in _XTEXT_PLAIN else b"+%02X" % octet for octet in range(256)
)


def xclient_commands(
    offered: frozenset[str],
    *,
    address: str,
    port: int,
    local_address: str,
    local_port: int,
    helo: str | None = None,
    proto: str | None = None,
) -> list[bytes]:
    """The XCLIENT lines that announce the client at `address`, to be sent one at a time.

    Args:
        offered: attribute names of the backend's `XCLIENT` keyword, in upper case; no others are
            sent. Where none of ours is offered the list is empty.
        address: the client's IP address, and `port` its port.
        local_address: where the client connected to, and `local_port` the port.
        helo: the client's EHLO argument; left out where no line would hold it.
        proto: `SMTP` or `ESMTP`.

    Each command is answered with 220 and a fresh greeting state (EHLO again). NAME and ADDR come
    last, because after ADDR the guard may no longer be authorised. Raises `ValueError` where an
    address is none.
    """
    values = {
        "PROTO": proto and _xtext(proto),
        "HELO": helo and _xtext(helo),
        "PORT": b"%d" % port,
        "DESTADDR": _address(local_address),
        "DESTPORT": b"%d" % local_port,
        "NAME": b"[UNAVAILABLE]",  # the guard looks no names up, and the backend's would be wrong
        "ADDR": _address(address),
    }
    return _lines(
        [f"{name}=".encode() + value for name, value in values.items() if value and name in offered]
    )


def _lines(attributes: list[bytes]) -> list[bytes]:
    """The attributes in as few commands as hold them, in order."""
    lines: list[bytes] = []
    line = _VERB
    for attribute in attributes:
        if len(_VERB) + 1 + len(attribute) + len(_CRLF) > MAX_COMMAND_OCTETS:
            continue
        if len(line) + 1 + len(attribute) + len(_CRLF) > MAX_COMMAND_OCTETS:
            lines.append(line + _CRLF)
            line = _VERB
        line += b" " + attribute
    return [*lines, line + _CRLF] if line != _VERB else lines


def _address(text: str) -> bytes:
    """An address as an attribute value: IPv6 with its prefix, IPv4-mapped as IPv4, no zone."""
    packed = pack_address(text.partition("%")[0])
    network = Prefix(packed, len(packed) * 8).network.encode("ascii")
    return network if len(packed) == 4 else b"IPV6:" + network


def _xtext(text: str) -> bytes:
    """`text` in the xtext encoding (RFC 3461 4)."""
    return b"".join([_XTEXT[octet] for octet in text.encode("utf-8", "surrogateescape")])
