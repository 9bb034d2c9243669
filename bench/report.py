"""The run in words: a table for the terminal, `docs/performance.md`, and the plot's place."""

from pathlib import Path
from typing import Final

from bench.plot import plot
from bench.results import GUARD, OTHERS, BanLine, Line, Results
from bench.workshop import BENCH

DOCS: Final = BENCH.parent / "docs"
_TITLES: Final = {
    "gatekeeper": "guard",
    "nginx": "nginx",
    "nginx-tuned": "nginx, tuned",
    "haproxy": "HAProxy",
    "haproxy-tuned": "HAProxy, tuned",
}
_NONE: Final = "-"


def summary(line: Line) -> str:
    """One scenario in one line, as soon as it is known."""
    figures = "  ".join(f"{name} {_figure(line, name)}" for name in (GUARD, *OTHERS))
    return f"{line.title} [{line.unit}]: {figures}  guard/nginx {_ratio(line, 'nginx')}"


def table(results: Results) -> str:
    """Medians and the guard's ratios, as a Markdown table; empty where nothing was measured."""
    if not results.lines:
        return ""
    header = ["per unit", "unit", *(_TITLES[name] for name in (GUARD, *OTHERS))]
    header += ["guard / nginx", "goal", *(f"/ {_TITLES[name]}" for name in OTHERS[1:])]
    rows = [
        [
            line.title,
            line.unit,
            *(_figure(line, name) for name in (GUARD, *OTHERS)),
            _judged(line),
            _NONE if line.target is None else f"≤ {line.target:.2f}",
            *(_ratio(line, name) for name in OTHERS[1:]),
        ]
        for line in results.lines
    ]
    return _markdown(header, rows)


def bans(results: Results) -> str:
    """How fast bans reach the kernel, as a Markdown table, or why that is not known."""
    if results.no_bans:
        return f"Bans were not measured: {results.no_bans}."
    if not results.bans:
        return ""
    header = ["bans held before", "bans measured", "median ms", "p90 ms", "max ms", "goal"]
    rows = [_ban_row(line) for line in results.bans]
    return "\n\n".join([_markdown(header, rows), *map(_restored, results.bans)])


def _ban_row(line: BanLine) -> list[str]:
    middle, target = line.median_ms, line.target_ms
    judged = f"{middle:.2f}"
    if target is not None:
        judged = f"**{judged}**" if middle < target else f"{judged} (missed)"
    return [
        f"{line.held:,}",
        str(len(line.delays_ms)),
        judged,
        f"{line.delay_ms(0.9):.2f}",
        f"{max(line.delays_ms):.2f}",
        _NONE if target is None else f"median < {target:.0f} ms",
    ]


def _restored(line: BanLine) -> str:
    """The start, in words."""
    held = f"{line.held:,}" if line.held else "no"
    words = (
        f"With {held} bans in its database the guard serves {line.served_s:.1f} s after its start"
    )
    if not line.held:
        return f"{words}."
    words += f", and the kernel holds all of them after {line.restored_s:.1f} s"
    if not line.logins_ms:
        return f"{words}."
    slowest = max(line.logins_ms)
    return f"{words}; of {len(line.logins_ms)} logins meanwhile the slowest took {slowest:.0f} ms."


def _wall_table(results: Results) -> str:
    header = ["", *(_TITLES[name] for name in (GUARD, *OTHERS))]
    rows = [
        [line.title, *(_wall(line, name) for name in (GUARD, *OTHERS))] for line in results.lines
    ]
    return _markdown(header, rows)


def _spread_table(results: Results) -> str:
    header = ["", *(_TITLES[name] for name in (GUARD, *OTHERS))]
    rows = [
        [line.title, *(_spread(line, name) for name in (GUARD, *OTHERS))] for line in results.lines
    ]
    return _markdown(header, rows)


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    marks = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, marks, *rows))


def _figure(line: Line, name: str) -> str:
    figure = line.figure(name)
    if figure is None:
        return _NONE
    return f"{figure:.0f}" if figure >= 100 else f"{figure:.2f}" if figure < 10 else f"{figure:.1f}"


def _ratio(line: Line, to: str) -> str:
    ratio = line.ratio(GUARD, to)
    return _NONE if ratio is None else f"{ratio:.2f}"


def _judged(line: Line) -> str:
    """The ratio to nginx; bold where there is a goal and it is reached."""
    ratio = line.ratio(GUARD, "nginx")
    if ratio is None or line.target is None:
        return _ratio(line, "nginx")
    return f"**{ratio:.2f}**" if ratio <= line.target else f"{ratio:.2f} (missed)"


def _wall(line: Line, name: str) -> str:
    if name not in line.samples:
        return _NONE
    per_s, p50_ms, p99_ms = (line.middle(name, key) for key in ("per_s", "p50_ms", "p99_ms"))
    return f"{per_s:.{0 if per_s >= 10 else 1}f}/s, {p50_ms:.1f} / {p99_ms:.1f}"


def _spread(line: Line, name: str) -> str:
    spread = line.spread(name)
    return _NONE if spread is None else f"{spread:.0%}"


def document(results: Results) -> str:
    """The whole of `docs/performance.md`."""
    machine = "\n".join(f"| {name} | {words} |" for name, words in results.machine.items())
    endurance = "\n".join(f"* **{name}**: {words}" for name, words in results.endurance.items())
    pss = next((line for line in results.lines if line.scenario == "idle"), None)
    parts = [
        "# Performance",
        "Written by `./run bench --write`; do not edit. "
        f"{results.rounds} rounds{', quick' if results.quick else ''}, interleaved, medians "
        "(memory: 3 rounds at most).",
        "![The guard beside nginx and HAProxy](performance.png)",
        "## CPU and memory per unit of work",
        "The figure is user + system time of all the proxy's own processes divided by the units of "
        "work, and for idle sessions the RSS each one adds. Less is better; a ratio under 1 means "
        "the guard takes less. Bold reaches the goal.",
        table(results),
        "" if pss is None else _pss(pss),
        "## From the failed login to the kernel" if results.bans or results.no_bans else "",
        bans(results),
        "## Wall clock",
        "Sessions per second (a GiB is 16 sessions of 64 MiB), then the latency of one session "
        "in ms, p50 / p99. Load generator, backend and proxy share the machine's cores, so these "
        "say less than the CPU does.",
        _wall_table(results),
        "## Spread",
        "(largest - smallest) / median over the rounds.",
        _spread_table(results),
        "## Endurance, the guard alone" if endurance else "",
        endurance,
        "## How it was measured",
        _METHOD,
        "| | |\n|---|---|\n" + machine,
        "## Problems\n" + "\n".join(f"* {words}" for words in results.problems)
        if results.problems
        else "No session of any contender failed.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _pss(line: Line) -> str:
    words = ", ".join(
        f"{_TITLES[name]} {line.middle(name, 'pss'):.1f}"
        for name in (GUARD, *OTHERS)
        if name in line.samples
    )
    return f"The same in PSS, KiB per idle session: {words}."


_METHOD: Final = """\
* One worker each, on loopback; the same load generator and plain backend (`bench/*.c`), the same
  two certificates (ECDSA P-256 and RSA-2048), TLS 1.3, session tickets as each program issues them,
  PROXY v1 towards the backend.
* nginx is Debian's mail proxy with an `auth_http` that answers at once (its CPU is not counted);
  HAProxy passes TCP with TLS and knows nothing of mail. Neither writes a log line; the guard
  parses, judges and logs every session. Load and backend acknowledge at once (TCP_QUICKACK), or
  nginx would wait 40 ms for them twice a login. "Tuned" is 128 KiB for nginx's `proxy_buffer` and
  HAProxy's `tune.bufsize`.
* Before a contender is measured it must refuse a wrong password and serve a right one; every octet
  of content is compared at both ends. One failed session takes the contender out of the line.
* Contenders start fresh for each scenario and take turns: A B C, B C A, and so on. 16 sessions at
  a time, 4 for bulk. CPU comes from `/proc/PID/stat`, memory from `/proc/PID/smaps_rollup`, the
  latter of a fresh process after 200 logins.
* Bans: the guard with nftables and SQLite in a network namespace, each ban from another address.
  The clock runs from just before the backend sends its NO to the last wrong password (reading,
  judging and all that follows is in it) to when another process, asking the kernel for that
  element every 0.1 ms, is first told that it is held; afterwards none of them may connect.
* Repeat: `./run bench` (all), `./run bench --quick`, `./run bench --only login --contender
  gatekeeper`; `--write` writes this page, `--render` writes it from the last run."""


def write(results: Results) -> list[Path]:
    """Write `docs/performance.md` and the plot; returns the paths."""
    page, picture = DOCS / "performance.md", DOCS / "performance.png"
    page.write_text(document(results))
    plot(results, picture)
    return [page, picture]
