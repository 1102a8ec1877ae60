"""Conditions on attributes."""

import pytest
from pydantic import TypeAdapter

from lockstitch.assistants.search.filters import Filter, comparisons, holds

FILTER = TypeAdapter(Filter)
FILE = {"year": 2024, "team": "blue", "draft": True, "score": 0.5}


def condition(kind, key, value):
    return {"type": kind, "key": key, "value": value}


@pytest.mark.parametrize(
    ("filtered", "holding"),
    [
        (condition("eq", "team", "blue"), True),
        (condition("eq", "team", "Blue"), False),
        (condition("eq", "year", 2024.0), True),
        (condition("eq", "draft", True), True),
        (condition("eq", "draft", 1), False),
        (condition("ne", "team", "red"), True),
        (condition("ne", "owner", "anybody"), True),
        (condition("eq", "owner", "anybody"), False),
        (condition("gt", "year", 2023), True),
        (condition("gt", "year", 2024), False),
        (condition("gte", "year", 2024), True),
        (condition("lt", "score", 1), True),
        (condition("lte", "score", 0.5), True),
        (condition("lt", "score", 0.5), False),
        (condition("gt", "team", "apple"), True),
        (condition("gt", "team", 5), False),
        (condition("gt", "draft", 0), False),
        (condition("lt", "owner", "z"), False),
        (condition("in", "team", ["red", "blue"]), True),
        (condition("in", "year", [2022, 2023]), False),
        (condition("in", "owner", ["anybody"]), False),
        (condition("nin", "team", ["red"]), True),
        (condition("nin", "owner", ["anybody"]), True),
        ({"type": "and", "filters": []}, True),
        ({"type": "or", "filters": []}, False),
        ({"type": "and", "filters": [condition("eq", "year", 2024), condition("eq", "team", "red")]}, False),
        ({"type": "or", "filters": [condition("eq", "year", 2024), condition("eq", "team", "red")]}, True),
        (
            {"type": "and", "filters": [{"type": "or", "filters": [condition("eq", "year", 2024)]},
                                        condition("eq", "draft", True)]},
            True,
        ),
    ],
)  # fmt: skip
def test_a_condition_holds_or_not(filtered, holding):
    assert holds(FILTER.validate_python(filtered), FILE) is holding


def test_comparisons_are_counted_through_all_levels():
    one = condition("eq", "a", 1)
    nested = FILTER.validate_python({"type": "or", "filters": [one, {"type": "and", "filters": [one, one]}]})

    assert comparisons(nested) == 5
