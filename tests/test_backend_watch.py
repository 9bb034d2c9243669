"""When a backend is away, and when it is back."""

from gatekeeper.backend_watch import AWAY_AFTER, BackendWatch


def test_one_that_misses_a_connection_is_not_away() -> None:
    heard: list[tuple[str, str]] = []
    watch = BackendWatch(lambda name, why: heard.append((name, why)))
    for why in ("refused", "", "refused", "refused", "", ""):
        watch.opened("dovecot", why)
    assert heard == []


def test_away_and_back_are_told_once_and_each_backend_counts_alone() -> None:
    heard: list[tuple[str, str]] = []
    watch = BackendWatch(lambda name, why: heard.append((name, why)))
    for _ in range(AWAY_AFTER + 20):
        watch.opened("dovecot", "refused")
        watch.opened("postfix", "")
    assert heard == [("dovecot", "refused")]
    watch.opened("dovecot", "")
    watch.opened("dovecot", "")
    assert heard == [("dovecot", "refused"), ("dovecot", "")]
