"""Base64 as SASL profiles demand it: what two decoders could read differently is refused."""

import binascii


def decode_base64(text: bytes) -> bytes | None:
    """The octets `text` encodes, or None where it is not base64.

    RFC 4954 4 has servers reject octets outside the alphabet and `=` anywhere but at the end;
    lenient decoders skip both, and would read another credential than the guard did.
    """
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return None
