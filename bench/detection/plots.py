"""The pictures of `docs/detection.md`."""

from pathlib import Path
from typing import Final

from bench.detection import results as figures
from bench.detection.intervals import Estimate
from bench.detection.policies import GUARD, NO_GUARD
from bench.detection.report import ALONE, TITLES
from bench.detection.results import Results

_COLOURS: Final = {
    NO_GUARD: "#bbbbbb",
    "fail2ban": "#d98c3f",
    "fail2ban-recidive": "#f0c79c",
    "crowdsec": "#7b5ea7",
    "weakforced": "#4f9d69",
    "stalwart": "#b8556a",
    "mailcow": "#8c6d46",
    GUARD: "#1b6ca8",
}
_MILLION: Final = 1e6
_FLOOR_SHARE: Final = 0.01  # per cent: what is less is drawn here
_FLOOR_PPM: Final = 0.1
_GOAL_SHARE: Final = 2.0
_GOAL_PPM: Final = 1000.0


def trade_off(results: Results, file: Path) -> None:
    """Guesses that got through against good logins refused, a point for each policy. Needs
    runs of the guard in one of the two worlds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    worlds = [world for world in ("mixed", "held-out-city") if results.of(world, GUARD)]
    figure, row = pyplot.subplots(
        1, len(worlds), figsize=(5.5 * len(worlds), 4.6), dpi=120, sharey=True, squeeze=False
    )
    for axes, world in zip(row[0], worlds, strict=True):
        for policy, title in TITLES.items():
            share = results.estimate(world, policy, figures.forwarded)
            refused = results.estimate(
                world, policy, figures.refused("deferred", "told_wrong", "banned")
            )
            if share is None or refused is None:
                continue
            axes.errorbar(
                max(share.mean * 100, _FLOOR_SHARE),
                max(refused.mean * _MILLION, _FLOOR_PPM),
                xerr=_bars(share, 100),
                yerr=_bars(refused, _MILLION),
                fmt="D" if policy == GUARD else "o",
                markersize=7,
                color=_COLOURS[policy],
                label=title.strip("*"),
            )
        axes.axvline(_GOAL_SHARE, color="#b00020", linewidth=0.8, linestyle="--")
        axes.axhline(_GOAL_PPM, color="#b00020", linewidth=0.8, linestyle="--")
        axes.set(xscale="log", yscale="log", title=f"world `{world}`")
        axes.set_xlabel("guesses that reach the backend, %")
        axes.spines[["top", "right"]].set_visible(False)
    row[0][0].set_ylabel(f"good logins refused, per million ({_FLOOR_PPM:g}: none)")
    row[0][0].legend(fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)


def attacks_alone(results: Results, file: Path) -> None:
    """For each attack by itself the share that reaches the backend, a mark for each policy."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    worlds = [world for world in ALONE if results.of(world, GUARD)][::-1]
    figure, axes = pyplot.subplots(figsize=(10, 1.5 + 0.45 * len(worlds)), dpi=120)
    named: set[str] = set()
    for policy, title in TITLES.items():
        if policy == NO_GUARD:
            continue
        for row, world in enumerate(worlds):
            share = results.estimate(world, policy, figures.attack_forwarded(ALONE[world].value))
            if share is None:
                continue
            axes.errorbar(
                max(share.mean * 100, _FLOOR_SHARE),
                row,
                xerr=_bars(share, 100),
                fmt="D" if policy == GUARD else "o",
                markersize=6,
                color=_COLOURS[policy],
                alpha=0.85,
                label=None if title in named else title.strip("*"),
            )
            named.add(title)
    axes.set_yticks(range(len(worlds)), [f"{ALONE[w].value} ({w})" for w in worlds], fontsize=8)
    axes.set(xscale="log", xlabel="guesses that reach the backend, % (0.01 is 0.01 or less)")
    axes.grid(axis="y", linewidth=0.4)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=4, fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)


def _bars(one: Estimate, scale: float) -> list[list[float]]:
    """The interval as lengths below and above; on a logarithmic axis the lower end stays above
    nothing."""
    half = (one.half or 0.0) * scale
    return [[min(half, one.mean * scale * 0.9)], [half]]
