"""Facts: what follows from them."""

import pytest
from facts import facts, login

from gatekeeper.policy.accounts import Knowledge, Standing


@pytest.mark.parametrize("standing", Standing)
@pytest.mark.parametrize("knowledge", Knowledge)
def test_only_the_right_password_from_a_familiar_place_is_at_home(
    standing: Standing, knowledge: Knowledge
) -> None:
    expected = (standing, knowledge) == (Standing.FAMILIAR, Knowledge.RIGHT)
    assert login(standing=standing, knowledge=knowledge).at_home is expected


def test_event_counted_where_it_raised_the_score() -> None:
    assert facts(score_before=1.0, score=1.5).counted
    assert not facts(score_before=1.5, score=1.5).counted
    assert not facts(score_before=1.5, score=0.5).counted


def test_facts_are_not_changed() -> None:
    with pytest.raises(AttributeError):
        facts().score = 1.0  # type: ignore[misc]  # the point of the test
