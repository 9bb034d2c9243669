"""Base64 as SASL profiles demand it: what two decoders could read differently is refused."""

import binascii
import re
from typing import Final

_FORM: Final = re.compile(rb"[A-Za-z0-9+/]*={0,2}")


def decode_base64(text: bytes) -> bytes | None:
    """The octets `text` encodes, or None where it is not base64.

    RFC 4954 4 has servers reject octets outside the alphabet and `=` anywhere but at the end;
    lenient decoders skip both, and would read another credential than the guard did. The form is
    checked here because the strict mode of `binascii` passes `AAAA====`.
    """
    if len(text) % 4 or not _FORM.fullmatch(text):
        return None
    return binascii.a2b_base64(text)
