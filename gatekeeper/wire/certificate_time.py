"""Until when a certificate is valid: as much of X.509 as that takes (RFC 5280 4.1).

Python's `ssl` shows a certificate's fields only of a peer it has verified, and one that has ended
is not. So the way to `notAfter` is walked here, strictly: DER has one form for everything.
"""

from calendar import timegm
from typing import Final

_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0  # [0] EXPLICIT, absent in version 1
_INTEGER: Final = 0x02
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_FORMS: Final = {_UTC_TIME: 13, _GENERALIZED_TIME: 15}  # octets: YYMMDDHHMMSSZ, YYYYMMDDHHMMSSZ
_CENTURY_AT: Final = 50  # RFC 5280 4.1.2.5.1: two digits from 50 on are of the last century


def not_after(der: bytes) -> float:
    """The end of a certificate's validity, in Unix time. Raises `ValueError`."""
    certificate, _ = _value(der, 0, _SEQUENCE)
    inner, _ = _value(certificate, 0, _SEQUENCE)  # tbsCertificate
    at = 0
    if inner[:1] == bytes([_VERSION]):
        _, at = _value(inner, at, _VERSION)
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE):  # serialNumber, signature, issuer
        _, at = _value(inner, at, tag)
    validity, _ = _value(inner, at, _SEQUENCE)
    _, behind = _time(validity, 0)
    end, _ = _time(validity, behind)
    return end


def _value(der: bytes, at: int, tag: int) -> tuple[bytes, int]:
    """The content of the element at `at`, and where the next one begins."""
    if at + 2 > len(der) or der[at] != tag:
        raise ValueError(f"no element of type {tag:#04x} where one is due")
    length, start = der[at + 1], at + 2
    if length & 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 4 or start + octets > len(der):
            raise ValueError("a length that is none")
        length, start = int.from_bytes(der[start : start + octets], "big"), start + octets
    if start + length > len(der):
        raise ValueError("it ends too early")
    return der[start : start + length], start + length


def _time(der: bytes, at: int) -> tuple[float, int]:
    tag = der[at] if at < len(der) else 0
    if tag not in _FORMS:
        raise ValueError("no time where one is due")
    content, behind = _value(der, at, tag)
    digits = content[:-1]
    if len(content) != _FORMS[tag] or content[-1:] != b"Z" or not digits.isdigit():
        raise ValueError("not a time of RFC 5280")
    if tag == _UTC_TIME:
        digits = (b"19" if int(digits[:2]) >= _CENTURY_AT else b"20") + digits
    year, *rest = int(digits[:4]), *(int(digits[i : i + 2]) for i in range(4, 14, 2))
    return float(timegm((year, *rest))), behind
