"""`docs/performance.png`: what each contender takes, relative to nginx as shipped."""

from pathlib import Path
from typing import Final

from bench.results import GUARD, OTHERS, Results

_COLOURS: Final = {
    "gatekeeper": "#1b6ca8",
    "nginx": "#8a8a8a",
    "nginx-tuned": "#c4c4c4",
    "haproxy": "#d98c3f",
    "haproxy-tuned": "#f0c79c",
}
_LABELS: Final = {
    "gatekeeper": "gatekeeper",
    "nginx": "nginx mail (= 1)",
    "nginx-tuned": "nginx mail, tuned buffers",
    "haproxy": "HAProxy TCP",
    "haproxy-tuned": "HAProxy TCP, tuned buffers",
}
_BAR: Final = 0.16
_REFERENCE: Final = "nginx"


def plot(results: Results, file: Path) -> None:
    """Write the picture: one group of bars a scenario, with the goal as a mark."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    lines = [line for line in results.lines if line.figure(_REFERENCE)][::-1]
    figure, axes = pyplot.subplots(figsize=(9, 1.5 + 0.85 * len(lines)), dpi=120)
    for place, name in enumerate((GUARD, *OTHERS)):
        ratios = [line.ratio(name, _REFERENCE) or 0.0 for line in lines]
        heights = [row + (2 - place) * _BAR for row in range(len(lines))]
        bars = axes.barh(heights, ratios, _BAR, color=_COLOURS[name], label=_LABELS[name])
        if name != _REFERENCE:
            texts = [f"{ratio:.2f}" if ratio else "" for ratio in ratios]
            for text in axes.bar_label(bars, texts, fontsize=7, padding=2):
                text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    for row, line in enumerate(lines):
        if line.target is not None:
            axes.plot([line.target] * 2, [row - 0.42, row + 0.42], color="#b00020", linewidth=1.5)
    axes.plot([], [], color="#b00020", label="goal of the guard")
    axes.axvline(1, color="#555555", linewidth=0.8, zorder=0)
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.set_yticks(range(len(lines)), [line.title for line in lines], fontsize=9)
    axes.set_xlabel(
        "CPU (memory for idle sessions) per unit of work, relative to nginx; less is better"
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)
