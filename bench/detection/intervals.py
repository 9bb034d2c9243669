"""A mean over seeds and how sure it is."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# Student's t, two-sided 95 %, by degrees of freedom.
_T95: Final = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)
_T95_MANY: Final = 1.96


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and half the width of its 95 % confidence interval; None with one seed."""

    mean: float
    half: float | None
    seeds: int


def estimate(values: Sequence[float]) -> Estimate | None:
    """Student's interval of the mean; None of nothing."""
    count = len(values)
    if not count:
        return None
    if count == 1:
        return Estimate(values[0], None, 1)
    t = _T95[count - 2] if count - 2 < len(_T95) else _T95_MANY
    return Estimate(statistics.fmean(values), t * statistics.stdev(values) / count**0.5, count)


def words(one: Estimate | None, scale: float = 1.0) -> str:
    """`mean ± half`, each with as many digits as say something; `-` of nothing."""
    if one is None:
        return "-"
    mean = _digits(one.mean * scale)
    if one.half is None or (one.half == 0 and one.mean == 0):
        return mean
    return f"{mean} ± {_digits(one.half * scale)}"


def _digits(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
