"""How a JSON schema is read: kinds of values, formats, bounds, and what fits when nothing is said."""

import re
from collections.abc import Mapping
from typing import Any

from lockstitch.assistants.model.clues import ClueKind
from lockstitch.assistants.model.wording import word_set, words

Schema = Mapping[str, Any]

_DEEPEST = 8
_ID_WORDS = word_set("id ids number no nr code sku ref reference key phone zip postcode version year account")
_DATE_WORDS = word_set("date day since until deadline start end before after from to on at of due")
_SURE_DATE_WORDS = word_set("date day since until deadline start end before after due")
_TEXT_WORDS = word_set(
    "query text message body content question prompt input note comment reason description instruction"
    " summary search task request"
)
_BY_FORMAT: Mapping[str, tuple[ClueKind, ...]] = {
    "date": ("date",),
    "date-time": ("date",),
    "time": ("time",),
    "email": ("email",),
    "uri": ("url",),
    "url": ("url",),
    "uuid": ("uuid",),
}
_FORMS: Mapping[str, str] = {
    "date": r"^\d{4}-\d\d-\d\d$",
    "date-time": r"^\d{4}-\d\d-\d\dT",
    "time": r"^\d?\d:\d\d",
    "email": "@",
    "uri": "://",
    "url": "://",
    "uuid": r"^[\da-fA-F-]{36}$",
}
_INVENTED: Mapping[str, str] = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "12:00:00Z",
    "email": "user@example.com",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def plain_schema(schema: Schema, root: Schema) -> Schema:
    """``schema`` with its references (into ``root``) followed and the parts of ``allOf`` put together."""
    for _ in range(_DEEPEST):
        if "$ref" in schema:
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**_target(root, schema["$ref"]), **rest}
        elif "allOf" in schema:
            rest = {key: value for key, value in schema.items() if key != "allOf"}
            schema = _merged([*(plain_schema(part, root) for part in schema["allOf"]), rest])
        else:
            break
    return schema


def _target(root: Schema, reference: str) -> Schema:
    target: Any = root
    for step in filter(None, reference.removeprefix("#").split("/")):
        target = target.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(target, dict) else {}
    return target if isinstance(target, dict) else {}


def _merged(parts: list[Schema]) -> Schema:
    merged: dict[str, Any] = {}
    for part in parts:
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = [*merged.get("required", ()), *part.get("required", ())]
        merged |= part
        if properties:
            merged |= {"properties": properties, "required": required}
    return merged


def kind_of(schema: Schema) -> str:
    """The type of a schema's values; ``null`` only where there is nothing else."""
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return next((str(kind) for kind in kinds if kind != "null"), "null")
    if isinstance(kinds, str):
        return kinds
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def variants(schema: Schema) -> list[Schema]:
    """What ``anyOf`` or ``oneOf`` allow beside null."""
    return [part for part in schema.get("anyOf") or schema.get("oneOf") or () if part.get("type") != "null"]


def is_nullable(schema: Schema) -> bool:
    """Whether null is allowed."""
    kinds = schema.get("type")
    parts = schema.get("anyOf") or schema.get("oneOf") or ()
    in_type = isinstance(kinds, list) and "null" in kinds
    return in_type or kinds == "null" or any(part.get("type") == "null" for part in parts)


def takes_any_text(schema: Schema) -> bool:
    """Whether any text will do for a string."""
    return kind_of(schema) == "string" and not schema.keys() & {
        "anyOf",
        "const",
        "enum",
        "format",
        "oneOf",
        "pattern",
    }


def takes_numbers(schema: Schema, name: str) -> bool:
    """Whether a property may be filled with a number or an identifier."""
    parts = [] if "enum" in schema else [schema, *variants(schema)]
    kinds = {kind_of(part) for part in parts}
    is_identifier = "string" in kinds and "number" in text_kinds(schema, name, again=False)
    return is_identifier or bool(kinds & {"integer", "number"})


def stems_of(name: str) -> frozenset[str]:
    """The stems of the words of a property's name that tell what it is about."""
    return frozenset(word.stem for word in words(name) if len(word.text) > 2 and word.text not in _DATE_WORDS)


def is_free_text(name: str) -> bool:
    """Whether a property of this name takes whatever the user said."""
    return bool({word.stem for word in words(name)} & _TEXT_WORDS)


def text_format(schema: Schema, name: str) -> str:
    """The format of a string: the schema's, else what its name says."""
    if "format" in schema:
        return str(schema["format"])
    names = {word.text for word in words(name)}
    if names & {"email", "mail"}:
        return "email"
    if names & {"url", "uri", "link"}:
        return "url"
    return "date" if names & _SURE_DATE_WORDS and ("date" in names or names <= _DATE_WORDS) else ""


def text_kinds(schema: Schema, name: str, *, again: bool) -> tuple[ClueKind, ...]:
    """The kinds of values that a string property takes, the most fitting first.

    With ``again`` also those that it takes only because it must have one.
    """
    kinds = _BY_FORMAT.get(text_format(schema, name), ())
    if "format" in schema and kinds:
        return kinds
    if is_free_text(name) or name.lower() == "code" or kinds:
        return (*kinds, "quoted")
    if {word.text for word in words(name)} & _ID_WORDS:
        return ("identifier", "number", "uuid", "quoted", *_if(again, "name"))
    return ("quoted", "name", *_if(again, "identifier", "date", "email", "url", "opening"))


def _if(wanted: bool, *kinds: ClueKind) -> tuple[ClueKind, ...]:
    return kinds if wanted else ()


def has_form(form: str, text: str) -> bool:
    """Whether a text looks as a format wants it."""
    return re.search(_FORMS.get(form, ""), text) is not None


def text_fits(schema: Schema, text: str) -> bool:
    """Whether a string keeps to ``minLength``, ``maxLength`` and ``pattern``."""
    if not schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", len(text)):
        return False
    try:
        return re.search(schema.get("pattern", ""), text) is not None
    except re.error:  # a pattern of ECMA 262 that Python does not know
        return True


def number_fits(schema: Schema, number: float) -> bool:
    """Whether a number keeps to the schema's bounds."""
    return (
        schema.get("minimum", number) <= number <= schema.get("maximum", number)
        and schema.get("exclusiveMinimum", number - 1) < number < schema.get("exclusiveMaximum", number + 1)
        and (not schema.get("multipleOf") or number % schema["multipleOf"] == 0)
    )


def invented_number(schema: Schema) -> int | float:
    """One, or else a number at the schema's bounds."""
    step = schema.get("multipleOf") or 1
    tried = [1, step, schema.get("minimum"), schema.get("maximum")]
    for key, way in (("exclusiveMinimum", step), ("exclusiveMaximum", -step)):
        if key in schema:
            tried.append(schema[key] + way)
    return next((number for number in tried if number is not None and number_fits(schema, number)), 1)


def invented_text(schema: Schema, name: str) -> str:
    """A text of the schema's format, else the property's name; a ``pattern`` is not kept."""
    text = _INVENTED.get(text_format(schema, name)) or name.replace("_", " ") or "text"
    return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]
