"""When an operator hears of a certificate: once at each stage, and once when it was renewed."""

from pathlib import Path

import trio
import trio.testing

from gatekeeper.certificate_watch import DAY_S, LOOK_S, CertificateWatch

PATH = Path("/etc/ssl/mail.pem")


class Bench:
    """A watch over certificates a test may replace, on a clock it moves."""

    def __init__(self, **days: float) -> None:
        self.now = 1_700_000_000.0
        self.ends = {Path(name): self.now + left * DAY_S for name, left in days.items()}
        self.heard: list[tuple[str, float, bool]] = []
        self.watch = CertificateWatch(lambda: self.ends, lambda: self.now, self._hear)

    def _hear(self, path: Path, left_s: float, good: bool) -> None:
        self.heard.append((str(path), round(left_s / DAY_S, 2), good))

    def after(self, days: float) -> list[tuple[str, float, bool]]:
        """What is heard at the next look, so many days later."""
        self.now += days * DAY_S
        self.heard.clear()
        self.watch.look()
        return list(self.heard)


def test_each_stage_is_told_once() -> None:
    bench = Bench(a=15)
    assert bench.after(0) == []
    assert bench.after(1) == [("a", 14.0, False)]
    assert bench.after(1) == []
    assert bench.after(6) == [("a", 7.0, False)]
    assert bench.after(6.5) == [("a", 0.5, False)]
    assert bench.after(0.25) == []
    assert bench.after(0.5) == [("a", -0.25, False)]
    assert bench.after(1) == []


def test_one_that_is_late_already_is_told_at_the_first_look() -> None:
    bench = Bench(a=-3, b=90, c=0.9)
    assert bench.after(0) == [("a", -3.0, False), ("c", 0.9, False)]


def test_renewal_is_told_once_and_the_stages_begin_anew() -> None:
    bench = Bench(a=3)
    assert bench.after(0) == [("a", 3.0, False)]
    bench.ends[Path("a")] += 90 * DAY_S
    assert bench.after(0) == [("a", 93.0, True)]
    assert bench.after(1) == []
    assert bench.after(80) == [("a", 12.0, False)]


def test_renewed_for_a_short_time_is_no_good_news_and_told_again_at_its_next_stage() -> None:
    bench = Bench(a=0.5)
    bench.after(0)
    bench.ends[Path("a")] += 6 * DAY_S
    assert bench.after(0) == []
    assert bench.after(6) == [("a", 0.5, False)]


def test_one_that_is_served_no_more_is_forgotten() -> None:
    bench = Bench(a=3)
    bench.after(0)
    ends, bench.ends = bench.ends, {}
    assert bench.after(0) == []
    bench.ends = ends
    assert bench.after(0) == [("a", 3.0, False)]


async def test_it_looks_at_once_and_every_hour(autojump_clock: trio.testing.MockClock) -> None:
    bench = Bench(a=14.01)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.watch.run)
        await trio.sleep(1)
        assert bench.heard == []
        bench.now += DAY_S
        await trio.sleep(LOOK_S)
        assert bench.heard == [("a", 13.01, False)]
        nursery.cancel_scope.cancel()
