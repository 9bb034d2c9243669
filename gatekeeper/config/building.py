"""The tree as `Settings`: one function per table, every problem noted."""

import dataclasses
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from gatekeeper.config import values
from gatekeeper.config.reading import Value
from gatekeeper.config.sections import Section
from gatekeeper.events import MailProtocol
from gatekeeper.policy.blocklists import is_authbl
from gatekeeper.policy.rules import RULE_NAMES
from gatekeeper.settings import (
    AccountSettings,
    Announce,
    AskedOn,
    BackendSettings,
    BareNewlines,
    CertificatePair,
    DnsblSettings,
    DnsSettings,
    DomainsSettings,
    EnforceSettings,
    HookSettings,
    HttpSettings,
    LimitSettings,
    ListenerSettings,
    ListKind,
    Mode,
    NotifySettings,
    OnError,
    PolicySettings,
    Settings,
    SniSettings,
    StoreSettings,
    TlsMode,
    TlsSettings,
    Treatment,
)
from gatekeeper.verdict import Reason

# Numbers for which nought has a meaning: the thing does not count, is not waited for.
MAY_BE_ZERO: Final = frozenset(
    {
        "auth_ban_score_per_account",
        "auth_failure_weight",
        "greet_wait_s",
        "greet_passed_s",
        "ban_spares_s",
        "violation_weight",
        "hostile_violation_weight",
        "tarpit_base_s",
        "tarpit_max_s",
        "repeat_window_s",
        "refused_for_s",
        "asked_back_ppm",
        "lane_lock_s",
        "account_hold_s",
        "breaker_people_share",
        "drain_s",
    }
)
DATABASE_NAME: Final = "gatekeeper.db"  # in the state directory, where nothing else is said
_SQLITE: Final = "sqlite://"
RATE_MOST: Final = 1_000_000  # what the kernel process takes, `kernel.options`

Numbers = TypeVar("Numbers", PolicySettings, LimitSettings)


def build(top: Section, files: tuple[Path, ...]) -> Settings:
    """`Settings` of the top-level table. They hold stand-ins where `top` has noted problems."""
    defaults = Settings("", TlsSettings(), (), {})
    state_dir = top.take("state_dir", values.path, defaults.state_dir)
    settings = Settings(
        hostname=top.take("hostname", values.host_name, "") or socket.getfqdn(),
        tls=_tls(top.section("tls")),
        listeners=tuple(_listener(one) for one in top.sections("listener", "[[listener]]")),
        backends={name: _backend(name, one) for name, one in top.named("backend").items()},
        mode=top.take("mode", values.choice(Mode), defaults.mode),
        allow=top.each("allow", values.prefix),
        block=top.each("block", values.prefix),
        state_dir=state_dir,
        run_dir=top.take("run_dir", values.path, defaults.run_dir),
        user=top.take("user", values.name, defaults.user),
        bare_newlines=top.take(
            "bare_newlines", values.choice(BareNewlines), defaults.bare_newlines
        ),
        enforce=_enforce(top.section("enforce")),
        store=_store(top.section("store"), state_dir),
        policy=_numbers(top.section("policy"), PolicySettings()),
        rules=_rules(top.section("rules")),
        accounts=_accounts(top.named("account")),
        trap_accounts=top.each("trap_accounts", values.account),
        limits=_numbers(top.section("limits"), LimitSettings()),
        dns=_dns(top.section("dns")),
        dnsbl=tuple(_dnsbl(one) for one in top.sections("dnsbl", "[[dnsbl]]")),
        domains=_domains(top.section("domains")),
        http=_http(top.section("http")),
        hooks=_hooks(top),
        notify=_notify(top.section("notify")),
        files=files,
    )
    top.done()
    return settings


def _tls(section: Section) -> TlsSettings:
    pairs = _pairs(section) if section.has("certificate") or section.has("private_key") else ()
    sni = tuple(_sni(one) for one in section.sections("sni", "[[tls.sni]]"))
    section.expect("certificate", "private_key")
    section.done()
    return TlsSettings(pairs, sni)


def _sni(section: Section) -> SniSettings:
    settings = SniSettings(section.require_each("names", values.server_name), _pairs(section))
    section.done()
    return settings


def _pairs(section: Section) -> tuple[CertificatePair, ...]:
    certificates = section.require_each("certificate", values.path)
    keys = section.require_each("private_key", values.path)
    if certificates and keys and len(certificates) != len(keys):
        section.blame(
            "private_key",
            f"{len(keys)} for {len(certificates)} in certificate: each has its own, in one order",
        )
    return tuple(CertificatePair(*pair) for pair in zip(certificates, keys, strict=False))


def _listener(section: Section) -> ListenerSettings:
    name = section.require("name", values.name, "")
    if name:
        section.title = f'[[listener]] "{name}"'
    settings = ListenerSettings(
        name=name,
        protocol=section.require("protocol", values.choice(MailProtocol), MailProtocol.SMTP),
        bind=section.require_each("bind", values.bind_endpoint),
        tls=section.require("tls", values.choice(TlsMode), TlsMode.NONE),
        backend=section.require("backend", values.text, ""),
        proxy_protocol_from=section.each("proxy_protocol_from", values.prefix),
    )
    section.done()
    return settings


def _backend(name: str, section: Section) -> BackendSettings:
    defaults = BackendSettings("", ())
    try:
        values.name(Value(section.place(), name))
    except ValueError as error:
        section.blame("", f"a name {error}" if name else "has no name")
    settings = BackendSettings(
        name=name,
        address=section.require_each("address", values.backend_endpoint),
        tls=section.take("tls", values.choice(TlsMode), defaults.tls),
        announce=section.take("announce", values.choice(Announce), defaults.announce),
        tls_ca=section.take("tls_ca", values.path, None),
        tls_name=section.take("tls_name", values.host_name, defaults.tls_name),
        proxy_tlvs=section.take("proxy_tlvs", values.boolean, None),
        connect_timeout_s=section.take(
            "connect_timeout", values.positive(values.seconds), defaults.connect_timeout_s
        ),
    )
    section.done()
    return settings


def _enforce(section: Section) -> EnforceSettings:
    defaults = EnforceSettings()
    settings = EnforceSettings(
        nft=section.take("nft", values.boolean, defaults.nft),
        kernel_socket=section.take("kernel_socket", values.path, defaults.kernel_socket),
        syn_rate=section.take("syn_rate", values.between(0, RATE_MOST), defaults.syn_rate),
        syn_burst=section.take("syn_burst", values.between(1, RATE_MOST), defaults.syn_burst),
        xdp=section.each("xdp", values.interface),
    )
    if settings.xdp and not settings.nft:
        section.blame("xdp", "needs nft = true: XDP is the short cut, nftables the rule")
    if settings.kernel_socket is not None and not settings.nft:
        section.blame("kernel_socket", "needs nft = true")
    section.done()
    return settings


def _store(section: Section, state_dir: Path) -> StoreSettings:
    default: Path | None = state_dir / DATABASE_NAME
    path = section.take("url", _store_path, default)
    section.done()
    return StoreSettings(path)


def _store_path(value: Value) -> Path | None:
    url = values.text(value)
    if url == "memory:":
        return None
    if not url.startswith(f"{_SQLITE}/") or url.endswith("/"):
        raise ValueError(f'wants "sqlite:///PATH" or "memory:", not {values.quoted(url)}')
    return values.path(Value(value.at, url.removeprefix(_SQLITE)))


def _dns(section: Section) -> DnsSettings:
    settings = DnsSettings(
        servers=section.each("servers", values.dns_server),
        deadline_s=section.take(
            "deadline", values.positive(values.seconds), DnsSettings().deadline_s
        ),
    )
    section.done()
    return settings


def _dnsbl(section: Section) -> DnsblSettings:
    defaults = DnsblSettings("")
    settings = DnsblSettings(
        zone=section.require("zone", values.dnsbl_zone, ""),
        kind=section.take("kind", values.choice(ListKind), defaults.kind),
        codes=section.each("codes", values.dnsbl_code),
        weight=section.take("weight", values.positive(values.number), defaults.weight),
        on=section.take("on", values.choice(AskedOn), defaults.on),
        policy=section.take("policy", values.choice(Treatment), defaults.policy),
        key=section.take("key", values.dnsbl_key, None),
    )
    if settings.key is None and settings.zone.endswith(values.DQS_DOMAIN):
        section.blame("zone", f'{settings.zone} is asked with a key: write key = "…"')
    if is_authbl(settings.zone) and settings.on is not AskedOn.AUTH:
        section.blame("zone", f'{settings.zone} is about logins: write on = "auth"')
    section.done()
    return settings


def _domains(section: Section) -> DomainsSettings:
    settings = DomainsSettings(section.take("root", values.path, DomainsSettings().root))
    section.done()
    return settings


def _http(section: Section) -> HttpSettings:
    settings = HttpSettings(
        section.take("bind", values.web_bind, HttpSettings().bind),
        section.take("token_file", values.path, HttpSettings().token_file),
    )
    if settings.token_file is not None and not section.has("bind"):
        section.blame("token_file", "has no use without bind: nothing is served")
    section.done()
    return settings


def _hooks(top: Section) -> HookSettings:
    """A list of files, or a table in which they are `files`."""
    defaults = HookSettings()
    if not top.holds_table("hooks"):
        return HookSettings(files=top.each("hooks", values.path))
    section = top.section("hooks")
    settings = HookSettings(
        files=section.each("files", values.path),
        deadline_s=section.take("deadline", values.positive(values.seconds), defaults.deadline_s),
        on_error=section.take("on_error", values.choice(OnError), defaults.on_error),
    )
    section.done()
    return settings


def _notify(section: Section) -> NotifySettings:
    defaults = NotifySettings()
    settings = NotifySettings(
        exec=section.take("exec", values.path, defaults.exec),
        webhook=section.take("webhook", values.webhook_url, defaults.webhook),
        webhook_authorization=section.take("webhook_authorization", values.path, None),
        webhook_ca=section.take("webhook_ca", values.path, defaults.webhook_ca),
        deadline_s=section.take("deadline", values.positive(values.seconds), defaults.deadline_s),
    )
    for key in ("webhook_authorization", "webhook_ca"):
        if section.has(key) and not section.has("webhook"):
            section.blame(key, "there is no webhook that it could be for")
    section.done()
    return settings


def _rules(section: Section) -> dict[Reason, Treatment]:
    """What is done about single rules, in the order of the built-in ones."""
    treatments: dict[Reason, Treatment] = {}
    for name in RULE_NAMES:
        treatment = section.take(name.value, values.choice(Treatment), None)
        if treatment is not None:
            treatments[name] = treatment
    section.done()
    return treatments


def _accounts(sections: dict[str, Section]) -> dict[str, AccountSettings]:
    """What is different for single accounts, by lower-case name."""
    accounts: dict[str, AccountSettings] = {}
    for name, section in sections.items():
        try:
            values.account(Value(section.place(), name))
        except ValueError as error:
            section.blame("", str(error) if name else "names no account")
        if name.lower() in accounts:
            section.blame("", "is there in another spelling: case does not count")
        accounts[name.lower()] = _account(section)
    return accounts


def _account(section: Section) -> AccountSettings:
    settings = AccountSettings(
        recipients_burst=section.take("recipients_burst", values.count, None),
        recipients_10m=section.take("recipients_10m", values.count, None),
        recipients_day=section.take("recipients_day", values.count, None),
    )
    section.done()
    return settings


def _numbers(section: Section, defaults: Numbers) -> Numbers:
    """A record of numbers, read by its own fields: durations lose their `_s` in TOML."""
    found: dict[str, Any] = {}  # the fields' types are read off the defaults, one by one
    for field in dataclasses.fields(defaults):
        default = getattr(defaults, field.name)
        key = field.name.removesuffix("_s")
        if isinstance(default, int):
            found[field.name] = section.take(key, values.count, default)
            continue
        read: Callable[[Value], float] = values.seconds
        if key == field.name:
            read = values.number
        if field.name not in MAY_BE_ZERO:
            read = values.positive(read)
        found[field.name] = section.take(key, read, default)
    section.done()
    return dataclasses.replace(defaults, **found)
