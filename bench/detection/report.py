"""Puts the tables into `docs/detection.md`, between marks; the words around them are by hand."""

import re
from collections.abc import Callable
from typing import Final

from bench.detection import results as figures
from bench.detection.attacks import BURST_RECIPIENTS, Kind
from bench.detection.goals import goals
from bench.detection.intervals import words
from bench.detection.policies import GUARD, NO_GUARD
from bench.detection.results import Results
from bench.detection.run import Numbers

TITLES: Final = {
    NO_GUARD: "no guard",
    "fail2ban": "fail2ban",
    "fail2ban-recidive": "fail2ban, increment + recidive",
    "crowdsec": "CrowdSec",
    "weakforced": "weakforced",
    "stalwart": "Stalwart",
    "mailcow": "mailcow",
    GUARD: "**gatekeeper**",
}
ALONE: Final = {
    "brute-fast": Kind.BRUTE_FAST,
    "brute-slow": Kind.BRUTE_SLOW,
    "spray": Kind.SPRAY,
    "botnet": Kind.BOTNET,
    "stuffing-0.1": Kind.STUFFING,
    "stuffing-1": Kind.STUFFING,
    "stuffing-2": Kind.STUFFING,
    "targeted": Kind.TARGETED,
    "hop-64": Kind.HOP_64,
    "hop-48": Kind.HOP_48,
    "own-mailbox": Kind.OWN_MAILBOX,
    "familiar-nat": Kind.FAMILIAR_NAT,
    "lock-out": Kind.LOCK_OUT,
}
_LABELS: Final = (
    *("office", "home-v4", "home-v6", "cgnat", "roaming", "webmail", "shared", "new"),
    *("changed", "probe"),
)
_OUTAGES: Final = ("outage", "outage-lying", "outage-lying-attack")
_MILLION: Final = 1e6
_MARK: Final = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- /results -->)", re.DOTALL)


def rendered(document: str, results: Results) -> str:
    """The document with every table made anew. Raises KeyError for a mark that names none."""

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}{_TABLES[match[2]](results)}\n{match[3]}"

    return _MARK.sub(table, document)


def summary(results: Results, worlds: list[str]) -> str:
    """The main table of each world, for the terminal."""
    return "\n\n".join(f"{world}\n{_main(results, world)}" for world in worlds)


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return "Not measured yet."
    marks = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, marks, *rows))


def _present(results: Results, world: str) -> list[str]:
    return [policy for policy in TITLES if results.of(world, policy)]


def _main(results: Results, world: str) -> str:
    def figure(policy: str, what: Callable[[Numbers], float | None], scale: float = 1.0) -> str:
        return words(results.estimate(world, policy, what), scale)

    rows = [
        [
            TITLES[policy],
            figure(policy, figures.forwarded, 100),
            figure(policy, figures.lost),
            figure(policy, figures.refused("deferred"), _MILLION),
            figure(policy, figures.refused("told_wrong"), _MILLION),
            figure(policy, figures.refused("banned"), _MILLION),
            figure(policy, figures.ban_hits, _MILLION),
            figure(policy, figures.plain("kept_out_long")),
            _hours(results.worst(world, policy, figures.total("keep_out_max_s"))),
            figure(policy, figures.total("keep_out_sum_s"), 1 / 3600),
        ]
        for policy in _present(results, world)
    ]
    header = ["", "guesses at the backend, %", "accounts lost", "deferred, ppm"]
    header += ["told wrong, ppm", "banned, ppm", "bans that hit, per 10⁶"]
    header += ["kept out > 1 h", "longest, h", "kept out, h in all"]
    return _markdown(header, rows)


def _goals(results: Results) -> str:
    if not results.of("mixed", GUARD):
        return _markdown([], [])
    return _markdown(["", "goal", "measured", ""], [one.row() for one in goals(results)])


def _world(name: str) -> Callable[[Results], str]:
    return lambda results: _main(results, name)


def _in_the_mixture(results: Results) -> str:
    policies = _present(results, "mixed")
    kinds = [kind.value for kind in dict.fromkeys(ALONE.values())]
    rows = [
        [
            kind,
            *(_share_and_lost(results, "mixed", policy, kind) for policy in policies),
        ]
        for kind in kinds
        if policies
    ]
    return _markdown(["", *(TITLES[policy] for policy in policies)], rows)


def _alone(results: Results) -> str:
    policies = [one for one in TITLES if any(results.of(world, one) for world in ALONE)]
    rows = [
        [
            f"{kind.value} (`{world}`)",
            *(_share_and_lost(results, world, policy, kind.value) for policy in policies),
        ]
        for world, kind in ALONE.items()
        if any(results.of(world, policy) for policy in policies)
    ]
    return _markdown(["", *(TITLES[policy] for policy in policies)], rows)


def _share_and_lost(results: Results, world: str, policy: str, kind: str) -> str:
    share = results.estimate(world, policy, figures.attack_forwarded(kind))
    lost = results.estimate(world, policy, figures.attack_lost(kind))
    return "-" if share is None or lost is None else f"{words(share, 100)} / {lost.mean:.1f}"


def _sources(results: Results) -> str:
    """How soon the guard refuses: guesses of one source that the backend saw before."""
    rows = []
    for kind in (kind.value for kind in dict.fromkeys(ALONE.values())):
        runs = [one for one in results.of("mixed", GUARD) if kind in one["attacks"]]
        firsts = [one["attacks"][kind] for one in runs]
        firsts = [one for one in firsts if one["refused_sources"]]
        if firsts:
            median = max(one["median_before_refusal"] for one in firsts)
            largest = max(one["max_before_refusal"] for one in firsts)
            rows.append([kind, f"{median:g}", f"{largest:g}"])
    return _markdown(["", "median", "largest"], rows)


def _disturbed(results: Results) -> str:
    rows = []
    for world in (*_OUTAGES, "restart", "restart-cold"):
        for policy in _present(results, world):
            banned = results.estimate(world, policy, figures.refused("banned"))
            wrong = results.estimate(world, policy, figures.refused("told_wrong"))
            deferred = results.estimate(world, policy, figures.refused("deferred"))
            row = [f"`{world}`", TITLES[policy]]
            row.append(words(results.estimate(world, policy, figures.plain("bans_in_outage"))))
            row += [words(one, _MILLION) for one in (deferred, wrong, banned)]
            row.append(_hours(results.worst(world, policy, figures.total("keep_out_max_s"))))
            rows.append(row)
    header = ["", "", "bans in the outage", "deferred, ppm", "told wrong, ppm", "banned, ppm"]
    return _markdown([*header, "longest keep-out, h"], rows)


def _people(results: Results) -> str:
    rows = []
    for label in _LABELS:
        row = [label]
        for world in ("peace", "mixed"):
            share = results.estimate(world, GUARD, figures.label_refused(label))
            longest = results.worst(world, GUARD, figures.label_keep_out(label))
            row += [words(share, _MILLION), "-" if longest is None else f"{longest / 60:.0f}"]
        rows.append(row)
    if not results.of("mixed", GUARD):
        rows = []
    header = ["", "peace: refused, ppm", "longest, min", "mixed: refused, ppm", "longest, min"]
    return _markdown(header, rows)


def _port_25(results: Results) -> str:
    rows = []
    for world, kind in (
        ("recipients", Kind.RECIPIENTS_FAST.value),
        ("recipients", Kind.RECIPIENTS_SLOW.value),
        ("stolen-account", Kind.BURST.value),
        ("stolen-account", BURST_RECIPIENTS),
    ):
        for policy in _present(results, world):
            share = results.estimate(world, policy, figures.attack_forwarded(kind))
            guesses = [one["attacks"].get(kind, {}) for one in results.of(world, policy)]
            made = sum(one.get("forwarded", 0) for one in guesses) / max(1, len(guesses))
            rows.append([kind, TITLES[policy], words(share, 100), f"{made:,.0f}"])
    return _markdown(["", "", "reached the backend, %", "which is"], rows)


def _provenance(results: Results) -> str:
    rows = []
    for policy, title in TITLES.items():
        runs = [one for one in results.runs if one["policy"] == policy]
        if runs:
            versions = ", ".join(f"`{one}`" for one in sorted(results.versions(policy)))
            events = sum(one["events"] for one in runs)
            per_s = events / max(0.1, sum(one["policy_s"] for one in runs))
            rows.append([title, str(len(runs)), f"{events:,}", f"{per_s:,.0f}", versions])
    return _markdown(["", "runs", "events", "decisions a second", "sources"], rows)


def _hours(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds / 3600:.1f}"


_TABLES: Final[dict[str, Callable[[Results], str]]] = {
    "goals": _goals,
    "mixed": _world("mixed"),
    "peace": _world("peace"),
    "peace-tidy": _world("peace-tidy"),
    "in-the-mixture": _in_the_mixture,
    "alone": _alone,
    "sources": _sources,
    "people": _people,
    "adaptive-retry": _world("adaptive-retry"),
    "adaptive": _world("adaptive"),
    "disturbed": _disturbed,
    "port-25": _port_25,
    "held-out-city-peace": _world("held-out-city-peace"),
    "held-out-city": _world("held-out-city"),
    "held-out-village": _world("held-out-village"),
    "provenance": _provenance,
}
