"""Readings in the text format of Prometheus, by prometheus-client from a registry of our own."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

import trio
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from gatekeeper.metrics.families import FAMILIES, Family, Kind, names_of
from gatekeeper.tally import Histogram
from gatekeeper.web import Request, Response, Route, Routes

_TOTAL: Final = "_total"


class Reading(NamedTuple):
    """One value of a metric, with its labels' values in the metric's order."""

    family: Family
    value: float | Histogram
    labels: tuple[str, ...] = ()


Source = Callable[[], Awaitable[Iterable[Reading]]]


class Exposition(Collector):
    """What `sources` have to tell, when it is asked for. Sources may wait, each within a deadline
    of its own; they must not raise."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._readings: list[Reading] = []
        self._one_at_a_time = trio.Lock()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)  # processor time, memory and descriptors

    def routes(self) -> Routes:
        """`/metrics`."""
        return {"/metrics": Route(self._answer)}

    async def text(self) -> bytes:
        """All metrics as they are now."""
        async with self._one_at_a_time:
            self._readings = [one for source in self._sources for one in await source()]
            return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """What `collect` gives, without values: prometheus-client asks at registration."""
        return [_metric(family, []) for family in FAMILIES.values()]

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`. Every family is there, some without a
        sample."""
        by_name: dict[str, list[Reading]] = {}
        for one in self._readings:
            by_name.setdefault(one.family.name, []).append(one)
        for name, family in FAMILIES.items():
            yield _metric(family, by_name.get(name, ()))

    async def _answer(self, _request: Request) -> Response:
        return Response(await self.text(), CONTENT_TYPE_LATEST)


def _metric(family: Family, readings: Iterable[Reading]) -> Metric:
    labels = names_of(family.labels)
    if family.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(family.name, family.text, labels=labels)
        for one in readings:
            assert isinstance(one.value, Histogram), "as its family says"
            histogram.add_metric(one.labels, _buckets(one.value), one.value.total)
        return histogram
    plain = (
        CounterMetricFamily(family.name.removesuffix(_TOTAL), family.text, labels=labels)
        if family.kind is Kind.COUNTER
        else GaugeMetricFamily(family.name, family.text, labels=labels)
    )
    for one in readings:
        assert not isinstance(one.value, Histogram), "as its family says"
        plain.add_metric(one.labels, one.value)
    return plain


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative, as the format has them."""
    bounds = [*(f"{bound:g}" for bound in histogram.bounds), "+Inf"]
    return list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))
