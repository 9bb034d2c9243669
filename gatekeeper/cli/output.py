"""Rows as a table for people, or JSON or CSV for scripts."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import click

from gatekeeper.cli.exits import printable

Row = dict[str, Any]  # JSON at the edge


def print_rows(
    rows: list[Row],
    output: str,
    keys: Sequence[str],
    cells: dict[str, Callable[[Row], str]],
) -> None:
    """Print `rows` as `output` says.

    `json` and `csv` show them as they came, `csv` in the columns `keys`; `table` shows the columns
    of `cells`, each with what its function makes of a row.
    """
    match output:
        case "json":
            click.echo(json.dumps(rows, indent=2))
        case "csv":
            text = io.StringIO()
            writer = csv.DictWriter(text, keys, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            click.echo(text.getvalue(), nl=False)
        case _:
            print_table([list(cells), *([make(row) for make in cells.values()] for row in rows)])


def print_table(lines: list[list[str]]) -> None:
    """Print `lines` of cells in aligned columns; the first one is the heading."""
    for line in aligned(lines):
        click.echo(line)


def aligned(lines: list[list[str]]) -> list[str]:
    """`lines` of cells in aligned columns, with what a terminal would act on escaped."""
    shown = [[printable(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    padded = (map(str.ljust, line, widths) for line in shown)
    return ["  ".join(cells).rstrip() for cells in padded]


def duration_cell(seconds: object) -> str:
    """`9m58s`, or `-` for none."""
    from gatekeeper.config.durations import format_duration

    return format_duration(seconds) if isinstance(seconds, int | float) else "-"
