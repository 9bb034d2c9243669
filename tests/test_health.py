"""One line when a part fails, one when it works again, however many users it has."""

from gatekeeper.errors import GatekeeperError, StoreError
from gatekeeper.health import Health

LOST = StoreError("the disk is full")


def test_two_users_of_a_lost_part_are_one_line() -> None:
    said: list[tuple[str, GatekeeperError | None]] = []
    health = Health(lambda part, error: said.append((part, error)))
    bans, memory = health.of("store"), health.of("store")
    bans(LOST)
    memory(LOST)
    memory(LOST)
    assert said == [("store", LOST)]
    assert health.state("store") == "the disk is full"
    bans(None)
    assert health.state("store") == "the disk is full"
    memory(None)
    assert said == [("store", LOST), ("store", None)]
    assert health.state("store") == "ok"


def test_parts_are_apart_and_well_from_the_start() -> None:
    said: list[str] = []
    health = Health(lambda part, _: said.append(part))
    health.of("enforcer")(None)
    health.of("store")(LOST)
    assert said == ["store"]
    assert (health.state("enforcer"), health.state("unheard of")) == ("ok", "ok")
