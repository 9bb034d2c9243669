"""Events: frozen records of what was seen, named by the RFCs' nouns.

The first group is what Rules judge. The second group is what the pure observers in `wire/` read
out of a client's bytes; a session turns those into the first group, because only the session sees
both directions. No event holds a credential outside a `Secret`.
"""

from dataclasses import dataclass, field
from enum import Enum

from gatekeeper.ban import Scope
from gatekeeper.findings import HelloFault, SenderDomain, SpfResult
from gatekeeper.prefix import Prefix
from gatekeeper.secret import Secret


class MailProtocol(Enum):
    """What a listener speaks."""

    SMTP = "smtp"  # port 25, from other mail servers: no AUTH here
    SUBMISSION = "submission"  # 465 and 587
    IMAP = "imap"  # 993 and 143


class Marks:
    """What the operator's hooks noted of one connection: the one part of a Client that changes."""

    __slots__ = ("asking", "tags")

    def __init__(self) -> None:
        self.tags: frozenset[str] = frozenset()
        self.asking = False  # a hook is asked, and nothing is judged yet


@dataclass(frozen=True, slots=True)
class Client:
    """The far end of one connection, as told by the socket or by a trusted PROXY header."""

    address: str
    port: int
    local_address: str
    local_port: int
    entity: Prefix  # the /32, or the /64 of an IPv6 address
    listener: str
    protocol: MailProtocol
    reverse_name: str | None = None  # None: not known; what DNS says the address is called
    marks: Marks = field(default_factory=Marks, compare=False, repr=False)

    @property
    def scope(self) -> Scope:
        """The scope its counters and bans belong to."""
        return Scope.MX if self.protocol is MailProtocol.SMTP else Scope.AUTH


class ViolationKind(Enum):
    """Ways in which a client's bytes are not its protocol; stable words for logs and metrics."""

    LINE_TOO_LONG = "line-too-long"
    BARE_LF = "bare-lf"
    BARE_CR = "bare-cr"
    NUL = "nul"
    BAD_SYNTAX = "bad-syntax"
    BAD_SEQUENCE = "bad-sequence"
    BAD_BDAT = "bad-bdat"
    BAD_LITERAL = "bad-literal"
    BAD_BASE64 = "bad-base64"
    BAD_SASL = "bad-sasl"
    SASL_TOO_LONG = "sasl-too-long"
    MECHANISM_NOT_OFFERED = "mechanism-not-offered"
    FORBIDDEN_VERB = "forbidden-verb"
    AUTH_NOT_OFFERED = "auth-not-offered"
    STARTTLS_INJECTION = "starttls-injection"
    SMUGGLING = "smuggling"
    EARLY_TALKER = "early-talker"
    FOREIGN_PROTOCOL = "foreign-protocol"  # HTTP, SSH, TLS on a plain port
    ALPN_MISMATCH = "alpn-mismatch"
    TLS_GARBAGE = "tls-garbage"
    PROXY_HEADER = "proxy-header"
    TOO_MANY_ERRORS = "too-many-errors"


@dataclass(frozen=True, slots=True)
class Violation:
    """Bytes that are refused. `reply` is the whole answer for the client, line ends included;
    empty says nothing. `fatal` ends the session after the reply."""

    kind: ViolationKind
    reply: bytes
    fatal: bool = False


# -- what Rules judge -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    """A connection was accepted; judged before the handshake. How many there are to port 25 from
    its address and from the network around it, with this one; 0 where nobody counts them."""

    of_address: int = 0
    of_network: int = 0


@dataclass(frozen=True, slots=True)
class EarlyTalk:
    """The client of a connection to port 25 spoke before it was greeted (RFC 5321 3.1, 4.3.1)."""

    after_s: float  # since the wait for it began
    octets: int  # that had come by then


class ReverseState(Enum):
    """What DNS says of an address's name. That it could not be asked is none of these."""

    CONFIRMED = "confirmed"  # the name has the address
    UNCONFIRMED = "unconfirmed"  # there are names, and none has the address
    MISSING = "missing"  # there is no name


@dataclass(frozen=True, slots=True)
class ReverseDns:
    """The name of a client of port 25 by DNS; judged before the greeting, and only where it is not
    confirmed. `name` is the one confirmed, or one that was not, and may be empty then."""

    state: ReverseState
    name: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What one list says of an address. `zone` is without its key; an allow list's `weight` is
    below 0; of a list that is only observed the listing counts for nothing."""

    zone: str
    codes: tuple[str, ...]
    weight: float
    observed: bool = False
    name: str = ""  # of the codes, as the list calls them: `SBL+XBL`

    def __str__(self) -> str:
        codes = ",".join(self.codes)
        return f"{self.zone}={codes}({self.name})" if self.name else f"{self.zone}={codes}"


@dataclass(frozen=True, slots=True)
class ClientListed:
    """Lists name the client of a connection to port 25; judged before the greeting, and only where
    one does."""

    listings: tuple[Listing, ...]


@dataclass(frozen=True, slots=True)
class HelloAttempt:
    """EHLO or HELO (RFC 5321 4.1.1.1), before the backend sees it; `domain` as the client wrote
    it."""

    domain: str
    extended: bool
    fault: HelloFault | None = None


@dataclass(frozen=True, slots=True)
class MailAttempt:
    """A sender, before the backend sees it. The null sender is the empty string; `hello` is the
    domain of the last EHLO or HELO that the backend took, `authcid` empty where nobody logged
    in."""

    reverse_path: str
    hello: str = ""
    authcid: str = ""
    domain: SenderDomain | None = None  # what DNS says of the sender's
    spf: SpfResult | None = None


@dataclass(frozen=True, slots=True)
class MessageEnd:
    """All content of a message is there but its end, which the backend has not seen: refusing it
    here delivers nothing. `recipients` are those the backend took."""

    reverse_path: str
    recipients: int
    size_octets: int
    authcid: str = ""


@dataclass(frozen=True, slots=True)
class AuthAttempt:
    """A complete credential, before the backend sees it.

    `secret` is None where the mechanism does not show it (SCRAM).
    """

    mechanism: str
    authcid: str
    authzid: str = ""
    secret: Secret | None = None
    listings: tuple[Listing, ...] = ()  # what lists of guessers say of the client


class AuthResult(Enum):
    """What the backend's reply says of a credential."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNAVAILABLE = "unavailable"  # an outage is never scored
    PROTOCOL = "protocol"  # the exchange was not understood or was cancelled


@dataclass(frozen=True, slots=True)
class AuthOutcome:
    """The backend's word on an attempt, before the client hears it."""

    attempt: AuthAttempt
    result: AuthResult


@dataclass(frozen=True, slots=True)
class RcptAttempt:
    """A recipient, before the backend sees it. `authcid` is empty before a login.

    `reverse_path` is the sender's, empty for the null one and None where no MAIL was accepted.
    """

    forward_path: str
    authcid: str = ""
    reverse_path: str | None = None


class RcptResult(Enum):
    """What the backend's reply says of a recipient."""

    ACCEPTED = "accepted"
    UNKNOWN = "unknown"
    RELAY_DENIED = "relay-denied"
    DEFERRED = "deferred"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class RcptOutcome:
    """The backend's word on a recipient, before the client hears it."""

    attempt: RcptAttempt
    result: RcptResult


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The session is over. `authcid` is empty where nobody logged in."""

    authcid: str
    duration_s: float


JudgedEvent = (
    ConnectionOpened
    | EarlyTalk
    | ReverseDns
    | ClientListed
    | HelloAttempt
    | MailAttempt
    | MessageEnd
    | AuthAttempt
    | AuthOutcome
    | RcptAttempt
    | RcptOutcome
    | Violation
    | ConnectionClosed
)

# -- what the observers read from an SMTP client ------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """EHLO or HELO (RFC 5321 4.1.1.1)."""

    domain: str
    extended: bool


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL FROM (RFC 5321 4.1.1.2); the null sender is the empty string."""

    reverse_path: str


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT TO (RFC 5321 4.1.1.3). `forward_path` is without its parameters, and without its angle
    brackets where they hold all of it; what cannot be read never blocks the command."""

    forward_path: str


@dataclass(frozen=True, slots=True)
class Data:
    """DATA (RFC 5321 4.1.1.4)."""


@dataclass(frozen=True, slots=True)
class Bdat:
    """BDAT (RFC 3030 2): exactly `size_octets` of content follow."""

    size_octets: int
    last: bool


@dataclass(frozen=True, slots=True)
class AuthCommand:
    """AUTH (RFC 4954 4) or AUTHENTICATE (RFC 9051 6.2.2). `initial_response` is the decoded octets,
    None where there was no initial response."""

    mechanism: str
    initial_response: Secret | None
    tag: bytes = b""  # IMAP only


@dataclass(frozen=True, slots=True)
class SaslResponse:
    """One decoded line of a SASL exchange."""

    response: Secret


@dataclass(frozen=True, slots=True)
class SaslCancel:
    """The client gave the exchange up with `*`."""


@dataclass(frozen=True, slots=True)
class StartTls:
    """STARTTLS (RFC 3207, RFC 9051 6.2.1)."""

    tag: bytes = b""  # IMAP only


@dataclass(frozen=True, slots=True)
class Command:
    """Any other command the guard lets through. `verb` is upper case."""

    verb: str
    tag: bytes = b""  # IMAP only


# -- what the observers read from an IMAP client, besides the above --------------------------


@dataclass(frozen=True, slots=True)
class Login:
    """LOGIN (RFC 9051 6.2.3) with both strings read, whatever form they came in."""

    tag: bytes
    userid: str
    password: Secret


@dataclass(frozen=True, slots=True)
class ContinuationNeeded:
    """A synchronising literal came: the guard owes the client a `+` line (RFC 9051 4.3)."""

    size_octets: int


ObservedEvent = (
    Hello
    | Mail
    | Rcpt
    | Data
    | Bdat
    | AuthCommand
    | SaslResponse
    | SaslCancel
    | StartTls
    | Command
    | Login
    | ContinuationNeeded
    | Violation
)
