"""DNS questions and answers, as far as the guard asks and reads them (RFC 1035)."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class RecordType(Enum):
    """The types of records that are asked for."""

    A = "A"
    AAAA = "AAAA"
    PTR = "PTR"
    MX = "MX"
    TXT = "TXT"


class Question(NamedTuple):
    """A name, without its last dot, and the type of its records.

    A name may hold a blocklist's key, so a question never prints it.
    """

    name: str
    type: RecordType

    def __repr__(self) -> str:  # and so `str()`
        return f"Question(…, {self.type.value})"


@dataclass(frozen=True, slots=True)
class Answer:
    """The records of a question as text, none where the name or the type is not there.

    Addresses in their usual form, names without their last dot, MX as `PREFERENCE NAME`, the
    strings of a TXT record joined.
    """

    records: tuple[str, ...]
    ttl_s: float
