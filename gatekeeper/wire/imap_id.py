"""IMAP ID (RFC 2971): the guard's own, which the backend trusts, and the client's, not trusted.

Dovecot takes the client's address from the first ID of a connection that comes out of
`login_trusted_networks`. The guard's address is in there, so the guard sends its ID first, and what
a client sends under those names is taken out: a Dovecot that missed the first would believe the
second.
"""

from typing import Final

from gatekeeper.wire.imap_syntax import read_string

MAX_SESSION_ID_OCTETS: Final = 64  # Dovecot's x-session-id

# Names by which login services believe a trusted host (Dovecot src/login-common, imap-login).
ORIGINATING_PREFIXES: Final = (
    b"x-originating-",
    b"x-connected-",
    b"x-session-",
    b"x-proxy-",
    b"x-client-",
    b"x-forward-",
    b"x-multiplex",
)
_NIL: Final = b"NIL"
_LIST_END: Final = b")\r\n"


def trusted_id(
    tag: bytes,
    *,
    address: str,
    port: int,
    local_address: str,
    local_port: int,
    session_id: str,
    tls: bool,
) -> bytes:
    """The guard's ID command, CRLF included: who the client is, where it connected to, and
    whether by TLS. `session_id` holds no quotes or backslashes; it is cut at 64 octets."""
    pairs = {
        "x-originating-ip": address,
        "x-originating-port": str(port),
        "x-connected-ip": local_address,
        "x-connected-port": str(local_port),
        "x-session-id": session_id[:MAX_SESSION_ID_OCTETS],
        "x-client-transport": "TLS" if tls else "insecure",
    }
    words = " ".join(f'"{name}" "{value}"' for name, value in pairs.items())
    return tag + b" ID (" + words.encode("ascii") + b")\r\n"


def strip_originating(raw: bytes) -> bytes:
    """A client's complete ID command without the names only a trusted host may use.

    Everything else stays, octet by octet; a list that is left empty becomes NIL, and so does what
    is no `"(" *(string SP nstring) ")"`.
    """
    arguments_at = raw.index(b" ", raw.index(b" ") + 1) + 1
    head, arguments = raw[:arguments_at], raw[arguments_at:]
    if arguments.upper() == b"NIL\r\n":
        return raw
    pairs = _read_pairs(arguments)
    if pairs is None:
        return head + b"NIL\r\n"
    kept = [octets for name, octets in pairs if not _originating(name)]
    if not kept:
        return head + b"NIL\r\n"
    return raw if len(kept) == len(pairs) else head + b"(" + b" ".join(kept) + b")\r\n"


def _originating(name: bytes) -> bool:
    return name.strip().lower().startswith(ORIGINATING_PREFIXES)


def _read_pairs(arguments: bytes) -> list[tuple[bytes, bytes]] | None:
    """The parameter list's names, each with the octets of its pair; None where it is malformed."""
    if not arguments.startswith(b"("):
        return None
    pairs: list[tuple[bytes, bytes]] = []
    at = 1
    end_at = len(arguments) - len(_LIST_END)
    while at != end_at or not arguments.endswith(_LIST_END):
        if pairs:
            if arguments[at : at + 1] != b" ":
                return None
            at += 1
        name = read_string(arguments, at)
        if name is None or arguments[name.end : name.end + 1] != b" ":
            return None
        end = _nstring_end(arguments, name.end + 1)
        if end is None:
            return None
        pairs.append((name.value, arguments[at:end]))
        at = end
    return pairs


def _nstring_end(arguments: bytes, at: int) -> int | None:
    if arguments[at : at + 3].upper() == _NIL:
        return at + 3
    value = read_string(arguments, at)
    return None if value is None else value.end
