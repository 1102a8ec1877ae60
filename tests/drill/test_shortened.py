"""The drill's rules are those of the chart in faster time, and otherwise the same."""

import re

import pytest
import yaml

from lockstitch.tests.dashboards.expressions import RULES, rules
from lockstitch.tests.drill.expected import FIRES, MAY_FIRE, MAY_STAY
from lockstitch.tests.drill.shortened import shortened_expression, shortened_rules


@pytest.mark.parametrize(
    ("expression", "shortened"),
    [
        ("sum(rate(a_total[15m])) > 0.1", "sum(rate(a_total[45000ms])) > 0.1"),
        ("last_over_time(a_total[1d] offset 1h) > 3", "last_over_time(a_total[4320000ms] offset 180000ms) > 3"),
        ("max by (b) (a_age_seconds) > 300", "max by (b) (a_age_seconds) > 15"),
        ('max(a_age_seconds{status="queued"}) > 30', 'max(a_age_seconds{status="queued"}) > 1.5'),
        ("namespace:lag_seconds:p95_5m > 2", "namespace:lag_seconds:p95_5m > 2"),
    ],
)
def test_ranges_offsets_and_thresholds_on_ages_are_divided_and_nothing_else(expression, shortened):
    assert shortened_expression(expression, 20) == shortened


def test_no_rule_keeps_a_duration_of_the_chart(tmp_path):
    written = [yaml.safe_load(path.read_text()) for path in shortened_rules(RULES, tmp_path, 20)]
    text = yaml.safe_dump(written)
    ages = [rule for rule in rules() if re.search(r"_age_seconds[^>]*> [1-9]", rule["expr"])]

    assert sum(len(group["rules"]) for file in written for group in file["groups"]) == len(rules())
    assert not re.search(r"(\[|offset |for: )\d+[smhd]\b", text)
    assert len(ages) == 5
    assert all(shortened_expression(rule["expr"], 20) != rule["expr"] for rule in ages)


def test_every_alert_that_is_expected_is_one_of_the_rules():
    names = {rule["alert"] for rule in rules() if "alert" in rule}

    assert MAY_STAY <= FIRES.keys() <= names
    assert MAY_FIRE.keys() <= names - FIRES.keys()
