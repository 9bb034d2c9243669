"""Every metric there is: its name, its kind, what it says, and what its labels may be.

Names and labels are an interface, like the keys of the configuration: rules and dashboards of
others hold them. A label is a member of an enumeration, or a name the operator gave to a part;
never an address, an account or anything else a client says, so the number of series is known.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gatekeeper.ban import Origin, Scope
from gatekeeper.dnsbl import Lookup
from gatekeeper.events import MailProtocol, ViolationKind
from gatekeeper.hooks.health import Fault
from gatekeeper.reconciling import Repair
from gatekeeper.sessions import End, Phase
from gatekeeper.settings import Mode
from gatekeeper.tally import LoginResult, RecipientResult
from gatekeeper.verdict import Action, Reason

PREFIX: Final = "gatekeeper_"


class Kind(Enum):
    """The types of the exposition format."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Label:
    """A label. `values` are all it can have; None where the configuration, or this very program,
    names them. `source` tells where they are from, where they are too many to be listed or open."""

    name: str
    values: frozenset[str] | None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `name` is whole; a counter's ends in `_total`."""

    name: str
    kind: Kind
    text: str
    labels: tuple[Label, ...] = ()


def _closed(name: str, kind: type[Enum], source: str = "") -> Label:
    return Label(name, frozenset(str(member.value) for member in kind), source)


LISTENER: Final = Label("listener", None, "`[[listener]] name`")
BACKEND: Final = Label("backend", None, "`[backend.NAME]`")
ZONE: Final = Label("zone", None, "`[[dnsbl]] zone`, with `KEY.` for a key")
CERTIFICATE: Final = Label("certificate", None, "the path in `[tls]` or `[[tls.sni]]`")
HOOK: Final = Label("hook", None, "file and function of `hooks`")
COUNTER: Final = Label("counter", None, "the counters of the nftables table and of XDP")
PROTO: Final = _closed("proto", MailProtocol)
REASON: Final = _closed("reason", Reason, "the words of `reason=` in the log")
ACTION: Final = Label("action", frozenset(action.name.lower() for action in Action))
ENFORCED: Final = Label("enforced", frozenset({"true", "false"}))
SCOPE: Final = _closed("scope", Scope)
ORIGIN: Final = _closed("origin", Origin)
FAMILY: Final = Label("family", frozenset({"ipv4", "ipv6"}))
PART: Final = Label("part", frozenset({"kernel", "store"}))

FAMILIES: Final[dict[str, Family]] = {}


def _declare(kind: Kind, name: str, text: str, *labels: Label) -> Family:
    family = Family(PREFIX + name, kind, text, labels)
    FAMILIES[family.name] = family
    return family


def _counter(name: str, text: str, *labels: Label) -> Family:
    return _declare(Kind.COUNTER, f"{name}_total", text, *labels)


def _gauge(name: str, text: str, *labels: Label) -> Family:
    return _declare(Kind.GAUGE, name, text, *labels)


def _histogram(name: str, text: str, *labels: Label) -> Family:
    return _declare(Kind.HISTOGRAM, name, text, *labels)


# -- this process ------------------------------------------------------------------------------

BUILD_INFO: Final = _gauge(
    "build_info",
    "Always 1; its labels tell the versions of this program and of what it runs on.",
    Label("version", None, "this program"),
    Label("python", None, "this program"),
    Label("openssl", None, "this program"),
)
START_TIME: Final = _gauge("start_time_seconds", "When the guard started, in Unix time.")
SERVING: Final = _gauge("serving", "1 while connections are accepted, 0 before and while draining.")
MODE: Final = _gauge("mode", "1 at the mode of the configuration.", _closed("mode", Mode))
PAUSED: Final = _gauge("paused", "1 while the operator's pause has nothing enforced.")
RELOADS: Final = _counter(
    "reloads",
    "Times the configuration was read again, and taken or not.",
    Label("result", frozenset({"done", "failed"})),
)
RELOAD_OK: Final = _gauge(
    "last_reload_successful", "0 where the last reload failed and the old configuration holds on."
)
RELOAD_TIME: Final = _gauge(
    "last_reload_seconds",
    "When the configuration was last read again, in Unix time; 0 for never.",
    Label("result", frozenset({"done", "failed"})),
)
LOG_LOST: Final = _counter("log_lines_lost", "Lines of the log that were never written.")
CERT_NOT_AFTER: Final = _gauge(
    "cert_not_after_seconds",
    "When the certificate in use ends, in Unix time.",
    CERTIFICATE,
)

# -- sessions ----------------------------------------------------------------------------------

CONNECTIONS: Final = _gauge(
    "connections", "Open connections, by how far they are.", LISTENER, _closed("state", Phase)
)
CONNECTIONS_LIMIT: Final = _gauge(
    "connections_limit", "How many connections there may be: [limits] sessions."
)
BEGUN: Final = _counter("sessions_begun", "Connections that became sessions.", LISTENER)
REFUSED_AT_ACCEPT: Final = _counter(
    "refused_at_accept", "Connections of banned addresses, reset before anything was read."
)
ENDS: Final = _counter(
    "sessions_ended",
    "Sessions that are over, by what ended them.",
    LISTENER,
    _closed("end", End, "the words of `end=` in the log"),
)
IDLING: Final = _gauge("idle_sessions", "IMAP sessions in IDLE.")

# -- what is judged ----------------------------------------------------------------------------

LOGINS: Final = _counter(
    "auth_attempts",
    "Credentials, by what became of them.",
    PROTO,
    LISTENER,
    _closed("result", LoginResult),
)
RECIPIENTS: Final = _counter(
    "recipients",
    "Recipients (RCPT), by what became of them.",
    PROTO,
    LISTENER,
    _closed("result", RecipientResult),
)
VIOLATIONS: Final = _counter(
    "violations",
    "Bytes that are not the protocol, by what is wrong with them.",
    LISTENER,
    _closed("kind", ViolationKind, "the words of `violation=` in the log"),
)
VERDICTS: Final = _counter(
    "verdicts",
    "Verdicts other than to pass, and in observe mode those that would have been.",
    REASON,
    ACTION,
    ENFORCED,
)
DELAY: Final = _histogram("throttle_delay_seconds", "How long answers were held back (tarpit).")
ATTACK_LEVEL: Final = _gauge(
    "attack_level_high", "1 while strangers guess everywhere and are put off for it."
)
ACCOUNTS: Final = _gauge("accounts_known", "Accounts whose networks are known.")
OUTAGE: Final = _gauge(
    "backend_outage", "1 while refusals of the backend are not counted: it is out of order."
)

# -- bans --------------------------------------------------------------------------------------

BANS_ACTIVE: Final = _gauge("bans_active", "Bans in force.", ORIGIN, FAMILY, SCOPE)
BANS: Final = _counter("bans", "Bans made.", REASON, SCOPE)
LIFTS: Final = _counter("bans_lifted", "Bans taken back before their time.", SCOPE)
BREAKER_OPEN: Final = _gauge(
    "breaker_open", "1 while rules ban nobody, for their bans look like a mistake."
)
WITHHELD: Final = _counter("bans_withheld", "Bans that the open breaker kept from being made.")

# -- kernel and store --------------------------------------------------------------------------

KERNEL_UP: Final = _gauge(
    "kernel_up", "1 while the kernel process answers; absent where [enforce] nft = false."
)
DROPPED: Final = _counter(
    "kernel_dropped_packets",
    "Packets dropped in the kernel, as `nft list counters` has them.",
    COUNTER,
)
REPAIRS: Final = _counter(
    "kernel_repairs", "Differences between guard and kernel, repaired.", _closed("repair", Repair)
)
STORE_UP: Final = _gauge("store_up", "1 while the store can be read and written.")
WAITING: Final = _gauge("changes_waiting", "Bans and lifts that are not there yet.", PART)

# -- backends ----------------------------------------------------------------------------------

BACKEND_UP: Final = _gauge(
    "backend_up", "1 where the last connection to it was made, 0 where it failed.", BACKEND
)
CONNECT: Final = _histogram(
    "backend_connect_seconds",
    "How long it took to connect to a backend, its TLS and our announcement included.",
    BACKEND,
)
CONNECT_FAILURES: Final = _counter(
    "backend_connect_failures", "Connections to a backend that were not made.", BACKEND
)

# -- hooks -------------------------------------------------------------------------------------

HOOK_UP: Final = _gauge("hook_up", "1 while a hook answers, 0 while it fails or is off.", HOOK)
HOOK_CALLS: Final = _counter("hook_calls", "Times a hook was to be asked.", HOOK)
HOOK_FAULTS: Final = _counter(
    "hook_faults", "Times a hook gave no answer, by what went wrong.", HOOK, _closed("fault", Fault)
)

# -- DNS and files -----------------------------------------------------------------------------

LOOKUPS: Final = _counter(
    "dns_lookups",
    "What lists said of clients, remembered answers included.",
    ZONE,
    _closed("result", Lookup),
)
ZONE_UP: Final = _gauge(
    "dns_zone_up", "1 while a list is asked, 0 while it is switched off for its errors.", ZONE
)
QUESTIONS: Final = _counter("dns_questions", "Questions that went to DNS servers.")
UNDER_WAY: Final = _gauge("dns_questions_under_way", "Questions that wait for an answer.")
DOMAINS: Final = _gauge("domains", "Domains whose files are read; absent without [domains].")
DOMAIN_TROUBLES: Final = _gauge(
    "domain_troubles", "Parts of the domains' files that are of no use; absent without [domains]."
)


def names_of(labels: Iterable[Label]) -> list[str]:
    """The names of `labels`."""
    return [label.name for label in labels]
