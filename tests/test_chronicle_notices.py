"""What is told at once besides its line of the log, and in which stable words the log has it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gatekeeper.backend_watch import AWAY_AFTER
from gatekeeper.chronicle import Chronicle
from gatekeeper.errors import StoreError
from gatekeeper.log import Log
from gatekeeper.notices import Notice
from gatekeeper.policy.breaker import Cause, Figures, Trip
from gatekeeper.remembered import AccountLock, LockKind

HELD = AccountLock(1, LockKind.HELD, 100.0, 86500.0, "new-networks")
LANE = AccountLock(1, LockKind.LANE, 100.0, 3700.0)
TRIP = Trip(Cause.RATE, 100.0, 700.0, Figures(3001, 90, 9, 12, 4))
ANN = "ann@example.org"


def times(number: int, name: str, why: str) -> Callable[[Chronicle], None]:
    def call(told: Chronicle) -> None:
        for _ in range(number):
            told.backend(name, 0.1, why)

    return call


def away_and_back(told: Chronicle) -> None:
    times(AWAY_AFTER, "dovecot", "refused")(told)
    told.backend("dovecot", 0.1, "")


@pytest.mark.parametrize(
    ("happens", "lines"),
    [
        (lambda told: told.lock(HELD, ANN, enforced=True),
         [f"warning account-held why=new-networks for_s=86400 user={ANN}"]),
        (lambda told: told.lock(LANE, ANN, enforced=True),
         [f"warning account-lane-locked for_s=3600 user={ANN}"]),
        (lambda told: told.lock(LANE, ANN, enforced=False),
         [f"warning account-lane-locked for_s=3600 watched=true user={ANN}"]),
        (lambda told: told.breaker(TRIP),
         ["warning breaker state=open cause=rate for_s=600 wanted_minute=3001 wanted_10m=90 met=9"
          " around=12 accounts=4"]),
        (lambda told: told.breaker_closed(7), ["info breaker state=closed withheld=7"]),
        (lambda told: told.zone("zen.example", "refused"),
         ["warning zone-off zone=zen.example why=refused"]),
        (lambda told: told.zone("zen.example", ""), ["info zone-on zone=zen.example"]),
        (lambda told: told.health("store", StoreError("full")),
         ["warning health part=store state=full"]),
        (lambda told: told.health("store", None), ["info health part=store state=ok"]),
        (lambda told: told.certificate(Path("/c.pem"), 6.5 * 86400, good=False),
         ["warning certificate state=expires left_days=6 path=/c.pem"]),
        (lambda told: told.certificate(Path("/c.pem"), -3600, good=False),
         ["warning certificate state=expired left_days=-1 path=/c.pem"]),
        (lambda told: told.certificate(Path("/c.pem"), 9e6, good=True),
         ["info certificate state=renewed left_days=104 path=/c.pem"]),
        (away_and_back,
         ["warning backend state=away name=dovecot why=refused",
          "info backend state=back name=dovecot"]),
        (times(AWAY_AFTER - 1, "dovecot", "refused"), []),
    ],
)  # fmt: skip
async def test_each_is_a_line_and_a_notice(
    happens: Callable[[Chronicle], None], lines: list[str]
) -> None:
    written: list[bytes] = []
    heard: list[Notice] = []
    log = Log(written.append, clock=lambda: 0.0)
    happens(Chronicle(log, tell=heard.append))
    await log.aclose()
    said = b"".join(written).decode().splitlines()
    assert [line.partition(" ")[2] for line in said] == [line.partition(" ")[2] for line in lines]
    assert len(heard) == len(lines)
    assert [notice.over for notice in heard] == [line.startswith("info") for line in lines]
