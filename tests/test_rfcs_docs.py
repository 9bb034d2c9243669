"""docs/rfcs.md names every standard the code cites, and files that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "rfcs.md"
VERDICTS = {"yes", "partial", "passed", "no"}


def table_rows(text: str) -> list[list[str]]:
    """The cells of each row whose third one says how far a standard is followed."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return [row for row in rows if row[2] in VERDICTS]


def listed(rows: list[list[str]]) -> set[str]:
    """The numbers in the first cells."""
    return {number for row in rows for number in re.findall(r"\d+", row[0])}


def cited(text: str) -> set[str]:
    """The numbers of the RFCs that code or prose cites."""
    return set(re.findall(r"RFC (\d{3,5})", text))


ROWS = table_rows(DOCUMENT.read_text(encoding="utf-8"))


def test_every_row_has_five_cells_and_a_verdict() -> None:
    lines = [
        line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("|")
    ]
    headings = sum(line.startswith("|---") for line in lines)
    assert len(ROWS) == len(lines) - 2 * headings
    assert [row for row in ROWS if len(row) != 5] == []


def test_every_rfc_the_code_cites_is_listed() -> None:
    sources = (ROOT / "gatekeeper").rglob("*.py")
    numbers = {number for path in sources for number in cited(path.read_text(encoding="utf-8"))}
    assert len(numbers) > 20
    assert numbers - listed(ROWS) == set()


def test_every_file_named_exists() -> None:
    named = {name for row in ROWS for name in re.findall(r"`([\w/]+\.py)`", " ".join(row))}
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / "gatekeeper" / name).is_file()] == []


def test_a_citation_that_is_not_listed_is_seen() -> None:
    rows = table_rows("| 5321 | SMTP | yes | `a.py` | |\n| RFC | title | here | file | note |")
    assert cited("as RFC 5321 4.1 and RFC 9999 say") - listed(rows) == {"9999"}
