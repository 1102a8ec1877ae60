"""Arguments for a function call, made from its JSON schema and the words of a message.

A stand-in for what a language model does: required properties always get a value, optional ones only if the
message gives one. Values that fit are taken in the order of the message; nothing here depends on the clock.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lockstitch.assistants.model.clues import Clue, Clues, as_number
from lockstitch.assistants.model.schemas import (
    Schema,
    has_form,
    invented_number,
    invented_text,
    is_free_text,
    is_nullable,
    kind_of,
    number_fits,
    plain_schema,
    stems_of,
    takes_any_text,
    takes_numbers,
    text_fits,
    text_format,
    text_kinds,
    variants,
)
from lockstitch.assistants.model.wording import word_set, words

_DEEPEST = 8
"""Levels of nesting after which a schema is taken to describe itself."""
_LONGEST = 20
"""Items that a list may get from one message."""
_FLAG_WORDS = word_set("is has with include enable use should want")
_NEGATIONS = word_set("no not without don never")
_ANY_ITEM: Schema = {"type": "string"}


class _Nothing:
    """What the message gives for a property of which it says nothing; None is a value."""


_NOTHING: Final = _Nothing()


def fill_arguments(schema: Schema, message: str) -> dict[str, Any]:
    """Arguments that fit ``schema`` (an object's), as far as ``message`` and the schema tell."""
    filled = _Filler(schema, Clues(message)).required(schema, "", 0)
    return filled if isinstance(filled, dict) else {}


def fill_answer(schema: Schema, message: str, answer: str) -> Any:
    """A value that fits ``schema``, with ``answer`` in its first property that takes any text."""
    filled = _Filler(schema, Clues(message)).required(schema, "", 0)
    if isinstance(filled, str):
        return answer
    return _with_text(schema, plain_schema(schema, schema), filled, answer)


def _with_text(root: Schema, schema: Schema, filled: Any, text: str) -> Any:
    """``filled`` with ``text`` in the first property that is a string of any text, at whatever depth."""
    if not isinstance(filled, dict):
        return filled
    for name, part in schema.get("properties", {}).items():
        inner = plain_schema(part, root)
        if takes_any_text(inner):
            changed: Any = text[: inner.get("maxLength")]
        else:
            changed = _with_text(root, inner, filled.get(name), text)
        if changed != filled.get(name):
            return {**filled, name: changed}
    return filled


class _Filler:
    """Fills one schema from one message; ``path`` is a property's place, ``depth`` its nesting."""

    def __init__(self, root: Schema, clues: Clues) -> None:
        self._root = root
        self._clues = clues

    def required(self, schema: Schema, path: str, depth: int) -> Any:
        """A value for something that must have one: from the message, else by default, else invented."""
        schema = self._plain(schema)
        if kind_of(schema) == "object":
            return self._object(schema, path, depth)
        value = self._given(schema, path, depth)
        if isinstance(value, _Nothing) and "default" in schema:
            return schema["default"]
        if isinstance(value, _Nothing) and is_nullable(schema):
            return None
        if isinstance(value, _Nothing):
            value = self._given(schema, path, depth, again=True)
        return self._invented(schema, path, depth) if isinstance(value, _Nothing) else value

    def _plain(self, schema: Schema) -> Schema:
        return plain_schema(schema, self._root)

    def _given(self, schema: Schema, path: str, depth: int, again: bool = False) -> Any:
        """What the message gives; with ``again`` also what it gave to other properties before."""
        schema = self._plain(schema)
        if depth > _DEEPEST or "const" in schema:
            return _NOTHING
        if "enum" in schema:
            return next(self._mentioned(schema["enum"]), _NOTHING)
        alternatives = variants(schema)
        for variant in alternatives:
            value = self._given(variant, path, depth + 1, again)
            if not isinstance(value, _Nothing):
                return value
        return _NOTHING if alternatives else self._given_of_kind(schema, path, depth, again)

    def _given_of_kind(self, schema: Schema, path: str, depth: int, again: bool) -> Any:
        match kind_of(schema):
            case "integer" | "number":
                return self._number(schema, path, again)
            case "boolean":
                return self._flag(path)
            case "array":
                return self._list(schema, path, depth)
            case "object":
                return self._object_if_given(schema, path, depth)
            case "string":
                return self._text(schema, path, again)
        return _NOTHING

    def _object(self, schema: Schema, path: str, depth: int) -> dict[str, Any]:
        """An object with its required properties, and those others that the message gives."""
        properties = self._properties(schema, path)
        needed = {name: properties[name] for name in schema.get("required", ()) if name in properties}
        found: dict[str, Any] = {}
        for name, part in sorted(needed.items(), key=_lists_last) if depth <= _DEEPEST else ():
            found[name] = self.required(part, f"{path}/{name}", depth + 1)
        found |= self._given_properties({k: v for k, v in properties.items() if k not in found}, path, depth)
        return {name: found[name] for name in properties if name in found}

    def _object_if_given(self, schema: Schema, path: str, depth: int) -> Any:
        """An object if the message gives one of its properties."""
        properties = self._properties(schema, path)
        found = self._given_properties(properties, path, depth)
        if not found:
            return _NOTHING
        for name in schema.get("required", ()):
            if name in properties and name not in found:
                found[name] = self.required(properties[name], f"{path}/{name}", depth + 1)
        return {name: found[name] for name in properties if name in found}

    def _properties(self, schema: Schema, path: str) -> dict[str, Schema]:
        properties = {name: self._plain(part) for name, part in schema.get("properties", {}).items()}
        numeric = [name for name, part in properties.items() if takes_numbers(part, name)]
        textual = [name for name, part in properties.items() if takes_any_text(part)]
        self._clues.reserve(("number", "identifier"), {f"{path}/{name}": stems_of(name) for name in numeric})
        self._clues.reserve(["quoted"], {f"{path}/{name}": stems_of(name) for name in textual})
        return properties

    def _given_properties(self, properties: Mapping[str, Schema], path: str, depth: int) -> dict[str, Any]:
        found = {}
        for name, part in sorted(properties.items(), key=_lists_last):
            value = self._given(part, f"{path}/{name}", depth + 1)
            if not isinstance(value, _Nothing):
                found[name] = value
        return found

    def _list(self, schema: Schema, path: str, depth: int) -> Any:
        items = self._plain(schema.get("items") or _ANY_ITEM)
        most = min(schema.get("maxItems", _LONGEST), _LONGEST)
        found = list(self._mentioned(items["enum"]))[:most] if "enum" in items else []
        left = self._clues.left + 1
        while "enum" not in items and len(found) < most and self._clues.left < left:
            left = self._clues.left  # an item that takes nothing from the message would come for ever
            value = self._given(items, path, depth + 1)
            if isinstance(value, _Nothing):
                break
            found.append(value)
        while found and len(found) < schema.get("minItems", 0):
            found.append(self.required(items, path, depth + 1))
        return found or _NOTHING

    def _number(self, schema: Schema, path: str, again: bool) -> Any:
        whole = kind_of(schema) == "integer"
        form = re.compile(r"-?\d+" if whole else r"-?\d+(\.\d+)?")

        def fits(text: str) -> bool:
            plain = text.replace(",", "")
            return form.fullmatch(plain) is not None and number_fits(schema, float(plain))

        assigned = self._clues.assigned(_name(path), fits)
        if assigned is not None:
            return as_number(assigned)
        clue = self._clues.take(["number"], lambda clue: fits(clue.text), path, again)
        return as_number(clue.text) if clue else self._part_of_date(schema, path)

    def _part_of_date(self, schema: Schema, path: str) -> Any:
        part = _name(path).lower()
        if part not in ("year", "month", "day"):
            return _NOTHING

        def fits(clue: Clue) -> bool:
            return number_fits(schema, getattr(clue.day, part))

        clue = self._clues.take(["date"], fits, path, again=True)
        return getattr(clue.day, part) if clue else _NOTHING

    def _flag(self, path: str) -> Any:
        """True if all telling words of the name are in the message, False if they are negated there."""
        wanted = {word.stem for word in words(_name(path)) if word.text not in _FLAG_WORDS}
        assigned = self._clues.assigned(_name(path), lambda text: text.lower() in ("true", "yes", "false", "no"))
        if assigned is not None:
            return assigned.lower() in ("true", "yes")
        said = self._clues.words
        if not wanted or not wanted <= {word.stem for word in said}:
            return _NOTHING
        place = next(place for place, word in enumerate(said) if word.stem in wanted)
        return not any(word.text in _NEGATIONS for word in said[max(place - 2, 0) : place])

    def _text(self, schema: Schema, path: str, again: bool) -> Any:
        name = _name(path)
        form = text_format(schema, name)
        assigned = self._clues.assigned(name, lambda text: text_fits(schema, text) and has_form(form, text))
        if assigned is not None:
            return assigned
        kinds = text_kinds(schema, name, again=again)
        clue = self._clues.take(kinds, lambda clue: text_fits(schema, _text_of(clue, form)), path, again)
        if clue is None:
            return self._whole_message(schema, name) if again else _NOTHING
        if clue.kind == "date" and form == "date-time":
            time = self._clues.take(["time"], bool, path)
            return f"{clue.day}T{time.text.rjust(5, '0') if time else '00:00'}:00Z"
        return _text_of(clue, form)

    def _whole_message(self, schema: Schema, name: str) -> Any:
        """For a text that must be given: everything the user said, or a program that prints it."""
        said = self._clues.message.strip()
        if not said or "format" in schema:
            return _NOTHING
        if name.lower() == "code":
            return f"print({said!r})"
        return said[: schema.get("maxLength")] if is_free_text(name) else _NOTHING

    def _mentioned(self, values: list[Any]) -> Iterator[Any]:
        """The values of an enum that the message has, in its order."""
        places = {}
        for number, value in enumerate(values):
            place = None if value is None or isinstance(value, bool) else self._clues.mentions(str(value))
            if place is not None:
                places[number] = (place, -len(str(value)))
        return (values[number] for number in sorted(places, key=lambda number: places[number]))

    def _invented(self, schema: Schema, path: str, depth: int) -> Any:
        if "const" in schema:
            return schema["const"]
        values = schema.get("enum") or schema.get("examples")
        if values:
            return values[0]
        alternatives = variants(schema)
        if alternatives:
            return self.required(alternatives[0], path, depth + 1) if depth <= _DEEPEST else None
        match kind_of(schema):
            case "integer" | "number":
                return invented_number(schema)
            case "array":
                return self._invented_list(schema, path, depth)
            case "boolean":
                return False
        return invented_text(schema, _name(path))

    def _invented_list(self, schema: Schema, path: str, depth: int) -> list[Any]:
        if depth > _DEEPEST:
            return []
        if "prefixItems" in schema:
            return [self.required(part, path, depth + 1) for part in schema["prefixItems"]]
        count = min(max(schema.get("minItems", 1), 1), schema.get("maxItems", _LONGEST))
        items = schema.get("items") or _ANY_ITEM
        return [self.required(items, path, depth + 1) for _ in range(count)]


def _lists_last(named: tuple[str, Schema]) -> bool:
    """A key for sorting: a list would take everything that is left."""
    return kind_of(named[1]) == "array"


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _text_of(clue: Clue, form: str) -> str:
    return str(clue.day) if clue.kind == "date" and form.startswith("date") else clue.text
