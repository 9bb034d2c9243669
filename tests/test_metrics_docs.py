"""docs/metrics.md has every metric as it is; rules and the dashboard name none that is not."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.metrics.families import FAMILIES, Family, Kind, Label

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "metrics.md"
RULES = ROOT / "docs" / "prometheus-alerts.yml"
DASHBOARD = ROOT / "docs" / "grafana-dashboard.json"
RULE_TESTS = sorted((ROOT / "tests").glob("prometheus-alerts*.yml"))
PROMTOOL = shutil.which("promtool")

OTHERS = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}  # not families
FUNCTIONS = {
    "time",
    "rate",
    "increase",
    "sum",
    "min",
    "max",
    "min_over_time",
    "max_over_time",
    "histogram_quantile",
}
WORDS = {"by", "on", "and", "offset"}


def metric_row(family: Family) -> str:
    """A line of the table of metrics."""
    labels = ", ".join(f"`{label.name}`" for label in family.labels)
    return f"| `{family.name}` | {family.kind.value} | {labels} | {family.text} |"


def label_rows() -> list[str]:
    """The table of labels: a name stands twice where two metrics mean different things by it."""
    owners: dict[Label, list[str]] = {}
    for family in FAMILIES.values():
        for label in family.labels:
            owners.setdefault(label, []).append(family.name.removeprefix("gatekeeper_"))
    return [
        f"| `{label.name}` | {', '.join(f'`{owner}`' for owner in names)} | {_values(label)} |"
        for label, names in owners.items()
    ]


def _values(label: Label) -> str:
    if label.source or label.values is None:
        return label.source
    return ", ".join(f"`{value}`" for value in sorted(label.values))


def rows(heading: str) -> list[str]:
    """The lines of the table under a heading, but its head."""
    text = DOCUMENT.read_text(encoding="utf-8")
    body = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line for line in body.splitlines() if line.startswith("| `")]


def test_every_metric_is_documented_as_it_is() -> None:
    assert rows("Metrics") == [metric_row(family) for family in FAMILIES.values()]


def test_every_label_is_documented_with_its_values() -> None:
    assert rows("Labels") == label_rows()


# -- rules ---------------------------------------------------------------------------------------


def rules() -> dict[str, str]:
    """The text of each rule by its alert's name. Its YAML is promtool's to check."""
    parts = re.split(
        r"^      - alert: (\w+)\n", RULES.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def known_samples() -> set[str]:
    """Names of series, those of histograms included."""
    names = set(OTHERS)
    for family in FAMILIES.values():
        ends = ("_bucket", "_sum", "_count") if family.kind is Kind.HISTOGRAM else ("",)
        names |= {family.name + end for end in ends}
    return names


def names_in(expression: str) -> set[str]:
    """The names of series in a PromQL expression."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(?:by|on) \([^)]*\)|\"[^\"]*\"", "", expression)
    words = set(re.findall(r"\b[a-z_][a-z_0-9]*\b", bare))
    return words - FUNCTIONS - WORDS


def selectors_in(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each series of ours that is selected by labels, with these labels."""
    for name, inside in re.findall(r"(gatekeeper_\w+)\{([^}]*)\}", expression):
        yield name, set(re.findall(r"(\w+)\s*=~?\s*\"", inside)) - {"instance", "job"}


@pytest.mark.parametrize(("alert", "rule"), rules().items(), ids=list(rules()))
def test_a_rule_waits_and_says_what_to_do(alert: str, rule: str) -> None:
    assert re.search(r"^        for: \d+[mh]$", rule, re.MULTILINE)
    assert re.search(r"severity: (page|ticket|info)\}", rule)
    for annotation in ("summary", "action", "runbook"):
        assert re.search(rf"^          {annotation}: \S", rule, re.MULTILINE), annotation
    file, _, anchor = re.findall(r"runbook: (\S+)", rule)[0].partition("#")
    text = (ROOT / file).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert anchor in anchors


@pytest.mark.parametrize(("alert", "rule"), rules().items(), ids=list(rules()))
def test_a_rule_names_only_what_there_is(alert: str, rule: str) -> None:
    expression = re.findall(r"^        expr: (.*?)\n        for:", rule, re.MULTILINE | re.DOTALL)[
        0
    ]
    check_expression(expression.removeprefix("|"))


def check_expression(expression: str) -> None:
    named = names_in(expression)
    assert named
    assert named <= known_samples()
    for name, labels in selectors_in(expression):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        family = FAMILIES.get(name) or FAMILIES[base]
        assert labels <= {label.name for label in family.labels}


def test_every_alert_is_played_through() -> None:
    played = "".join(path.read_text(encoding="utf-8") for path in RULE_TESTS)
    for alert in rules():
        assert re.search(rf"alertname: {alert}\n +exp_alerts:", played), alert


# -- the dashboard -------------------------------------------------------------------------------


def panels() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return loaded


def expressions() -> list[str]:
    """Every query of the dashboard."""
    return [target["expr"] for panel in panels() for target in panel.get("targets", ())]


@pytest.mark.parametrize("expression", expressions())
def test_a_panel_asks_only_for_what_there_is(expression: str) -> None:
    check_expression(expression)


def test_panels_have_words_and_a_place_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (place["x"] + dx, place["y"] + dy)
            for dx in range(place["w"])
            for dy in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        assert place["x"] + place["w"] <= 24
        assert panel["type"] == "row" or panel["description"]
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_nearly_every_metric_is_on_the_dashboard() -> None:
    """What is not is there to be asked for by hand."""
    shown = set().union(*map(names_in, expressions()))
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} | shown
    assert set(FAMILIES) - bases == {
        "gatekeeper_start_time_seconds",
        "gatekeeper_last_reload_successful",
        "gatekeeper_last_reload_seconds",
        "gatekeeper_accounts_known",
        "gatekeeper_backend_outage",
        "gatekeeper_domains",
    }


# -- by Prometheus itself --------------------------------------------------------------------------


def promtool(*arguments: str | Path, stdin: str = "") -> None:
    """Run `promtool`; it must have nothing to complain of."""
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="Debian's prometheus is not installed")


@needs_promtool
def test_promtool_takes_the_rules_and_they_fire_when_they_should() -> None:
    promtool("check", "rules", RULES)
    promtool("test", "rules", *RULE_TESTS)


@needs_promtool
def test_promtool_takes_every_query_of_the_dashboard(tmp_path: Path) -> None:
    queries = [
        {"record": f"q{number}", "expr": one.replace("$__rate_interval", "5m")}
        for number, one in enumerate(expressions())
    ]
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": queries}]}))
    promtool("check", "rules", path)
