"""The operator's settings as frozen records: what `config` reads and every level may know.

Names, defaults and shapes are the contract with the operator; `docs/config.md` tells them in
words. Reading, checking and pointing at the wrong line is `gatekeeper.config`'s work.
"""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from gatekeeper.events import MailProtocol
from gatekeeper.prefix import Prefix


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


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Durable state. `path` None keeps it in memory."""

    path: Path | None = None


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """The first policy's numbers; each is explained where its Rule is."""

    auth_ban_score: float = 8.0  # scope auth: banned when the score reaches this
    auth_tarpit_score: float = 3.0  # from here refusals are delayed
    auth_failure_weight: float = 1.0
    auth_half_life_s: float = 6 * 3600.0
    mx_ban_score: float = 20.0
    mx_tarpit_score: float = 5.0
    unknown_recipient_weight: float = 1.0
    mx_half_life_s: float = 3600.0
    violation_weight: float = 1.0
    hostile_violation_weight: float = 5.0  # smuggling; AUTH on port 25
    tarpit_base_s: float = 1.0  # doubled for each further failure
    tarpit_max_s: float = 8.0
    repeat_window_s: float = 24 * 3600.0  # an identical wrong password counts once in this time
    ban_first_s: float = 600.0
    ban_max_s: float = 7 * 24 * 3600.0
    ban_memory_s: float = 30 * 24 * 3600.0  # clean this long and the next ban is a first one


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
    state_dir: Path = Path("/var/lib/gatekeeper")
    run_dir: Path = Path("/run/gatekeeper")
    user: str = "gatekeeper"  # what `run` as root becomes before it reads a byte from the network
    bare_newlines: BareNewlines = BareNewlines.NEUTRALISE
    enforce: EnforceSettings = field(default_factory=EnforceSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    files: tuple[Path, ...] = ()  # what was read, for `check` and the log
