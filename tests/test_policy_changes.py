"""Changes: what is to be written down, each once, the oldest first, within bounds."""

from gatekeeper.ban import Scope
from gatekeeper.policy import changes as module
from gatekeeper.policy.changes import Changes
from gatekeeper.remembered import LockKind


def test_nothing_has_changed_at_the_start() -> None:
    changes = Changes()
    assert not any((changes.pairs, changes.scores, changes.locks, changes.learning))


def test_change_noted_twice_is_one_in_its_first_place() -> None:
    changes = Changes()
    for key in (1, 2, 1):
        changes.pair(key, 9)
        changes.score(Scope.AUTH, key, parent=False)
        changes.lock(key, LockKind.HELD)
    assert list(changes.pairs) == [(1, 9), (2, 9)]
    assert list(changes.scores) == [(Scope.AUTH, 1, False), (Scope.AUTH, 2, False)]
    assert list(changes.locks) == [(1, LockKind.HELD), (2, LockKind.HELD)]


def test_scores_of_other_scopes_and_of_networks_are_others() -> None:
    changes = Changes()
    changes.score(Scope.AUTH, 1, parent=False)
    changes.score(Scope.MX, 1, parent=False)
    changes.score(Scope.AUTH, 1, parent=True)
    assert len(changes.scores) == 3


def test_login_is_something_learnt_and_a_guess_is_not() -> None:
    changes = Changes()
    changes.score(Scope.AUTH, 1, parent=False)
    assert not changes.learning
    changes.pair(1, 9)
    assert changes.learning


def test_while_nothing_is_written_the_oldest_changes_are_forgotten() -> None:
    changes = Changes()
    for key in range(module.MAX_CHANGES + 10):
        changes.pair(key, 9)
        changes.score(Scope.AUTH, key, parent=False)
    assert len(changes.pairs) == len(changes.scores) == module.MAX_CHANGES
    assert next(iter(changes.pairs)) == (10, 9)
    assert next(iter(changes.scores)) == (Scope.AUTH, 10, False)


def test_flood_of_guesses_forgets_no_login_and_no_lock() -> None:
    changes = Changes()
    changes.pair(1, 9)
    changes.lock(1, LockKind.OPERATOR)
    for key in range(module.MAX_CHANGES + 10):
        changes.score(Scope.AUTH, key, parent=False)
    assert (1, 9) in changes.pairs
    assert (1, LockKind.OPERATOR) in changes.locks
