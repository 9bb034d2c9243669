"""What a look at the host found."""

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """An error keeps the guard from starting or serving; with a warning it does both."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing for the operator. `subject` is a file, an endpoint or a setting."""

    severity: Severity
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity.value}: {self.subject}: {self.text}"


def error(subject: object, text: str) -> Finding:
    """A finding that is an error."""
    return Finding(Severity.ERROR, str(subject), text)


def warning(subject: object, text: str) -> Finding:
    """A finding that is a warning."""
    return Finding(Severity.WARNING, str(subject), text)
