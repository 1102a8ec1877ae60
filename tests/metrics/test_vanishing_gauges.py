"""Gauges that are shown only while their values are known."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from lockstitch.metrics.vanishing_gauges import GaugeName, VanishingGauges

LEVEL = GaugeName("level", "How high.")
DOORS = GaugeName("doors", "How many.", ("state", "floor"))


@pytest.fixture
def gauges() -> VanishingGauges:
    return VanishingGauges([LEVEL, DOORS])


def page(gauges: VanishingGauges) -> list[str]:
    registry = CollectorRegistry()
    registry.register(gauges)
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_a_gauge_that_nobody_set_has_no_samples(gauges):
    assert page(gauges) == []


def test_a_gauge_is_set_as_a_whole(gauges):
    gauges.show(LEVEL, 3)
    gauges.show(DOORS, {("open", "1"): 1, ("shut", "1"): 2})
    gauges.show(DOORS, {("shut", "1"): 4})

    assert page(gauges) == ["level 3.0", 'doors{floor="1",state="shut"} 4.0']


def test_a_gauge_that_is_hidden_leaves_no_old_value(gauges):
    gauges.show(LEVEL, 3)
    gauges.hide(LEVEL, DOORS)

    assert page(gauges) == []


def test_values_that_do_not_fit_the_labels_are_refused(gauges):
    with pytest.raises(ValueError, match="doors has the labels"):
        gauges.show(DOORS, 1)
