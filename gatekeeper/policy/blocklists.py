"""What blocklists say: names to ask for, codes to read, errors to recognise (RFC 5782).

Theory of operation. A listing is an address in 127.0.0.0/8 whose octets are a code. Lists also
answer with codes that are none: "you ask too much", "not through this resolver", and who asks a
zone that was given up, or through a resolver that rewrites answers, gets any address at all. Taking
those for listings refuses all mail, so they are told apart here, and one of them among the records
spoils the whole answer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gatekeeper.prefix import pack_address

ANY_CODE: Final = ("127.*.*.*",)
DNSWL: Final = "list.dnswl.org"
_SPAMHAUS: Final = (".spamhaus.org", ".spamhaus.net")
_AUTHBL: Final = "authbl."
# ZEN's own codes (docs.spamhaus.com); others may come and mean something else.
_ZEN_CODES: Final = ("127.0.0.2-7", "127.0.0.9-11")
_ZEN_NAMES: Final = (
    {2: "SBL", 3: "CSS", 9: "DROP", 10: "PBL", 11: "PBL", 20: "AuthBL"}
    | dict.fromkeys(range(4, 8), "XBL")
)  # fmt: skip
_ERRORS: Final = {
    252: "the zone's name is mistyped",
    254: "it does not answer queries through a public resolver",
    255: "too many queries",
}
_ERROR_NETWORK: Final = b"\x7f\xff\xff"  # 127.255.255.0/24: Spamhaus and those who followed
_REFUSED: Final = b"\x7f\x00\x00\x01"  # URIBL and SURBL: bit 1, which is no listing anywhere
_DNSWL_REFUSED: Final = b"\x7f\x00\x00\xff"
_DNSWL_SPECIAL: Final = b"\x7f\x00\x0a"  # its entry for tests, and what it may tell heavy users


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer of a list says: the codes in it, or why it is an error."""

    codes: tuple[str, ...] = ()
    error: str = ""


def reversed_address(address: str) -> str:
    """The first labels of the name to ask for: octets of IPv4, nibbles of IPv6, the last first
    (RFC 5782 2.1, 2.4). Raises `ValueError` where `address` is none."""
    packed = pack_address(address)
    if len(packed) == 4:
        return ".".join(map(str, reversed(packed)))
    return ".".join(reversed(packed.hex()))


def read_answer(zone: str, records: Iterable[str]) -> Reading:
    """Read the A records that `zone`, named without its key, answered with; none is no listing."""
    codes = []
    for record in records:
        code = pack_address(record)
        error = _error(zone, code)
        if error:
            return Reading(error=error)
        if zone != DNSWL or code[:3] != _DNSWL_SPECIAL:
            codes.append(record)
    return Reading(tuple(sorted(codes, key=pack_address)))


def _error(zone: str, code: bytes) -> str:
    if code[0] != 127:
        return "it answers with addresses outside 127.0.0.0/8"
    if code[:3] == _ERROR_NETWORK:
        return _ERRORS.get(code[3], f"it answers with the error 127.255.255.{code[3]}")
    if code == _REFUSED:
        return "it answers with 127.0.0.1: queries are refused"
    if zone == DNSWL and code == _DNSWL_REFUSED:
        return "too many queries"
    return ""


def code_name(zone: str, code: str) -> str:
    """What the list calls the code, `XBL`; empty where that is not known."""
    octets = pack_address(code)
    if _is_spamhaus(zone) and octets[:3] == b"\x7f\x00\x00":
        return _ZEN_NAMES.get(octets[3], "")
    return ""


def default_codes(zone: str) -> tuple[str, ...]:
    """The codes that count where the operator names none."""
    if _is_spamhaus(zone):
        return ("127.0.0.20",) if is_authbl(zone) else _ZEN_CODES
    return ANY_CODE


def is_authbl(zone: str) -> bool:
    """Whether the list names who guesses passwords."""
    return _is_spamhaus(zone) and zone.startswith(_AUTHBL)


def _is_spamhaus(zone: str) -> bool:
    return f".{zone}".endswith(_SPAMHAUS)


class CodeFilter:
    """Codes that count: four octets, each a number, a range `2-7` or `*`."""

    __slots__ = ("_ranges",)

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises `ValueError` with words for the operator."""
        self._ranges = tuple(map(_ranges, patterns))

    def matches(self, code: str) -> bool:
        """Whether `code` is one of them."""
        octets = pack_address(code)
        return any(
            all(low <= octet <= high for octet, (low, high) in zip(octets, ranges, strict=True))
            for ranges in self._ranges
        )


def _ranges(pattern: str) -> tuple[tuple[int, int], ...]:
    ranges = tuple(map(_range, pattern.split(".")))
    if len(ranges) != 4 or None in ranges:
        text = "wants a code like 127.0.0.2, 127.0.0.4-7 or 127.0.*.1-3"
        raise ValueError(text)
    found = tuple(one for one in ranges if one is not None)
    if found[0] != (127, 127):
        raise ValueError("codes are in 127.0.0.0/8: the first octet is 127")
    return found


def _range(octet: str) -> tuple[int, int] | None:
    if octet == "*":
        return 0, 255
    low, dash, high = octet.partition("-")
    if not dash:
        high = low
    if not (low.isascii() and low.isdigit() and high.isascii() and high.isdigit()):
        return None
    if len(low) > 3 or len(high) > 3 or not int(low) <= int(high) <= 255:
        return None
    return int(low), int(high)
