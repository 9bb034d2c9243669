"""`checks/`: which Rules a domain switches. A file's presence is enough; its word may be milder."""

import os
import stat
from collections.abc import Mapping
from itertools import islice
from typing import Final

from gatekeeper.policy.domains import CHECKS
from gatekeeper.settings import Treatment
from gatekeeper.verdict import Reason

ALL: Final = "all"
FILES: Final = (ALL, *(rule.value for rule in CHECKS))
MAX_ENTRIES: Final = 100  # looked at for names that are no check's
_WORD_OCTETS: Final = 64

Checks = Mapping[Reason, Treatment]


def read_checks(directory: str) -> tuple[Checks | None, list[tuple[str, str]]]:
    """What each Rule is for the domain, and what is wrong there: a file's name, and why.

    None where no check is named. Without `all`, single checks that are switched on leave the others
    off, and single ones that are switched off leave the others on. Raises `OSError`.
    """
    wrong = [
        (entry, f"there is no such check: they are {', '.join(FILES)}")
        for entry in _names(directory)[:MAX_ENTRIES]
        if entry not in FILES
    ]
    said: dict[str, Treatment] = {}
    for name in FILES:
        try:
            said[name] = _treatment(f"{directory}/{name}")
        except FileNotFoundError:
            continue
        except ValueError as error:
            wrong.append((name, str(error)))
    if not said:
        return None, wrong
    some_on = any(word is not Treatment.IGNORE for word in said.values())
    others = said.pop(ALL, Treatment.IGNORE if some_on else Treatment.ENFORCE)
    return {rule: said.get(rule.value, others) for rule in CHECKS}, wrong


def _names(directory: str) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in islice(entries, 10 * MAX_ENTRIES) if entry.name[0] != "."]


def _treatment(path: str) -> Treatment:
    """The word in a file; an empty one enforces. Raises `ValueError` or `OSError`."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("is no file")
        word = os.read(fd, _WORD_OCTETS).decode("ascii", "replace").strip()
    finally:
        os.close(fd)
    words = [treatment.value for treatment in Treatment]
    if word and word not in words:
        raise ValueError(f"holds none of {', '.join(words)}")
    return Treatment(word) if word else Treatment.ENFORCE
