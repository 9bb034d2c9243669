"""A password or token, kept from every place where it could be seen.

A `Secret` never prints, compares only by keyed fingerprint, and cannot be pickled or formatted.
Reading it is one explicit word, `declassify`, so that every use can be found by searching for it.
"""

import hashlib
from typing import Final, NoReturn

FINGERPRINT_OCTETS: Final = 8  # 64 bits: 2^32 distinct passwords before one likely collision


class Secret:
    """Octets that must not be seen: a password, a token, a SASL blob."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def declassify(self) -> bytes:
        """The octets themselves. Callers pass them on to the backend and keep no copy."""
        return self._octets

    def fingerprint(self, key: bytes, context: bytes = b"") -> bytes:
        """A keyed one-way name of `FINGERPRINT_OCTETS` octets for this secret.

        `key` is random per process or per epoch (at most 64 octets); `context`, such as the
        account, is bound in so that equal passwords of two accounts differ.
        """
        digest = hashlib.blake2b(key=key, digest_size=FINGERPRINT_OCTETS)
        digest.update(len(context).to_bytes(4, "big") + context + self._octets)
        return digest.digest()

    def __len__(self) -> int:
        return len(self._octets)

    def __bool__(self) -> bool:
        return bool(self._octets)

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        raise TypeError("compare secrets by fingerprint")

    __hash__ = None  # type: ignore[assignment]  # unhashable on purpose: no dict of secrets

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not serialisable")
