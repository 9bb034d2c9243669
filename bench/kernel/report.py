"""The run in words: tables for the terminal and for `docs/kernel.md`."""

from typing import Final

from bench.kernel.results import NOISY_LOAD, Results
from bench.kernel.rows import SECTIONS, Row, Section
from bench.workshop import BENCH

PAGE: Final = BENCH.parent / "docs" / "kernel.md"
PICTURE: Final = PAGE.with_suffix(".png")
BEGIN: Final = "<!-- figures: written by `./run bench kernel --write` -->"
END: Final = "<!-- end of figures -->"
_HEADER: Final = ("", "unit", "median", "of the rounds", "goal")


def tables(results: Results) -> str:
    """All that was measured, section by section, as Markdown."""
    parts = [_section(section, results) for section in SECTIONS]
    return "\n\n".join(part for part in (*parts, _machine(results)) if part)


def within(page: str, figures: str) -> str:
    """The page with `figures` between its marks. Raises `ValueError` where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}"


def write(results: Results) -> None:
    """Write the figures into `docs/kernel.md`."""
    PAGE.write_text(within(PAGE.read_text(), tables(results)))


def number(value: float) -> str:
    """Three digits that count, thousands apart."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"


def _section(section: Section, results: Results) -> str:
    rows = [line for row in section.rows if (line := _line(row, results))]
    if not rows:
        return ""
    loads = results.loads.get(section.part, [])
    rounds = f"{len(loads)} rounds" if len(loads) != 1 else "1 round"
    words = f"{section.method}\n\n{rounds}; load average when they began: {_loads(loads)}."
    return f"### {section.title}\n\n{words}\n\n{_markdown(rows)}"


def _loads(loads: list[float]) -> str:
    return ", ".join(f"{load:.1f}" for load in loads)


def _line(row: Row, results: Results) -> list[str] | None:
    middle, reach = results.middle(row.name), results.reach(row.name)
    if middle is None or reach is None:
        return None
    return [
        row.title,
        row.unit,
        _judged(row, middle),
        f"{number(reach[0])} to {number(reach[1])}",
        "-" if row.goal is None else f"{'≥' if row.more else '≤'} {number(row.goal)}",
    ]


def _judged(row: Row, value: float) -> str:
    match row.reached(value):
        case None:
            return number(value)
        case True:
            return f"**{number(value)}**"
        case False:
            return f"{number(value)} (missed)"


def _markdown(rows: list[list[str]]) -> str:
    marks = ["---", "---", "---:", "---:", "---:"]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (_HEADER, marks, *rows))


def _machine(results: Results) -> str:
    cpus = int(results.machine.get("CPUs", "1"))
    noisy = [
        section.title.lower()
        for section in SECTIONS
        if max(results.loads.get(section.part, [0.0])) > NOISY_LOAD * cpus
    ]
    words = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    lines = [f"Measured on: {words}."]
    if results.quick:
        lines.append("**A quick run**: fewer rounds and fewer repetitions in each.")
    if noisy:
        lines.append(
            f"From a machine that other work loaded too (more than {NOISY_LOAD} for each CPU when "
            f"a round began): {'; '.join(noisy)}."
        )
    lines += [f"PROBLEM: {problem}" for problem in results.problems]
    return "\n\n".join(lines)
