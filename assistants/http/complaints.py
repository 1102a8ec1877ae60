"""Says what is wrong with a body as the API says it.

Pydantic finds everything that is wrong; the API tells the first. A place such as ``('tools', 0, 'function',
'function', 'name')`` becomes ``tools[0].function.name``: the parts that only say which model of a union was
tried are left out.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lockstitch.assistants import refusals
from lockstitch.errors import ApiError
from lockstitch.starter import contract

_Place = tuple[int | str, ...]

_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a decimal",
    "bool_type": "a boolean",
    "list_type": "an array of objects",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "attribute_type": "one of a string, number or boolean",
    "comparable_type": "one of a string, number, boolean or array of these",
}
_STRING_LISTS = ("file_ids", "vector_store_ids")

# Fields that take one of several types. Pydantic complains once for each, and the one that was meant is told.
_UNIONS = {
    "content": "a string or array of objects",
    "tool_choice": "a string or object",
    "response_format": "a string or object",
    "query": "a string or array of strings",
}
_TAGS = frozenset({"function", "code_interpreter", "file_search", "text", "image_url", "image_file"})
# Fields with an object of one of several kinds, and lists of such; the kind is what its `type` says.
_KINDS = frozenset({"chunking_strategy", "filters"})


def complaint(error: ValidationError) -> ApiError:
    """Return the first thing that is wrong with a body."""
    problems = error.errors(include_url=False)
    first = problems[0]
    if first["type"] == "json_invalid":
        return refusals.not_json()
    if not first["loc"]:
        return refusals.wrong_body_type(_kind(first["input"]))
    depth = _union_depth(first["loc"])
    if depth is None:
        return _worded(first)
    union = first["loc"][:depth]
    return _of_union(union, [problem for problem in problems if problem["loc"][:depth] == union])


def _of_union(union: _Place, problems: Sequence[ErrorDetails]) -> ApiError:
    for problem in problems:
        tried_type = problem["loc"][len(union) :]
        if len(tried_type) > 1 or not _is_other_type(problem):
            return _worded(problem)
    expected = _UNIONS[str(union[-1])]
    return refusals.wrong_type(_path(union), f"one of {expected}", _kind(problems[0]["input"]))


def _is_other_type(problem: ErrorDetails) -> bool:
    if problem["type"] == "literal_error":
        return not isinstance(problem["input"], str)
    return problem["type"] in _EXPECTED


def _union_depth(place: _Place) -> int | None:
    """Return how many parts of ``place`` lead to a union, ``None`` where there is none."""
    for position in range(1, len(place)):
        if _is_union_label(place, position):
            return position
    return None


def _is_union_label(place: _Place, position: int) -> bool:
    label = place[position]
    return (
        place[position - 1] in _UNIONS
        and isinstance(label, str)
        and (("[" in label and label != "[key]") or label in ("constrained-str", "str", "ResponseFormatObject"))
    )


def _path(place: _Place) -> str:
    path = ""
    for position, part in enumerate(place):
        if isinstance(part, int):
            path += f"[{part}]"
        elif not _says_only_what_was_tried(place, position):
            path += f".{part}" if path else part
    return path


def _says_only_what_was_tried(place: _Place, position: int) -> bool:
    if position == 0:
        return False
    in_list = isinstance(place[position - 1], int)
    is_tag = in_list and place[position] in _TAGS and position < len(place) - 1
    is_kind = place[position - 1 - in_list] in _KINDS
    return is_tag or is_kind or place[position] == "[key]" or _is_union_label(place, position)


def _worded(problem: ErrorDetails) -> ApiError:
    param, context, given = _path(problem["loc"]), problem.get("ctx", {}), problem["input"]
    if problem["type"] in _EXPECTED:
        return refusals.wrong_type(param, _expected(problem), _kind(given))
    match problem["type"]:
        case "missing":
            return refusals.missing_parameter(param)
        case "extra_forbidden":
            return refusals.unknown_parameter(param)
        case "union_tag_not_found":
            return refusals.missing_parameter(f"{param}.type")
        case "union_tag_invalid":
            return refusals.unsupported_value(f"{param}.type", context["tag"], _choices(context["expected_tags"]))
        case "literal_error":
            return _not_a_choice(param, given, context["expected"])
    return _out_of_bounds(problem, param, context, given)


def _out_of_bounds(problem: ErrorDetails, param: str, context: dict[str, Any], given: Any) -> ApiError:
    match problem["type"]:
        case "string_too_long" | "too_long":
            return _too_long(problem, param, context["max_length"], len(given))
        case "string_too_short":
            return refusals.empty(param, "string")
        case "too_short":
            return refusals.empty(param, "array")
        case "less_than_equal":
            return refusals.above_maximum(param, *_bound(context["le"]), given)
        case "greater_than_equal":
            return refusals.below_minimum(param, *_bound(context["ge"]), given)
    return _of_wrong_form(problem, param, context)


def _of_wrong_form(problem: ErrorDetails, param: str, context: dict[str, Any]) -> ApiError:
    match problem["type"]:
        case contract.FIELD_MISSING:
            return refusals.missing_parameter(f"{param}.{context['field']}")
        case contract.URL_INVALID:
            return refusals.wrong_url(param)
        case "string_pattern_mismatch":
            return refusals.wrong_pattern(param, context["pattern"])
        case "value_error":
            return refusals.wrong_value(param, str(context["error"]))
    return refusals.wrong_value(param, problem["msg"])


def _too_long(problem: ErrorDetails, param: str, maximum: int, length: int) -> ApiError:
    if isinstance(problem["input"], dict):
        return refusals.too_many_properties(param, maximum, length)
    if problem["loc"][-1] == "[key]":
        return refusals.property_name_too_long(_path(problem["loc"][:-2]), maximum, length)
    kind = "string" if problem["type"] == "string_too_long" else "array"
    return refusals.too_long(param, kind, maximum, length)


def _not_a_choice(param: str, given: Any, expected: str) -> ApiError:
    choices = _choices(expected)
    if isinstance(given, str):
        return refusals.unsupported_value(param, given, choices)
    quoted = ", ".join(f"'{choice}'" for choice in choices)
    return refusals.wrong_type(param, f"one of {quoted}", _kind(given))


def _choices(listed: str) -> list[str]:
    """Take the choices out of pydantic's list, such as ``'a', 'b' or 'c'``."""
    return listed.split("'")[1::2]


def _bound(bound: float) -> tuple[str, str]:
    """Return which kind of number the field takes, and the bound as text."""
    kind = "decimal" if isinstance(bound, float) else "integer"
    return kind, str(int(bound) if bound == int(bound) else bound)


def _expected(problem: ErrorDetails) -> str:
    if problem["type"] == "list_type" and problem["loc"][-1] in _STRING_LISTS:
        return "an array of strings"
    return _EXPECTED[problem["type"]]


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case list():
            return "an array"
    return "an object"
