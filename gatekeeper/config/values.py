"""Single values: what a TOML scalar must look like to become a setting.

Every reader takes a `Value` and returns the setting or raises `ValueError` with the text for the
operator. They are also the words of `docs/config.md` for what a key takes.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from gatekeeper.config.durations import parse_duration
from gatekeeper.config.reading import Value
from gatekeeper.host import LOOPBACK
from gatekeeper.policy.blocklists import CodeFilter
from gatekeeper.prefix import Prefix, pack_address
from gatekeeper.secret import Secret
from gatekeeper.settings import Endpoint, WebBind
from gatekeeper.unix_sockets import LONGEST_PATH_OCTETS

LARGEST: Final = 1_000_000_000
LONGEST_S: Final = 366 * 86400.0  # a year and a day: what is longer is a slip, or meant as for ever
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # it stands in logs and metrics
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"  # RFC 1035 2.3.4: 63 octets
_HOST: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*\.?")
_INTERFACE: Final = re.compile(r"(?!\.{1,2}$)[!-+\-.0-9;-~]{1,15}")  # "," is between them
_URL: Final = re.compile(r"[!-~]{1,2048}")
_WILDCARDS: Final = ("*", "")

_KEY: Final = re.compile(r"[A-Za-z0-9]{1,63}")
DNS_PORT: Final = 53
DQS_DOMAIN: Final = ".dq.spamhaus.net"
LONGEST_ZONE: Final = 125  # with 64 of IPv6 nibbles and a key it is a name still (RFC 1035 2.3.4)

E = TypeVar("E", bound=Enum)


def nearest(word: str, words: Iterable[str]) -> str:
    """`: did you mean "x"?`, or nothing where no word is near."""
    near = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f": did you mean {quoted(near[0])}?" if near else ""


def text(value: Value) -> str:
    """A string that is not empty."""
    if not isinstance(value.value, str):
        raise ValueError(f"wants a string, not {kind(value.value)}")
    if not value.value:
        raise ValueError("is empty")
    return value.value


def name(value: Value) -> str:
    """Letters, digits, `.`, `_` and `-`, at most 64."""
    word = text(value)
    if not _NAME.fullmatch(word):
        raise ValueError(f'takes letters, digits, ".", "_" and "-", at most 64: {quoted(word)}')
    return word


def interface(value: Value) -> str:
    """A network interface's name: as Linux takes them, but for commas."""
    word = text(value)
    if not _INTERFACE.fullmatch(word):
        raise ValueError(f"not an interface name: {quoted(word)}")
    return word


def account(value: Value) -> str:
    """An account's name in lower case: backends take names in any case."""
    word = text(value)
    if not word.isprintable():
        raise ValueError(f"holds what no account has: {quoted(word)}")
    return word.lower()


def host_name(value: Value) -> str:
    """A DNS name."""
    word = text(value)
    if not _HOST.fullmatch(word):
        raise ValueError(f"not a host name: {quoted(word)}")
    return word


def server_name(value: Value) -> str:
    """A DNS name in lower case, or `*.` and one (RFC 6125 6.4.3)."""
    word = text(value).lower()
    if not _HOST.fullmatch(word.removeprefix("*.")):
        raise ValueError(f"not a server name: {quoted(word)}")
    return word


def dns_server(value: Value) -> Endpoint:
    """A numeric `ADDRESS`, asked at port 53, or `ADDRESS:PORT`; IPv6 with a port in brackets."""
    word = text(value)
    host, port = word, DNS_PORT
    try:
        pack_address(word)
    except ValueError:
        host, port = _split_endpoint(word)
        _require_address(host, word)
    return Endpoint(host, port)


def dnsbl_zone(value: Value) -> str:
    """The name of a blocklist in lower case, without a key, which is never repeated."""
    word = text(value).lower().rstrip(".")
    if not _HOST.fullmatch(word) or len(word) > LONGEST_ZONE or word.rpartition(".")[2].isdigit():
        raise ValueError("not the name of a zone")
    if word.endswith(DQS_DOMAIN) and word.removesuffix(DQS_DOMAIN).count("."):
        raise ValueError(f'has more than one label before "{DQS_DOMAIN[1:]}": write key = "…"')
    return word


def dnsbl_key(value: Value) -> Secret:
    """A label of letters and digits, which is never repeated."""
    word = text(value)
    if not _KEY.fullmatch(word):
        raise ValueError("not a key: it takes letters and digits, at most 63")
    return Secret(word.encode())


def dnsbl_code(value: Value) -> str:
    """A code of a blocklist, or several in one pattern."""
    word = text(value)
    CodeFilter((word,))
    return word


def boolean(value: Value) -> bool:
    """`true` or `false`."""
    if not isinstance(value.value, bool):
        raise ValueError(f"wants true or false, not {kind(value.value)}")
    return value.value


def count(value: Value) -> int:
    """A whole number from 1."""
    number = value.value
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError(f"wants a whole number, not {kind(number)}")
    if not 1 <= number <= LARGEST:
        raise ValueError(f"out of range: {shortened(number)} (from 1 to {LARGEST})")
    return number


def between(least: int, most: int) -> Callable[[Value], int]:
    """Whole numbers within these bounds, both included."""

    def within(value: Value) -> int:
        number = value.value
        if isinstance(number, bool) or not isinstance(number, int):
            raise ValueError(f"wants a whole number, not {kind(number)}")
        if not least <= number <= most:
            raise ValueError(f"out of range: {shortened(number)} (from {least} to {most})")
        return number

    return within


def number(value: Value) -> float:
    """A number from 0."""
    figure = value.value
    if isinstance(figure, bool) or not isinstance(figure, int | float):
        raise ValueError(f"wants a number, not {kind(figure)}")
    if not 0 <= figure <= LARGEST:  # nor is what is no number (nan)
        raise ValueError(f"out of range: {shortened(figure)} (from 0 to {LARGEST})")
    return float(figure)


def seconds(value: Value) -> float:
    """`"10m"`, `"1h30m"`, or plain seconds; at most `LONGEST_S`."""
    span = parse_duration(value.value) if isinstance(value.value, str) else number(value)
    if span > LONGEST_S:
        raise ValueError("longer than a year")
    return span


def positive(read: Callable[[Value], float]) -> Callable[[Value], float]:
    """`read`, without zero."""

    def above_zero(value: Value) -> float:
        figure = read(value)
        if figure == 0:
            raise ValueError("must be more than 0")
        return figure

    return above_zero


def choice(kinds: type[E]) -> Callable[[Value], E]:
    """One of an enumeration's words."""

    def one(value: Value) -> E:
        word = text(value)
        words = [str(member.value) for member in kinds]
        if word not in words:
            hint = nearest(word, words) or f" (one of {', '.join(words)})"
            raise ValueError(f"no such choice {quoted(word)}{hint}")
        return kinds(word)

    return one


def path(value: Value) -> Path:
    """A file or directory; a relative one starts at the directory of the file that names it."""
    word = text(value)
    if "\0" in word:
        raise ValueError("not a path: it holds a NUL")
    return value.at.file.absolute().parent / word


def prefix(value: Value) -> Prefix:
    """`ADDRESS` or `ADDRESS/LENGTH`."""
    return Prefix.parse(text(value))


def bind_endpoint(value: Value) -> Endpoint:
    """`ADDRESS:PORT` with a numeric address; IPv6 in brackets."""
    word = text(value)
    host, port = _split_endpoint(word)
    if host in _WILDCARDS:
        raise ValueError(f'write "0.0.0.0:{port}" for IPv4 and "[::]:{port}" for IPv6')
    _require_address(host, word)
    if ":" in host and len(pack_address(host)) == 4:  # sockets of IPv6 take no IPv4
        raise ValueError(f'write "{Prefix.parse(host)}:{port}" for IPv4')
    return Endpoint(host, port)


def webhook_url(value: Value) -> Secret:
    """An `https://` address, which is never repeated: it may hold a secret."""
    word = text(value)
    try:
        parts = urlsplit(word)
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not _URL.fullmatch(word) or "@" in parts.netloc or parts.fragment:
        raise ValueError('wants "https://HOST/PATH", without a user name and without spaces')
    return Secret(word.encode())


def web_bind(value: Value) -> WebBind:
    """`unix:PATH`, or `ADDRESS:PORT` with an address of loopback."""
    word = text(value)
    scheme, _, rest = word.partition(":")
    if scheme == "unix" and rest:
        socket_path = path(Value(value.at, rest))
        if len(bytes(socket_path)) > LONGEST_PATH_OCTETS:
            raise ValueError(f"a socket's path has at most {LONGEST_PATH_OCTETS} octets")
        return socket_path
    endpoint = bind_endpoint(value)
    if not any(net.covers(Prefix.parse(endpoint.host)) for net in LOOPBACK):
        raise ValueError(
            f"{quoted(word)} is not loopback, and no password is asked here: write"
            f' "127.0.0.1:{endpoint.port}", and let a proxy that asks for one serve others'
        )
    return endpoint


def backend_endpoint(value: Value) -> Endpoint:
    """`HOST:PORT`, the host a name or an address; IPv6 in brackets."""
    word = text(value)
    host, port = _split_endpoint(word)
    if ":" in host or re.fullmatch(r"[0-9.]+", host):
        _require_address(host, word)
        if not any(pack_address(host)):
            raise ValueError(f'not an address to connect to: {quoted(word)}: write "127.0.0.1"')
    elif not _HOST.fullmatch(host):
        raise ValueError(f"not a host: {quoted(word)}")
    return Endpoint(host, port)


def _split_endpoint(word: str) -> tuple[str, int]:
    host, colon, port = word.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        raise ValueError(f"wants ADDRESS:PORT, not {quoted(word)}")
    if not 1 <= int(port[:6]) <= 65535:
        raise ValueError(f"port out of range: {quoted(word)}")
    if host.startswith("[") and host.endswith("]") and ":" in host:
        return host[1:-1], int(port)
    if ":" in host or "[" in host:
        raise ValueError(f'an IPv6 address stands in brackets, as in "[::1]:993": {quoted(word)}')
    return host, int(port)


def _require_address(host: str, word: str) -> None:
    try:
        pack_address(host)
    except ValueError:
        raise ValueError(f"not an IP address: {quoted(word)}") from None


def quoted(word: str) -> str:
    """`word` in quotes, printable and short."""
    shown = word if len(word) <= 80 else word[:77] + "..."
    return '"' + "".join(c if c.isprintable() else "?" for c in shown) + '"'


def shortened(figure: float) -> str:
    """A number in few digits; one that nothing is counted by has too many to be repeated."""
    return str(figure) if not abs(figure) > 1e20 else "so large a number"


def kind(value: object) -> str:
    """What an operator calls a TOML value of this type."""
    match value:
        case bool():
            return "true or false"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case _:
            return "a date or time"
