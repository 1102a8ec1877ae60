"""Gauges that are on the page only while their values are known: an old value is worse than none."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class GaugeName(NamedTuple):
    """What a gauge is called, what it says, and the names of its labels."""

    name: str
    description: str
    labels: tuple[str, ...] = ()


class VanishingGauges(Collector):
    """The values of several gauges, each set as a whole and taken away as a whole."""

    def __init__(self, gauges: Sequence[GaugeName]) -> None:
        self._gauges = tuple(gauges)
        self._values: dict[GaugeName, dict[tuple[str, ...], float]] = {}

    def __repr__(self) -> str:
        return f"VanishingGauges(shown={sorted(gauge.name for gauge in self._values)})"

    def show(self, gauge: GaugeName, values: Mapping[tuple[str, ...], float] | float) -> None:
        """Set a gauge: one value, or one for each combination of its labels."""
        given: dict[tuple[str, ...], float] = dict(values) if isinstance(values, Mapping) else {(): values}
        if wrong := [row for row in given if len(row) != len(gauge.labels)]:
            raise ValueError(f"{gauge.name} has the labels {gauge.labels}, so {wrong[0]} cannot be shown.")
        self._values[gauge] = given

    def hide(self, *gauges: GaugeName) -> None:
        """Take gauges away until they are set again."""
        for gauge in gauges:
            self._values.pop(gauge, None)

    def collect(self) -> Iterator[Metric]:
        """Yield every gauge; one that is not known has no samples."""
        for gauge in self._gauges:
            family = GaugeMetricFamily(gauge.name, gauge.description, labels=gauge.labels)
            for row, value in dict(self._values.get(gauge, {})).items():
                family.add_metric(row, value)
            yield family
