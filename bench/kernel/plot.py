"""`docs/kernel.png`: how fast a ban is in force, and what a packet costs where it is dropped."""

from pathlib import Path
from typing import Any, Final, TypeAlias

from bench.kernel.results import Results
from bench.kernel.rows import DROPPERS, FLOODED, HELD, PLACES

_Axes: TypeAlias = Any  # of matplotlib, which the bench alone has and nobody types

_OURS: Final = "#1b6ca8"
_LIGHT: Final = "#9cc3de"
_GREY: Final = "#8a8a8a"
_GOAL: Final = "#b00020"
_BAR: Final = 0.36


def plot(results: Results, file: Path) -> None:
    """Write the picture; a part that was not measured stays empty."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7), dpi=110)
    _latency(axes[0][0], results)
    _first(axes[0][1], results)
    _drops(axes[1][0], results)
    _flood(axes[1][1], results)
    for each in axes.flat:
        each.spines[["top", "right"]].set_visible(False)
        each.tick_params(labelsize=8)
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)


def _value(results: Results, name: str) -> float:
    return results.middle(name) or 0.0


def _pairs(
    axes: _Axes, names: dict[str, str], results: Results, form: str, shares: tuple[str, str]
) -> None:
    """Two bars for each name, the first one above."""
    for place, (share, colour) in enumerate(zip(shares, (_OURS, _LIGHT), strict=True)):
        values = [_value(results, f"{name}.{share}") for name in names]
        heights = [-row + (0.5 - place) * _BAR for row in range(len(names))]
        bars = axes.barh(heights, values, _BAR, color=colour, label=share.removesuffix(".cpu"))
        axes.bar_label(bars, [form.format(value) for value in values], fontsize=7, padding=2)
    axes.set_yticks([-row for row in range(len(names))], list(names.values()))
    axes.legend(fontsize=7, frameon=False, loc="upper right")
    axes.margins(x=0.14)


def _latency(axes: _Axes, results: Results) -> None:
    names = {f"latency.{held}": f"{held:,} held" for held in HELD}
    _pairs(axes, names, results, "{:.2f}", ("p50", "p99"))
    axes.axvline(1, color=_GOAL, linewidth=1)
    axes.axvline(5, color=_GOAL, linewidth=1, linestyle=":")
    axes.set_title("from a ban to the kernel, ms (goals: 1 for p50, 5 for p99)", fontsize=9)


def _first(axes: _Axes, results: Results) -> None:
    names = {f"first.{name}": title for name, title in DROPPERS.items()}
    _pairs(axes, names, results, "{:.1f}", ("p50", "p99"))
    axes.set_xscale("log")
    axes.set_title("from the failed login to the first packet dropped, ms", fontsize=9)


def _drops(axes: _Axes, results: Results) -> None:
    rows = [(title, _value(results, f"drops.{name}")) for name, title in PLACES.items()][::-1]
    colours = [_GREY if "RST" in title or "floor" in title else _OURS for title, _ in rows]
    bars = axes.barh([title for title, _ in rows], [value for _, value in rows], color=colours)
    axes.bar_label(bars, [f"{value:.0f}" for _, value in rows], fontsize=7, padding=2)
    axes.margins(x=0.14)
    axes.set_title("one packet, ns (generator included)", fontsize=9)


def _flood(axes: _Axes, results: Results) -> None:
    names = {f"flood.{name}": title.replace(", ", ",\n") for name, title in FLOODED.items()}
    _pairs(axes, names, results, "{:.1f}", ("quiet.cpu", "busy.cpu"))
    axes.set_title("the guard's CPU, % of a core, without and with a flood", fontsize=9)
