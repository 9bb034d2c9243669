"""What single keys cannot show: whether the settings make sense together."""

from collections.abc import Collection, Iterator
from typing import Final

from gatekeeper.config.sections import Section
from gatekeeper.config.values import bind_endpoint, nearest, quoted
from gatekeeper.events import MailProtocol
from gatekeeper.policy.accounts import MAX_NEW_NETS
from gatekeeper.policy.breaker import MAX_NOTED
from gatekeeper.policy.distinct import BITS
from gatekeeper.policy.pairs import COMEBACK_S
from gatekeeper.prefix import pack_address
from gatekeeper.settings import (
    Announce,
    BackendSettings,
    Endpoint,
    ListenerSettings,
    PolicySettings,
    Settings,
    TlsMode,
)
from gatekeeper.unix_sockets import CONTROL_NAME, LONGEST_PATH_OCTETS

_WILDCARDS: Final = (bytes(4), bytes(16))
_LOCALHOST: Final = (b"\x7f\0\0\1", bytes(15) + b"\x01")
_LOOPBACKS: Final = (b"\x7f", bytes(15) + b"\x01")  # by the first octets

# The first key's number must not be above the second's.
_ORDERS: Final = (
    ("auth_tarpit_score", "auth_ban_score"),
    ("tarpit_base", "tarpit_max"),
    ("refused_for", "repeat_window"),  # what is refused here is looked up among the repeated ones
    ("attacked_guesses", "lane_guesses"),
    ("harvest_defer", "harvest_ban"),
    ("harvest_ban_first", "ban_max"),
    ("ban_first", "ban_max"),
    ("mx_connections_per_address", "mx_connections_per_network"),
    ("recipients_burst", "recipients_day"),
)
# Defaults that give way to what they are compared with; only whoever writes them is told.
_YIELDING: Final = frozenset({"refused_for", "harvest_ban_first", "recipients_burst"})
# Above these a rule would never speak, and nobody would be told.
_MOST: Final = {
    "auth_suspect_share": 1,
    "greet_wait": 60,  # some clients wait no longer than that (RFC 5321 4.5.3.2.1 has 5 minutes)
    "retry_after": COMEBACK_S,  # who comes later than that is asked anew
    "asked_back_ppm": 1_000_000,
    "sprayed_accounts": 64,  # the bits of a cell (policy.spraying)
    "lane_guesses": BITS,
    "harvest_ban": 1000,  # what so many bits tell apart by estimate (policy.recipients)
    "new_nets_hour": MAX_NEW_NETS,
    "breaker_bans_minute": MAX_NOTED - 1,
    "breaker_people_share": 1,
}
_TABLES: Final = ("listeners", "backends")
_TABLES_MOST: Final = 256  # each is compared with each
_LISTENER_KEYS: Final = ("protocol", "bind", "tls", "backend")  # which must be there
# Both go to the kernel process in one packet of 64 KiB, beside the host's own addresses.
_LISTED_MOST: Final = {"allow": 400, "block": 900}


def check_together(settings: Settings, top: Section) -> None:
    """Note in `top` every contradiction between keys of `settings`, which were built from it."""
    listeners = list(zip(settings.listeners, top.sections("listener", "[[listener]]"), strict=True))
    if not listeners and not top.has("listener"):
        top.blame("", "no [[listener]]: there is nothing to guard")
    if too_many := [key for key in _TABLES if len(getattr(settings, key)) > _TABLES_MOST]:
        for key in too_many:
            count = len(getattr(settings, key))
            top.blame(key.removesuffix("s"), f"{count} {key}: {_TABLES_MOST} at most")
        return
    for listener, section in listeners:
        if listener.name:
            section.title = f'[[listener]] "{listener.name}"'
        _check_certificate(listener, section, top)
        _check_route(listener, section, settings, top)
    _check_names(listeners)
    _check_binds([(listener.name, section) for listener, section in listeners])
    backends = top.named("backend")
    for name, backend in settings.backends.items():
        _check_backend(backend, backends[name], settings)
    _check_sockets(settings, top)
    _check_http(settings, top)
    _check_twice(settings, top)
    _check_policy(settings, top)
    _check_accounts(settings, top)
    _check_lists(settings, top)


def _check_lists(settings: Settings, top: Section) -> None:
    for key, most in _LISTED_MOST.items():
        count = len(getattr(settings, key))
        if count > most:
            hint = "; gatekeeper import list takes more" if key == "block" else ""
            top.blame(key, f"{count} networks: {most} at most{hint}")


def _check_certificate(listener: ListenerSettings, section: Section, top: Section) -> None:
    tls = top.section("tls")
    configured = tls.has("certificate") or tls.has("private_key")  # half a pair is told of there
    if listener.tls is not TlsMode.NONE and not configured:
        section.blame("tls", "needs a certificate: [tls] has none")


def _check_names(listeners: list[tuple[ListenerSettings, Section]]) -> None:
    """Half a listener in a drop-in file may be meant for one that is called otherwise."""
    for listener, section in listeners:
        file = section.place().file
        others = [one.name for one, other in listeners if other.place().file != file]
        hint = nearest(listener.name, others)
        if hint and listener.name and not all(map(section.has, _LISTENER_KEYS)):
            section.blame("", f"no other file has it{hint}")


def _check_route(
    listener: ListenerSettings, section: Section, settings: Settings, top: Section
) -> None:
    if section.wrong("backend") or section.wrong("protocol"):
        return
    backend = settings.backends.get(listener.backend)
    if backend is None:
        if top.wrong("backend") or top.section("backend").has(listener.backend):
            return  # it is no table, which is told there
        hint = nearest(listener.backend, settings.backends)
        section.blame("backend", f"there is no [backend.{listener.backend}]{hint}")
        return
    imap = listener.protocol is MailProtocol.IMAP
    if backend.announce is Announce.IMAP_ID and not imap:
        section.blame("backend", f"{quoted(backend.name)} announces by IMAP ID, which is not SMTP")
    if backend.announce is Announce.XCLIENT and imap:
        section.blame("backend", f"{quoted(backend.name)} announces by XCLIENT, which is not IMAP")


def _check_binds(listeners: list[tuple[str, Section]]) -> None:
    """Two sockets cannot have one address, nor one of them all addresses of that port."""
    taken: list[tuple[Endpoint, str]] = []
    for name, section in listeners:
        for value in section.elements("bind"):
            try:
                endpoint = bind_endpoint(value)
            except ValueError:
                continue  # told already
            for other, owner in taken:
                if _collide(endpoint, other):
                    text = f"{endpoint} collides with {other} of listener {quoted(owner)}"
                    section.blame_value("bind", value, text)
                    break
            taken.append((endpoint, name))


def _collide(one: Endpoint, other: Endpoint) -> bool:
    if one.port != other.port:
        return False
    first, second = pack_address(one.host), pack_address(other.host)
    if len(first) != len(second):
        return False  # IPv6 sockets are made for IPv6 alone
    return first == second or first in _WILDCARDS or second in _WILDCARDS


def _check_sockets(settings: Settings, top: Section) -> None:
    """unix(7) has a bound for the paths of sockets, which bind(2) tells without a name."""
    spare = LONGEST_PATH_OCTETS - len(f"/{CONTROL_NAME}")
    if len(bytes(settings.run_dir)) > spare:
        top.blame("run_dir", f"has more than {spare} octets: a socket in it cannot be made")
    kernel = settings.enforce.kernel_socket
    if kernel is not None and len(bytes(kernel)) > LONGEST_PATH_OCTETS:
        text = f"a socket's path has at most {LONGEST_PATH_OCTETS} octets"
        top.section("enforce").blame("kernel_socket", text)


def _check_twice(settings: Settings, top: Section) -> None:
    """What would count double."""
    seen: dict[object, int] = {}
    for zone, section in zip(settings.dnsbl, top.sections("dnsbl", "[[dnsbl]]"), strict=True):
        first = seen.setdefault((zone.zone, zone.on, zone.codes), section.place().line)
        if first != section.place().line and zone.zone:
            section.blame("zone", f"{zone.zone} stands twice: the first is in line {first}")
    hooks = top.section("hooks") if top.holds_table("hooks") else top
    key = "hooks" if hooks is top else "files"
    files: set[object] = set()
    for value in hooks.elements(key):
        if value.value in files:
            hooks.blame_value(key, value, f"{quoted(str(value.value))} stands twice")
        files.add(value.value)


def _check_http(settings: Settings, top: Section) -> None:
    bind, section = settings.http.bind, top.section("http")
    if bind == settings.run_dir / CONTROL_NAME:
        section.blame("bind", "that is the control socket")
    if bind is not None and bind == settings.enforce.kernel_socket:
        section.blame("bind", "that is the socket of the kernel process")
    if not isinstance(bind, Endpoint):
        return
    for listener in settings.listeners:
        for other in listener.bind:
            if _collide(bind, other):
                text = f"{bind} collides with {other} of listener {quoted(listener.name)}"
                section.blame("bind", text)


def _check_backend(backend: BackendSettings, section: Section, settings: Settings) -> None:
    if backend.tls is TlsMode.NONE and not section.wrong("tls"):
        for key in ("tls_ca", "tls_name"):
            if section.has(key):
                section.blame(key, 'has no use without tls: write tls = "starttls" or "implicit"')
    proxy_v2 = backend.announce is Announce.PROXY_V2 or section.wrong("announce")
    if backend.proxy_tlvs is not None and not proxy_v2:
        section.blame("proxy_tlvs", 'is for announce = "proxy-v2" only')
    if backend.announce is Announce.TRANSPARENT:
        _check_transparent(backend, section, settings)
    for listener in settings.listeners:
        for text in loops_between(backend, listener):
            section.blame("address", text)


def _check_transparent(backend: BackendSettings, section: Section, settings: Settings) -> None:
    if not settings.enforce.nft:
        section.blame("announce", '"transparent" needs the kernel process: [enforce] nft = true')
    if settings.enforce.kernel_socket is not None:
        text = '"transparent" needs a guard that is started as root: no [enforce] kernel_socket'
        section.blame("announce", text)
    for endpoint in backend.address:
        try:
            pack_address(endpoint.host)
        except ValueError:
            text = f'{quoted(endpoint.host)} is a name; "transparent" takes numeric addresses only'
            section.blame("address", text)


def loops_between(
    backend: BackendSettings, listener: ListenerSettings, own: Collection[bytes] = ()
) -> Iterator[str]:
    """What is wrong with each address of a backend that is this listener's, which serves `own`
    addresses where it listens on all. A name but `localhost` means nothing here."""
    for endpoint in backend.address:
        addresses: tuple[bytes, ...] = _LOCALHOST
        if endpoint.host.lower().rstrip(".") != "localhost":
            try:
                addresses = (pack_address(endpoint.host),)
            except ValueError:
                continue
        ports = [pack_address(bind.host) for bind in listener.bind if bind.port == endpoint.port]
        if any(_reaches(bound, one, own) for bound in ports for one in addresses):
            yield f"{endpoint} is listener {quoted(listener.name)} itself: a loop"


def _reaches(bound: bytes, address: bytes, own: Collection[bytes]) -> bool:
    """Whether who calls `address` finds what is bound to `bound`."""
    here = address.startswith(_LOOPBACKS) or address in own
    everywhere = bound in _WILDCARDS and len(bound) == len(address)
    return bound == address or (everywhere and here)


def _check_policy(settings: Settings, top: Section) -> None:
    section = top.section("policy")
    policy = settings.policy
    for low, high in _ORDERS:
        first, second = _number(policy, low), _number(policy, high)
        if first > second and (section.has(low) or low not in _YIELDING):
            at = low if section.has(low) else high
            section.blame(at, f"{low} is above {high} ({first:.0f} and {second:.0f})")
    for key, most in _MOST.items():
        number = _number(policy, key)
        if number > most:
            section.blame(key, f"out of range: {number:g} (at most {most:.0f})")


def _check_accounts(settings: Settings, top: Section) -> None:
    """An account that may send more at once than in a day, and one that is there and is not."""
    for name, section in top.named("account").items():
        burst = settings.accounts[name.lower()].recipients_burst or 0
        day = settings.accounts[name.lower()].recipients_day or settings.policy.recipients_day
        if burst > day:
            text = f"recipients_burst is above recipients_day ({burst} and {day})"
            section.blame("recipients_burst", text)
        if name.lower() in settings.trap_accounts:
            section.blame("", "is one of trap_accounts, which nobody has")


def _number(policy: PolicySettings, key: str) -> float:
    field = key if hasattr(policy, key) else f"{key}_s"
    return float(getattr(policy, field))
