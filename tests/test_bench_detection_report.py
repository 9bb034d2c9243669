"""What is made of the numbers of runs: means, tables, goals, files."""

from dataclasses import replace

import pytest
from detection_worlds import SMALL

from bench.detection import report, results
from bench.detection.__main__ import main
from bench.detection.intervals import Estimate, estimate, words
from bench.detection.policies import POLICIES
from bench.detection.run import Numbers, Task, run


def test_the_interval_is_students() -> None:
    assert estimate([]) is None
    assert estimate([3.0]) == Estimate(3.0, None, 1)
    found = estimate([float(n) for n in range(1, 11)])
    assert found is not None
    assert found.half is not None
    assert (found.mean, round(found.half, 3)) == (5.5, 2.166)


@pytest.mark.parametrize(
    ("one", "scale", "text"),
    [
        (None, 1, "-"),
        (Estimate(0.0, 0.0, 3), 1, "0"),
        (Estimate(0.0123, 0.001, 3), 100, "1.23 ± 0.10"),
        (Estimate(12_345.6, None, 1), 1, "12,346"),
    ],
)
def test_words_of_an_estimate(one: Estimate | None, scale: float, text: str) -> None:
    assert words(one, scale) == text


def test_tables_are_written_between_their_marks_and_nowhere_else() -> None:
    numbers = {**run(Task(replace(SMALL, name="mixed"), 101, "fail2ban")), "fingerprint": "abc"}
    found = results.Results((numbers,))
    document = "before\n<!-- results: mixed -->\nfrom before\n<!-- /results -->\nafter\n"
    written = report.rendered(document, found)
    assert written.startswith("before\n<!-- results: mixed -->\n| ")
    assert written.endswith("\n<!-- /results -->\nafter\n")
    assert "| fail2ban |" in written
    assert "from before" not in written
    assert report.rendered(written, found) == written


def test_goals_are_judged_by_the_mean_and_against_the_best_other() -> None:
    def lost(seed: int, policy: str, count: int, forwarded: int) -> Numbers:
        total = {"lost": count, "guesses": 1000, "forwarded": forwarded, "good": 1_000_000}
        total |= {"deferred": 1500, "told_wrong": 0, "banned": 0, "keep_out_max_s": 3000}
        numbers: Numbers = {"world": "mixed", "seed": seed, "policy": policy, "total": total}
        return numbers | {"ban_hits": 0}

    runs = [lost(101, "fail2ban", 20, 900), lost(101, "mailcow", 10, 900)]
    runs += [lost(101, "gatekeeper", 1, 5), lost(102, "gatekeeper", 6, 15)]
    runs += [lost(102, "fail2ban", 20, 900)]
    table = report.rendered(
        "<!-- results: goals -->\n<!-- /results -->", results.Results(tuple(runs))
    )
    assert "| guesses at the backend, mixed attack | ≤ 2 % | 1.00 ± 6.35 | reached |" in table
    assert "mixed attack | ≤ 0.1 | 0.20 ± 1.27 | **missed** |" in table
    assert "| good logins deferred, mixed | ≤ 1000 per million | 1,500 ± 0 | **missed** |" in table
    assert "| longest that anybody was kept out, mixed | ≤ 1 h | 0.83 | reached |" in table
    assert "| slow botnet alone | ≤ 15 % | - | not measured |" in table


def test_what_was_not_measured_is_said_to_be_so() -> None:
    document = "<!-- results: peace -->\n<!-- /results -->"
    assert "Not measured yet." in report.rendered(document, results.Results(()))


def test_the_document_has_every_table() -> None:
    document = (results._ROOT / "docs" / "detection.md").read_text()
    assert set(report._MARK.findall(document)) != set()
    assert {match[1] for match in report._MARK.findall(document)} == set(report._TABLES)


def test_a_run_at_hand_is_not_played_again(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "OUT", tmp_path_factory.mktemp("out"))
    task = Task(SMALL, 1, "none")
    mark = results.fingerprint("none")
    assert not results.is_current(task, mark)
    results.write(task, {**run(task), "fingerprint": mark})
    assert results.is_current(task, mark)
    assert not results.is_current(task, "other sources")
    assert len(results.Results.read(seeds=[1]).of("small", "none")) == 1
    assert results.Results.read(seeds=[2]).runs == ()


@pytest.mark.parametrize("words", [["--worlds", "nowhere"], ["--policies", "prayer"]])
def test_an_unknown_name_is_refused(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["detection", *words])
    with pytest.raises(SystemExit, match="is none of"):
        main()


def test_every_policy_has_a_title_and_can_be_made() -> None:
    assert set(report.TITLES) <= set(POLICIES)
