"""SASL credentials read from the middle of an exchange (RFC 4954, RFC 4959).

Theory of operation: a `SaslExchange` sees what the client says, decoded from base64, and never the
server's challenges. Every mechanism offered has the credential in the client's first response,
LOGIN in its first two; what may follow is fixed by the mechanism, and anything else is refused, so
that no octet reaches the backend that two parsers could read as a second credential. Repeated
keys, octets after a NUL and unknown escapes are refused for the same reason.
"""

import unicodedata
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, assert_never

from gatekeeper.events import AuthAttempt, Violation, ViolationKind
from gatekeeper.secret import Secret

MAX_RESPONSE_OCTETS: Final = 12_288  # RFC 4954 4: sufficient for every known mechanism
MAX_PART_OCTETS: Final = 1_024  # RFC 4616 says 255 octets; real backends take more
MAX_AUTHCID_CHARACTERS: Final = 1_024  # NFKC is quadratic in a run of combining marks

# The backend says "wrong" in a challenge (334, `+`) with an error document and only then refuses
# (RFC 7628 3.2.3). A client may hang up in between, so the challenge is the verdict.
FAIL_IN_CHALLENGE: Final = frozenset({"XOAUTH2", "OAUTHBEARER"})

MALFORMED: Final = Violation(ViolationKind.BAD_SASL, b"")

_KVSEP: Final = b"\x01"  # RFC 7628 3.1
_BEARER: Final = b"bearer "
_ESCAPES: Final = {b"2C": b",", b"3D": b"="}  # RFC 5802 5.1


def supported(mechanism: str) -> bool:
    """Whether an exchange of `mechanism` can be read; the name's case does not matter."""
    return mechanism.upper() in _CLOSING


class SaslExchange:
    """One AUTH or AUTHENTICATE exchange, seen from the client's side.

    Raises `ValueError` for a mechanism that is not `supported`: the caller asks first.
    """

    __slots__ = ("_closing", "_mechanism", "_stage", "_userid")

    def __init__(self, mechanism: str) -> None:
        self._mechanism = mechanism.upper()
        if self._mechanism not in _CLOSING:
            raise ValueError(f"not a supported mechanism: {mechanism!r}")
        self._closing = _CLOSING[self._mechanism]
        self._stage = _Stage.CREDENTIAL
        self._userid = b""

    def step(self, response: bytes) -> AuthAttempt | Violation | None:
        """Take the next client response, decoded; an initial response is the first.

        Returns the attempt as soon as the credential is complete, to be judged before this response
        goes on. None asks for nothing but passing it on: more is to come, or it closes an exchange
        already judged. A response the mechanism does not allow is BAD_SASL, not fatal, with an
        empty reply: the session has its protocol's words. After that the exchange is over and every
        further response is BAD_SASL too.
        """
        match self._stage:
            case _Stage.CREDENTIAL:
                result = self._credential(response)
            case _Stage.PASSWORD:
                result = self._password(response)
            case _Stage.CLOSING:
                result = self._close(response)
            case _Stage.OVER:
                return MALFORMED
            case _:
                assert_never(self._stage)
        if result is MALFORMED:
            self._stage = _Stage.OVER
        return result

    def _credential(self, response: bytes) -> AuthAttempt | Violation | None:
        if len(response) > MAX_RESPONSE_OCTETS:
            return MALFORMED
        if self._mechanism == "LOGIN":
            if not _is_part(response):
                return MALFORMED
            self._userid = response
            self._stage = _Stage.PASSWORD
            return None
        self._stage = _Stage.CLOSING
        return _READERS[self._mechanism](self._mechanism, response) or MALFORMED

    def _password(self, response: bytes) -> AuthAttempt | Violation:
        if not _is_part(response):
            return MALFORMED
        self._stage = _Stage.CLOSING
        return AuthAttempt(self._mechanism, _text(self._userid), secret=Secret(response))

    def _close(self, response: bytes) -> Violation | None:
        if not self._closing or len(response) > MAX_RESPONSE_OCTETS:
            return MALFORMED
        allowed, *rest = self._closing
        self._closing = tuple(rest)
        return None if allowed(response) else MALFORMED


def normalise_authcid(authcid: str, default_domain: str = "") -> str:
    """The key under which counters know an account.

    Compatibility forms and case are folded, surrounding blanks go, and `default_domain` (already
    folded) is added where there is none: `Bob@X`, `bob@x ` and, with a default of `x`, `bob` are
    one. Only the first `MAX_AUTHCID_CHARACTERS` count, before and after folding, which can make
    eighteen characters of one. An empty name stays empty.
    """
    name = authcid[:MAX_AUTHCID_CHARACTERS]
    if name.isascii():
        name = name.strip().lower()
    else:
        folded = unicodedata.normalize("NFKC", name).casefold()
        name = unicodedata.normalize("NFKC", folded)[:MAX_AUTHCID_CHARACTERS].strip()
    if default_domain and name and "@" not in name:
        return f"{name}@{default_domain}"
    return name


class _Stage(Enum):
    """Where one exchange stands."""

    CREDENTIAL = auto()  # nothing judged yet
    PASSWORD = auto()  # LOGIN: the user is known
    CLOSING = auto()  # judged; only the mechanism's closing responses may come
    OVER = auto()  # refused


# -- readers: the attempt in one response, None where it is malformed ------------------------------


def _read_plain(mechanism: str, response: bytes) -> AuthAttempt | None:
    """`[authzid] NUL authcid NUL passwd` (RFC 4616 2)."""
    parts = response.split(b"\0", 3)
    if len(parts) != 3:
        return None
    authzid, authcid, password = parts
    if len(authzid) > MAX_PART_OCTETS or not _is_part(authcid) or not _is_part(password):
        return None
    return AuthAttempt(mechanism, _text(authcid), _text(authzid), Secret(password))


def _read_xoauth2(mechanism: str, response: bytes) -> AuthAttempt | None:
    """`user=U ^A auth=Bearer T ^A ^A`, as Google and Microsoft define it."""
    fields = _read_fields(response)
    user = fields.get(b"user", b"")
    token = _read_token(fields)
    if token is None or not _is_part(user):
        return None
    return AuthAttempt(mechanism, _text(user), secret=token)


def _read_oauthbearer(mechanism: str, response: bytes) -> AuthAttempt | None:
    """`gs2-header ^A *(key=value ^A) ^A` (RFC 7628 3.1).

    The only name it shows is the gs2 header's `a=`, which is optional: the owner of the token is
    known to its issuer. `user=`, a key of early drafts, is refused: a backend that still reads it
    would see another name.
    """
    header, _, rest = response.partition(_KVSEP)
    gs2 = _read_gs2_header(header)
    if gs2 is None or gs2[1]:
        return None
    fields = _read_fields(rest)
    token = _read_token(fields)
    if token is None or b"user" in fields:
        return None
    return AuthAttempt(mechanism, _text(gs2[0]), secret=token)


def _read_scram(mechanism: str, response: bytes) -> AuthAttempt | None:
    """`gs2-header n=user,r=nonce[,extensions]`, the client-first message (RFC 5802 7).

    `m=`, a mandatory extension, has to fail, and does: it stands where `n=` must.
    """
    gs2 = _read_gs2_header(response)
    if gs2 is None or b"\0" in response:
        return None
    user, _, rest = gs2[1].partition(b",")
    nonce, _, _ = rest.partition(b",")
    if not user.startswith(b"n=") or not nonce.startswith(b"r=") or nonce == b"r=":
        return None
    authcid = _read_saslname(user[2:])
    if authcid is None:
        return None
    return AuthAttempt(mechanism, _text(authcid), _text(gs2[0]))


def _read_gs2_header(octets: bytes) -> tuple[bytes, bytes] | None:
    """The authzid of a gs2 header and what follows it (RFC 5801 4).

    `p=` binds to a channel that ends here and is refused: no -PLUS mechanism is offered.
    """
    flag, _, rest = octets.partition(b",")
    authzid, comma, rest = rest.partition(b",")
    if flag not in {b"n", b"y"} or not comma:
        return None
    if not authzid:
        return b"", rest
    name = _read_saslname(authzid[2:]) if authzid.startswith(b"a=") else None
    return None if name is None else (name, rest)


def _read_saslname(octets: bytes) -> bytes | None:
    """A saslname without its escapes (RFC 5802 5.1), None where it is not one."""
    if not _is_part(octets):
        return None
    head, *escaped = octets.split(b"=")
    name = [head]
    for part in escaped:
        character = _ESCAPES.get(part[:2])
        if character is None:
            return None
        name += (character, part[2:])
    return b"".join(name)


def _read_fields(octets: bytes) -> dict[bytes, bytes]:
    """The `key=value` fields of an OAuth response; empty where they are malformed."""
    fields: dict[bytes, bytes] = {}
    if b"\0" in octets or not octets.endswith(_KVSEP * 2):
        return {}
    for field in octets[:-2].split(_KVSEP):
        key, equals, value = field.partition(b"=")
        if not equals or not (key.isalpha() and key.islower()) or key in fields:
            return {}
        fields[key] = value
    return fields


def _read_token(fields: dict[bytes, bytes]) -> Secret | None:
    """The bearer token of `auth=` (RFC 6750 2.1): one word."""
    auth = fields.get(b"auth", b"")
    token = auth[len(_BEARER) :]
    if auth[: len(_BEARER)].lower() != _BEARER or token.split() != [token]:
        return None
    return Secret(token)


def _is_part(octets: bytes) -> bool:
    """Whether `octets` may be a name or a password: not empty, bounded, no NUL."""
    return 0 < len(octets) <= MAX_PART_OCTETS and b"\0" not in octets


def _text(octets: bytes) -> str:
    """Names are UTF-8; octets that are not survive the way to the counters and back."""
    return octets.decode("utf-8", "surrogateescape")


# -- closing responses: what may follow a judged credential ----------------------------------------


def _is_empty(response: bytes) -> bool:
    """The acknowledgement of SCRAM's server-final message, which travels in a challenge."""
    return not response


def _is_client_final(response: bytes) -> bool:
    """SCRAM's proof (RFC 5802 7), as far as it can be told without the server's part."""
    return response.startswith(b"c=") and b",r=" in response and b",p=" in response


def _is_error_answer(response: bytes) -> bool:
    """The answer to an OAuth error challenge: empty (XOAUTH2) or one ^A (RFC 7628 3.2.3)."""
    return response in {b"", _KVSEP}


_SCRAM_CLOSING: Final = (_is_client_final, _is_empty)
_CLOSING: Final[dict[str, tuple[Callable[[bytes], bool], ...]]] = {
    "PLAIN": (),
    "LOGIN": (),
    "XOAUTH2": (_is_error_answer,),
    "OAUTHBEARER": (_is_error_answer,),
    "SCRAM-SHA-1": _SCRAM_CLOSING,
    "SCRAM-SHA-256": _SCRAM_CLOSING,
    "SCRAM-SHA-512": _SCRAM_CLOSING,
}
_READERS: Final[dict[str, Callable[[str, bytes], AuthAttempt | None]]] = {
    "PLAIN": _read_plain,
    "XOAUTH2": _read_xoauth2,
    "OAUTHBEARER": _read_oauthbearer,
    "SCRAM-SHA-1": _read_scram,
    "SCRAM-SHA-256": _read_scram,
    "SCRAM-SHA-512": _read_scram,
}
