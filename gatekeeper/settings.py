"""The operator's settings as frozen records: what `config` reads and every level may know.

Names, defaults and shapes are the contract with the operator; `docs/config.md` tells them in
words. Reading, checking and pointing at the wrong line is `gatekeeper.config`'s work.
"""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from gatekeeper.events import MailProtocol
from gatekeeper.prefix import Prefix
from gatekeeper.secret import Secret
from gatekeeper.verdict import Reason


class Mode(Enum):
    """Whether verdicts are carried out."""

    ENFORCE = "enforce"
    OBSERVE = "observe"  # judge and log would-be verdicts, refuse nothing


class TlsMode(Enum):
    """How TLS begins on a leg."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"


class Announce(Enum):
    """How the backend learns the client's address."""

    PROXY_V1 = "proxy-v1"
    PROXY_V2 = "proxy-v2"
    XCLIENT = "xclient"
    IMAP_ID = "imap-id"
    TRANSPARENT = "transparent"  # connections come from the client's own address and port
    NONE = "none"


class BareNewlines(Enum):
    """What to do with ambiguous ends of data (protocol notes, RFC 5321 4.1.1.4)."""

    NEUTRALISE = "neutralise"  # dot-stuff, so that strict and lenient backends agree
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class CertificatePair:
    """PEM files of one certificate chain and its key; both may hold an ECDSA and an RSA pair's
    half each when listed twice (`[[tls.sni]]` or `[tls]` with lists)."""

    certificate: Path
    private_key: Path


@dataclass(frozen=True, slots=True)
class SniSettings:
    """Certificates served for these names; `*.example.org` matches one label."""

    names: tuple[str, ...]
    pairs: tuple[CertificatePair, ...]


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """The default certificates and those per server name. ECDSA pairs are preferred over RSA."""

    pairs: tuple[CertificatePair, ...] = ()
    sni: tuple[SniSettings, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A numeric address (`host` without brackets) and port, or a host name on the backend side."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """One guarded service and the sockets it listens on."""

    name: str
    protocol: MailProtocol
    bind: tuple[Endpoint, ...]
    tls: TlsMode
    backend: str
    proxy_protocol_from: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """Where a listener's sessions go."""

    name: str
    address: tuple[Endpoint, ...]  # first reachable wins
    tls: TlsMode = TlsMode.NONE
    announce: Announce = Announce.NONE
    tls_ca: Path | None = None  # the system's store where None
    tls_name: str = ""  # the name verified; empty means the address's host
    proxy_tlvs: bool | None = None  # None: send TLS TLVs on IMAP (Dovecot reads them), not on SMTP
    connect_timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class EnforceSettings:
    """What applies bans besides the guard itself."""

    nft: bool = True
    kernel_socket: Path | None = None  # of a kernel process that is a unit; None: start our own
    syn_rate: int = 25  # new connections a second of one address, on average; 0: no meter
    syn_burst: int = 100  # and at once
    xdp: tuple[str, ...] = ()  # interfaces whose drivers drop what is banned


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Durable state. `path` None keeps it in memory."""

    path: Path | None = None


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """Whom the guard asks names of."""

    servers: tuple[Endpoint, ...] = ()  # those of /etc/resolv.conf where empty
    deadline_s: float = 2.0  # for all that is asked of one connection


class ListKind(Enum):
    """What being listed means."""

    BLOCK = "block"
    ALLOW = "allow"


class AskedOn(Enum):
    """When a list is asked."""

    CONNECT = "connect"  # before the greeting of port 25
    AUTH = "auth"  # before a credential goes on


class Treatment(Enum):
    """What is done about the result of one test."""

    IGNORE = "ignore"  # it is not made
    OBSERVE = "observe"  # told and counted, and nothing else
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class DnsblSettings:
    """One list and how it is read."""

    zone: str  # in lower case, without its key
    kind: ListKind = ListKind.BLOCK
    codes: tuple[str, ...] = ()  # that count (`policy.blocklists`); the zone's usual ones if empty
    weight: float = 1.0  # taken off where the list allows
    on: AskedOn = AskedOn.CONNECT
    policy: Treatment = Treatment.ENFORCE
    key: Secret | None = field(default=None, compare=False)  # the first label of the zone's name

    @property
    def shown(self) -> str:
        """The zone as people and logs see it."""
        return self.zone if self.key is None else f"KEY.{self.zone}"


@dataclass(frozen=True, slots=True)
class DomainsSettings:
    """Where the files about the operator's domains are (`gatekeeper.domains_tree`)."""

    root: Path | None = None  # nothing is read where None


class OnError(Enum):
    """What a hook that fails, or does not answer in time, counts for."""

    PASS = "pass"  # noqa: S105  no opinion
    DEFER = "defer"  # not now


@dataclass(frozen=True, slots=True)
class HookSettings:
    """The operator's own Rules (`gatekeeper.hooks`)."""

    files: tuple[Path, ...] = ()
    deadline_s: float = 2.0  # for each call
    on_error: OnError = OnError.PASS


WebBind = Endpoint | Path  # an address of loopback, or a Unix socket


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where metrics, health and the status page are served (`gatekeeper.web`)."""

    bind: WebBind | None = None  # nowhere where None
    token_file: Path | None = None  # of one word, by which the status page lifts bans


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """Who is told what an operator should know at once (`gatekeeper.notices`)."""

    exec: Path | None = None  # a program
    webhook: Secret | None = field(default=None, compare=False)  # https; many hold a secret
    webhook_authorization: Path | None = None  # a file of one line, the field's whole value
    webhook_ca: Path | None = None  # the system's store where None
    deadline_s: float = 10.0  # for the program; for each try at the web service


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """The policy's numbers; each is explained where its Rule is (`gatekeeper.policy`)."""

    auth_ban_score: float = 10.0  # scope auth: banned when the score reaches this
    auth_ban_score_per_account: float = 3.0  # and this more for each account at home there
    auth_suspect_share: float = 0.6  # of the ban score: from here strangers are put off
    auth_tarpit_score: float = 3.0  # from here refusals are delayed
    auth_failure_weight: float = 1.0
    auth_half_life_s: float = 6 * 3600.0
    network_suspect_score: float = 40.0  # of a /24 or /48; half of it of a /56
    ban_spares_s: float = 72 * 3600.0  # where somebody logged in guesses make no ban
    mx_ban_score: float = 20.0
    mx_half_life_s: float = 3600.0
    mx_connections_per_address: int = 50  # to port 25 at once, as Postfix has it
    mx_connections_per_network: int = 150  # of a /24 or a /48
    greet_wait_s: float = 6.0  # port 25: for new clients to speak too early in; 0: no such test
    greet_passed_s: float = 24 * 3600.0  # who did not is not made to wait again for so long
    dnsbl_reject_score: float = 1.0  # port 25: refused when the lists' weights add up to this
    violation_weight: float = 1.0
    hostile_violation_weight: float = 5.0  # smuggling; AUTH on port 25
    tarpit_base_s: float = 1.0  # doubled for each further failure
    tarpit_max_s: float = 8.0
    repeat_window_s: float = 24 * 3600.0  # an identical wrong password counts once in this time
    refused_for_s: float = 300.0  # it is answered here for so long after the backend refused it
    retry_after_s: float = 30.0  # who was asked to come again is let through after this
    asked_back_ppm: float = 850.0  # of good logins, at most, are asked to come again
    sprayed_accounts: int = 4  # a password that failed on so many accounts is a sprayed one
    attacked_guesses: int = 8  # wrong passwords by strangers, a day: an account under attack
    lane_guesses: int = 25  # so many lock the strangers' lane
    lane_lock_s: float = 3600.0
    familiar_guesses_hour: int = 8  # wrong passwords an hour from where accounts are at home
    harvest_defer: int = 50  # unknown recipients a day, more than half of all: put off
    harvest_ban: int = 200  # and banned from port 25
    harvest_ban_first_s: float = 3600.0
    recipients_per_address_day: int = 10_000
    recipients_burst: int = 200  # of one account, at once
    recipients_10m: int = 100  # the rate behind the burst
    recipients_day: int = 1_000
    new_nets_hour: int = 5  # an account that logs in from so many new nets within an hour is held
    account_hold_s: float = 24 * 3600.0
    ban_first_s: float = 600.0
    ban_max_s: float = 7 * 24 * 3600.0
    ban_memory_s: float = 30 * 24 * 3600.0  # clean this long and the next ban is a first one
    breaker_bans_minute: int = 3_000  # more that Rules want, and they ban no more
    breaker_people_share: float = 0.05  # or more than this share of them meet people
    breaker_hold_s: float = 600.0  # for so long after the last such moment


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """What is different for one account; None is as `[policy]` has it."""

    recipients_burst: int | None = None
    recipients_10m: int | None = None
    recipients_day: int | None = None


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Bounds on sessions and time; all seconds and octets."""

    sessions: int = 20_000  # whole guard
    sessions_per_address: int = 200
    handshakes: int = 512  # TLS handshakes under way at once
    handshake_timeout_s: float = 15.0
    imap_login_timeout_s: float = 180.0
    backend_reply_s: float = 600.0  # the final 250 after DATA may take ten minutes (4.5.3.2.6)
    smtp_idle_s: float = 300.0
    content_idle_s: float = 180.0  # RFC 5321 4.5.3.2.5: three minutes a block
    relay_idle_s: float = 32 * 60.0  # RFC 2177: IDLE is renewed within 29 minutes
    idle_per_account: int = 50  # in IDLE at once: some phones hold ten folders, a desktop five
    idle_per_address: int = 150  # an office; each needs one of `sessions_per_address` too
    idle_longest_s: float = 2 * 3600.0  # some clients let people choose an hour, beyond RFC 2177
    drain_s: float = 30.0
    errors_per_session: int = 10


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration, checked."""

    hostname: str
    tls: TlsSettings
    listeners: tuple[ListenerSettings, ...]
    backends: dict[str, BackendSettings]
    mode: Mode = Mode.ENFORCE
    allow: tuple[Prefix, ...] = ()
    block: tuple[Prefix, ...] = ()
    state_dir: Path = Path("/var/lib/gatekeeper")
    run_dir: Path = Path("/run/gatekeeper")
    user: str = "gatekeeper"  # what `run` as root becomes before it reads a byte from the network
    bare_newlines: BareNewlines = BareNewlines.NEUTRALISE
    enforce: EnforceSettings = field(default_factory=EnforceSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    # Of the rules the operator named; the others' is in `policy.rules.treatment`.
    rules: dict[Reason, Treatment] = field(default_factory=dict)
    accounts: dict[str, AccountSettings] = field(default_factory=dict)  # by lower-case name
    trap_accounts: tuple[str, ...] = ()  # nobody has them; who tries one is a guesser
    limits: LimitSettings = field(default_factory=LimitSettings)
    dns: DnsSettings = field(default_factory=DnsSettings)
    dnsbl: tuple[DnsblSettings, ...] = ()
    domains: DomainsSettings = field(default_factory=DomainsSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    hooks: HookSettings = field(default_factory=HookSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    files: tuple[Path, ...] = ()  # what was read, for `check` and the log
