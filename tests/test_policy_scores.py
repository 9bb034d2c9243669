"""Scores of networks: all parents carry a guess, and the worst one tells."""

import pytest

from gatekeeper.policy.keys import Place, place
from gatekeeper.policy.scores import SourceScores
from gatekeeper.prefix import entity

NOW = 1_700_000_000.0
SUSPECT = 40.0
V4 = place(entity("203.0.113.9"))
V6 = place(entity("2001:db8:1:200::1"))
SAME_56 = place(entity("2001:db8:1:2ff::1"))
SAME_48 = place(entity("2001:db8:1:300::1"))


def with_guesses(where: Place, weight: float) -> SourceScores:
    scores = SourceScores(3600.0)
    scores.add_to_networks(where, weight, NOW)
    return scores


def scored(scores: SourceScores, where: Place) -> list[float]:
    return [scores.networks.value(parent, NOW) for parent in where.parents]


def test_guess_is_held_against_all_networks_around_it() -> None:
    scores = with_guesses(V6, 3.0)
    assert scored(scores, SAME_56) == pytest.approx([3.0, 3.0])
    assert scored(scores, SAME_48) == pytest.approx([0.0, 3.0])
    assert scored(scores, place(entity("2001:db8:2::1"))) == [0.0, 0.0]


def test_neighbours_in_a_24_share_and_others_do_not() -> None:
    scores = with_guesses(V4, 3.0)
    assert scored(scores, place(entity("203.0.113.200"))) == pytest.approx([3.0])
    assert scored(scores, place(entity("203.0.114.9"))) == [0.0]


def test_customers_56_is_suspect_at_half_of_what_a_48_or_a_24_is() -> None:
    of_56, of_48 = (SourceScores.threshold(parent, SUSPECT) for parent in V6.parents)
    assert of_56 == SUSPECT / 2
    assert of_48 == SourceScores.threshold(V4.parents[0], SUSPECT) == SUSPECT


def test_sources_are_apart_from_networks() -> None:
    scores = with_guesses(V4, SUSPECT)
    assert scores.sources.value(V4.source, NOW) == 0.0
    assert scores.sources.value(V4.parents[0], NOW) == 0.0
