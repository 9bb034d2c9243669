"""The pure parts of `bench.kernel`: figures, rows, the report, frames."""

import re
import socket
import struct

import pytest

from bench.kernel import report, rows
from bench.kernel.frames import syn
from bench.kernel.probe import ones_complement
from bench.kernel.results import Results, rank
from bench.kernel.stage import address

GOAL = "latency.1000000.p50"
SPEED = "bulk.feed"


def results(**samples: list[float]) -> Results:
    made = Results({"kernel": "6.1", "CPUs": "2"}, quick=False)
    for name, values in samples.items():
        for value in values:
            made.add(name.partition("_")[0], 0.5, {name.replace("_", "."): value})
    return made


def line_of(text: str, title: str) -> str:
    (found,) = [line for line in text.splitlines() if line.startswith(f"| {title} |")]
    return found


def test_a_rank_is_a_sample_and_never_the_smaller_neighbour() -> None:
    samples = [float(number) for number in range(1, 101)]
    assert rank(samples[::-1], 0.5) == 50
    assert rank(samples, 0.99) == 99
    assert rank([7.0], 0.01) == 7
    assert rank([1.0, 2.0], 1.0) == 2


def test_there_is_no_rank_of_nothing() -> None:
    with pytest.raises(ValueError, match="no samples"):
        rank([], 0.5)


def test_the_median_and_the_reach_are_over_rounds() -> None:
    made = results(bulk_feed=[3.0, 1.0, 8.0])
    assert made.middle(SPEED) == 3
    assert made.reach(SPEED) == (1, 8)
    assert made.middle("bulk.fill") is None
    assert made.reach("bulk.fill") is None


def test_results_survive_json() -> None:
    made = results(bulk_feed=[3.0, 1.0])
    made.problems.append("one")
    assert Results.from_json(made.to_json()) == made


def test_a_part_that_is_measured_again_takes_the_place_of_the_old_one() -> None:
    old = results(bulk_feed=[3.0, 1.0], bulk_fill=[9.0], memory_guard=[150.0])
    old.replace(results(bulk_feed=[5.0]), ["bulk"], [SPEED, "bulk.fill"])
    assert old.samples == {SPEED: [5.0], "memory.guard": [150.0]}
    assert old.loads == {"bulk": [0.5], "memory": [0.5]}


def test_names_are_unique_and_belong_to_their_section() -> None:
    names = [row.name for section in rows.SECTIONS for row in section.rows]
    assert len(names) == len(set(names))
    assert all(row.part == section.part for section in rows.SECTIONS for row in section.rows)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (GOAL, 0.8, "**0.800**"),
        (GOAL, 1.0, "**1.00**"),
        (GOAL, 1.01, "1.01 (missed)"),
        (SPEED, 40_000, "**40,000**"),
        (SPEED, 39_999, "39,999 (missed)"),
        ("bulk.fill", 39_999, "39,999"),
    ],
)
def test_a_goal_is_judged_from_its_side(name: str, value: float, said: str) -> None:
    made = results(**{name.replace(".", "_"): [value]})
    cells = line_of(report.tables(made), rows.ROWS[name].title).split(" | ")
    assert cells[2] == said


def test_a_table_has_median_reach_and_load() -> None:
    text = report.tables(results(bulk_feed=[30_000.0, 50_000.0, 41_000.0]))
    assert "| **41,000** | 30,000 to 50,000 | ≥ 40,000 |" in text
    assert "3 rounds; load average when they began: 0.5, 0.5, 0.5." in text
    assert "### Memory" not in text


def test_a_loaded_machine_is_named() -> None:
    made = results(bulk_feed=[1.0])
    assert "other work" not in report.tables(made)
    made.add("memory", 3.1, {"memory.guard": 1.0})
    assert re.search(r"other work loaded too .*: memory\.", report.tables(made))


def test_problems_are_told() -> None:
    made = results(bulk_feed=[1.0])
    made.problems.append("drops, round 1: gone")
    assert "PROBLEM: drops, round 1: gone" in report.tables(made)


def test_figures_go_between_the_marks_and_nowhere_else() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    assert report.within(page, "new") == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"


@pytest.mark.parametrize("page", ["", report.BEGIN, report.END])
def test_a_page_without_marks_is_not_written(page: str) -> None:
    with pytest.raises(ValueError, match="lacks"):
        report.within(page, "new")


def test_the_page_has_the_marks() -> None:
    report.within(report.PAGE.read_text(), "new")


@pytest.mark.parametrize(
    ("value", "said"),
    [(12_345.6, "12,346"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.123")],
)
def test_numbers_have_three_digits(value: float, said: str) -> None:
    assert report.number(value) == said


def test_addresses_differ() -> None:
    assert len({address(number) for number in range(100_000)}) == 100_000


def test_a_frame_is_a_syn_with_good_checksums() -> None:
    frame = syn("10.0.0.1", "192.0.2.25", 993, b"\x02\x00\x00\x00\x00\x07")
    assert frame[:6] == b"\x02\x00\x00\x00\x00\x07"
    ip, tcp = frame[14:34], frame[34:]
    assert ones_complement(ip) == 0  # RFC 1071: with its checksum in it
    assert ones_complement(ip[12:20] + struct.pack("!HH", 6, len(tcp)) + tcp) == 0
    assert socket.inet_ntoa(ip[12:16]) == "10.0.0.1"
    assert struct.unpack("!HH", tcp[:4]) == (40_000, 993)
    assert tcp[13] == 2
