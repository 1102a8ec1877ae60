"""Which files a search looks at: conditions on the attributes that clients gave to files; pure."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

MAX_COMPARISONS = 256
"""So many comparisons may one filter hold; each is made for every file of the store."""


def _comparable(value: Any) -> Any:
    options = value if isinstance(value, list) else [value]
    if not all(isinstance(option, str | int | float) for option in options):
        raise PydanticCustomError("comparable_type", "neither text nor a number")
    return value


class Comparison(BaseModel):
    """A condition on one attribute."""

    type: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]
    key: str
    value: Annotated[Any, AfterValidator(_comparable)]


class Compound(BaseModel):
    """Conditions that must all hold, or any of them."""

    type: Literal["and", "or"]
    filters: list[Annotated["Comparison | Compound", Field(discriminator="type")]]


Filter = Annotated[Comparison | Compound, Field(discriminator="type")]


def comparisons(condition: Comparison | Compound) -> int:
    """Return how many comparisons there are in a filter."""
    if isinstance(condition, Comparison):
        return 1
    return 1 + sum(comparisons(part) for part in condition.filters)


def holds(condition: Comparison | Compound, attributes: Mapping[str, Any]) -> bool:
    """Tell whether a file with these attributes is meant.

    An attribute that a file does not have equals nothing, is in no list, and is neither more nor less than anything;
    nor is text compared with numbers.
    """
    if isinstance(condition, Compound):
        parts = (holds(part, attributes) for part in condition.filters)
        return all(parts) if condition.type == "and" else any(parts)
    has, given = attributes.get(condition.key), condition.value
    match condition.type:
        case "eq":
            return _equal(has, given)
        case "ne":
            return not _equal(has, given)
        case "in":
            return _among(has, given)
        case "nin":
            return not _among(has, given)
    return _are_ordered(has, given) and _in_order(condition.type, has, given)


def _equal(has: Any, given: Any) -> bool:
    # In Python True equals 1; in JSON it does not.
    return isinstance(has, bool) is isinstance(given, bool) and bool(has == given)


def _among(has: Any, given: Any) -> bool:
    return any(_equal(has, option) for option in (given if isinstance(given, list) else [given]))


def _are_ordered(has: Any, given: Any) -> bool:
    if isinstance(has, bool) or isinstance(given, bool):
        return False
    return any(isinstance(has, kind) and isinstance(given, kind) for kind in (str, int | float))


def _in_order(order: Literal["gt", "gte", "lt", "lte"], has: Any, given: Any) -> bool:
    match order:
        case "gt":
            return bool(has > given)
        case "gte":
            return bool(has >= given)
        case "lt":
            return bool(has < given)
        case "lte":
            return bool(has <= given)
