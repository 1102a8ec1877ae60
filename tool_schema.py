"""From a handler's signature and docstring to the JSON schema that a model fills, and back to arguments.

The schema is strict (Structured Outputs: every object closed, every property required, an optional one
nullable) wherever the signature allows it. Free-form dicts, ``Any`` and mixed tuples have no strict form;
such a handler gets an ordinary JSON schema and ``strict`` is False.

One rule for optional parameters, at every depth and in both forms: **null stands for "not given"**, and the
default applies. What strict mode has no keyword for (defaults, lengths, some formats) is written into the
description, and checked when the arguments arrive.
"""

import inspect
import json
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Union, get_args, get_origin

import docstring_parser
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import SchemaError

from lockstitch.errors import ToolError, ToolSignatureUnsupported

Schema = dict[str, Any]

DONE = "Done."
"""The output of a handler declared ``-> None``: a model reads "null" as "it found nothing"."""

# What pydantic raises for an annotation that it cannot validate or describe.
_UNUSABLE_TYPE = (PydanticUserError, SchemaError, NameError, TypeError, ValueError)

_UNRESOLVABLE = (NameError, AttributeError, SyntaxError, TypeError)


@dataclass(frozen=True, eq=False)
class HandlerSignature:
    """What a handler takes and returns, as a model sees it (``parameters``) and as Python sees it."""

    name: str
    description: str
    parameters: Schema
    strict: bool
    context_parameter: str | None
    returns: Any
    _inputs: tuple["_Parameter", ...] = field(repr=False)
    _model: type[BaseModel] = field(repr=False)
    _results: TypeAdapter[Any] = field(repr=False)
    _source: Schema = field(repr=False)  # the schema before it was made strict: it knows what is optional

    def keyword_arguments(self, given: dict[str, Any]) -> dict[str, Any]:
        """Validate what a model sent (decoded JSON) and convert it to what the handler's annotations say.

        Numbers and booleans that come as text are taken, as pydantic does. Optional parameters that are
        absent or null are left out, so that Python's own default applies. Raises pydantic's ValidationError.
        """
        sent = _without_nulls(given, self._source, self._source.get("$defs", {}))
        # As JSON, because a date or an enum inside a model in pydantic's strict mode is text there only.
        validated = self._model.model_validate_json(json.dumps(sent))
        return {
            it.name: getattr(validated, it.field)
            for it in self._inputs
            if it.field in validated.model_fields_set or it.required
        }

    def output(self, result: Any) -> str:
        """Write what the handler returned as a tool output.

        A str is the output as it is; None is ``Done.`` where the handler is declared ``-> None``, and
        ``null`` otherwise; everything else is JSON by the return annotation. Raises ToolError for what JSON
        cannot carry.
        """
        if result is None and self.returns is type(None):
            return DONE
        try:
            if isinstance(result, str):
                text = str.__str__(result)  # of a str enum its value
                text.encode()  # half a surrogate pair could be neither stored nor sent
                return text
            return self._results.dump_json(result, warnings=False).decode()
        except (ValueError, TypeError, RecursionError, PydanticUserError) as error:
            raise ToolError(
                f"The tool {self.name!r} returned a {type(result).__name__} that cannot be written as JSON "
                f"({str(error).splitlines()[0]}); return text, plain values, a pydantic model or a dataclass."
            ) from error


def read_signature(function: Callable[..., Any], *, name: str, context_type: type) -> HandlerSignature:
    """Derive what a model may send to a handler; a parameter of ``context_type`` is left out of the schema.

    Raises ToolSignatureUnsupported, which names the parameter and says what to do.
    """
    description, documented = _documentation(function)
    parameters: list[_Parameter] = []
    contexts: list[str] = []
    for declared in _declared(function, name):
        annotation = _annotation(declared, function, name)
        if _is_context(annotation, context_type):
            contexts.append(declared.name)
        else:
            parameters.append(_Parameter(declared.name, f"p{len(parameters)}", annotation, declared.default))
    if len(contexts) > 1:
        raise ToolSignatureUnsupported(
            name,
            f"parameters {' and '.join(map(repr, contexts))} all take {context_type.__name__}; keep one.",
        )
    model, described = _compile(parameters, name)
    for parameter in documented.keys() & described["properties"].keys():
        described["properties"][parameter].setdefault("description", documented[parameter])
    source = _tidy(described)
    source.setdefault("required", [])
    strict = _strict_or_none(source)
    returns = _returns(function)
    return HandlerSignature(
        name=name,
        description=description,
        parameters=source if strict is None else strict,
        strict=strict is not None,
        context_parameter=contexts[0] if contexts else None,
        returns=returns,
        _inputs=tuple(parameters),
        _model=model,
        _results=_result_adapter(returns),
        _source=source,
    )


# --- the signature


@dataclass(frozen=True)
class _Parameter:
    name: str
    field: str  # of the pydantic model: a parameter may be named as a field cannot (_private, model_config)
    annotation: Any
    default: Any

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


def _declared(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    if inspect.isclass(function):
        raise ToolSignatureUnsupported(name, "it is a class; decorate a function that makes what is needed.")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError, NameError) as error:
        raise ToolSignatureUnsupported(name, f"its signature cannot be read ({error}).") from error
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ToolSignatureUnsupported(name, "it is a generator; return a list instead of yielding items.")
    for parameter in parameters:
        if problem := _problem_with(parameter):
            raise ToolSignatureUnsupported(name, problem)
    return parameters


def _problem_with(parameter: inspect.Parameter) -> str | None:
    name = parameter.name
    match parameter.kind:
        case inspect.Parameter.VAR_POSITIONAL:
            return f"parameter '*{name}' takes any number of values; use a list: {name}: list[str]."
        case inspect.Parameter.VAR_KEYWORD:
            return f"parameter '**{name}' takes any name; declare each one, or one {name}: dict[str, str]."
        case inspect.Parameter.POSITIONAL_ONLY:
            return f"parameter {name!r} is positional-only, and a model gives names; remove the '/'."
    if parameter.annotation is inspect.Parameter.empty and name in {"self", "cls"}:
        return f"parameter {name!r} makes it a method; register Tool.from_function(its_object.method)."
    if parameter.annotation is inspect.Parameter.empty:
        return f"parameter {name!r} has no annotation; say what it takes, for example {name}: str."
    if isinstance(parameter.default, FieldInfo):
        return f"parameter {name!r} has Field(...) as its default; write {name}: Annotated[..., Field(...)]."
    return None


def _annotation(parameter: inspect.Parameter, function: Callable[..., Any], name: str) -> Any:
    try:
        return _resolved(parameter.annotation, function)
    except _UNRESOLVABLE as error:
        raise ToolSignatureUnsupported(
            name,
            f"the annotation of parameter {parameter.name!r} cannot be resolved ({error}); define or import "
            "its type at module level, and not under `if TYPE_CHECKING`.",
        ) from error


def _returns(function: Callable[..., Any]) -> Any:
    """The return annotation; Any where there is none or it only exists for the type checker."""
    annotation = inspect.signature(function).return_annotation
    if annotation is inspect.Signature.empty:
        return Any
    try:
        return _resolved(annotation, function)
    except _UNRESOLVABLE:
        return Any


def _result_adapter(returns: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(returns)
    except _UNUSABLE_TYPE:  # the value itself then says how it is written
        return TypeAdapter(Any)


def _resolved(annotation: Any, function: Callable[..., Any]) -> Any:
    # One annotation at a time, so that an error can name its parameter.
    def holder() -> None: ...

    holder.__annotations__ = {"it": annotation}
    namespace = getattr(inspect.unwrap(function), "__globals__", {})
    return typing.get_type_hints(holder, globalns=namespace, include_extras=True)["it"]


def _is_context(annotation: Any, context_type: type) -> bool:
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        return any(_is_context(part, context_type) for part in get_args(annotation))
    return annotation is context_type


def _documentation(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """The description, and what the docstring says of each parameter (Google, NumPy or reST style)."""
    text = inspect.getdoc(function) or ""
    try:
        docstring = docstring_parser.parse(text)
    except docstring_parser.ParseError:
        return text, {}
    documented = {
        name.strip().lstrip("*"): " ".join(parameter.description.split())
        for parameter in docstring.params
        if parameter.description
        for name in parameter.arg_name.split(",")
    }
    return (docstring.description or "").strip(), documented


class _SchemaGenerator(GenerateJsonSchema):
    # A default that JSON cannot carry is simply not mentioned.
    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - pydantic's own shape


def _compile(parameters: Sequence[_Parameter], name: str) -> tuple[type[BaseModel], Schema]:
    fields: dict[str, Any] = {it.field: (it.annotation, _field(it)) for it in parameters}
    try:
        model = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
        return model, model.model_json_schema(schema_generator=_SchemaGenerator)
    except _UNUSABLE_TYPE as error:
        if len(parameters) > 1:  # find the one to name
            for parameter in parameters:
                _compile([parameter], name)
        names = " and ".join(repr(it.name) for it in parameters)
        lines = str(error).splitlines()
        reason = lines[-1].strip() if isinstance(error, SchemaError) else lines[0]
        raise ToolSignatureUnsupported(
            name,
            f"parameter {names} has a type without a JSON schema ({reason}); use plain types, lists, "
            "enums, pydantic models, dataclasses or typed dicts.",
        ) from error


def _field(parameter: _Parameter) -> Any:
    if parameter.required:
        return Field(alias=parameter.name)
    return Field(alias=parameter.name, default=parameter.default)


# --- the JSON schema, made tidy and then strict

_NAMED_CHILDREN = frozenset({"properties", "$defs", "patternProperties"})
_LISTED_CHILDREN = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SINGLE_CHILDREN = frozenset({"items", "additionalProperties", "propertyNames"})
_NOISE = frozenset({"title", "discriminator", "examples", "deprecated", "readOnly", "writeOnly"})
_LOOKAROUNDS = ("(?=", "(?!", "(?<=", "(?<!")

# Structured Outputs: the keywords, and the formats, that a strict schema may use.
_STRICT_KEYWORDS = frozenset(
    {"$ref", "$defs", "type", "enum", "const", "anyOf", "description"}
    | {"properties", "required", "additionalProperties", "items", "minItems", "maxItems"}
    | {"pattern", "format", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
)
_STRICT_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
# Without these a schema would say something else, so there is no strict form.
_NEVER_STRICT = frozenset(
    {"prefixItems", "patternProperties", "propertyNames", "allOf", "not", "if", "contains"}
    | {"dependentRequired", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems"}
)
# Without these it only says less; the description says the rest.
_NOTES = {
    "minLength": "Minimum length: {}.",
    "maxLength": "Maximum length: {}.",
    "uniqueItems": "No item twice.",
    "format": "Format: {}.",
}
_LONGEST_DEFAULT = 200
_JSON_TYPES = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


class _NoStrictFormError(Exception):
    """A schema that strict mode cannot express."""


def _tidy(node: Schema) -> Schema:
    """Drop what a model does not need, and turn a default into a sentence of the description."""
    kept = {key: value for key, value in node.items() if key not in _NOISE}
    notes = []
    if "oneOf" in kept:
        kept["anyOf"] = kept.pop("oneOf")
    if any(lookaround in kept.get("pattern", "") for lookaround in _LOOKAROUNDS):
        # OpenAI refuses such a schema, strict or not: "regex lookaround is not supported".
        notes.append(f"Pattern: {kept.pop('pattern')}")
    default = json.dumps(kept.pop("default", None), ensure_ascii=False)
    if default != "null" and len(default) <= _LONGEST_DEFAULT:
        notes.append(f"Default: {default}.")
    tidy = _map_children(kept, _tidy)
    items = tidy.get("prefixItems", [])
    if items and all(item == items[0] for item in items):  # tuple[float, float]
        tidy["items"] = tidy.pop("prefixItems")[0]
    return _with_notes(tidy, notes)


def _strict_or_none(schema: Schema) -> Schema | None:
    try:
        return _strict(schema)
    except _NoStrictFormError:
        return None


def _strict(node: Schema) -> Schema:
    if not _has_strict_form(node):
        raise _NoStrictFormError
    kept = {key: value for key, value in node.items() if key in _STRICT_KEYWORDS}
    if kept.get("format") not in _STRICT_FORMATS:
        kept.pop("format", None)
    notes = [note.format(node[key]) for key, note in _NOTES.items() if key in node and key not in kept]
    strict = _with_notes(_map_children(kept, _strict), notes)
    if "$ref" in strict and len(strict) > 1:  # a reference may have no neighbours
        strict = {"anyOf": [{"$ref": strict.pop("$ref")}], **strict}
    if "type" not in strict and not strict.keys() & {"anyOf", "$ref"}:
        strict["type"] = _types_of(strict["enum"] if "enum" in strict else [strict["const"]])
    return _closed(strict) if strict.get("type") == "object" else strict


def _has_strict_form(node: Schema) -> bool:
    says_something = node.keys() & {"type", "anyOf", "$ref", "enum", "const"}
    open_object = node.get("additionalProperties", False) is not False
    open_array = node.get("type") == "array" and "items" not in node
    return bool(says_something) and not (open_object or open_array or node.keys() & _NEVER_STRICT)


def _closed(node: Schema) -> Schema:
    """An object with every property required; those that were optional may be null instead."""
    required = node.get("required", [])
    properties = {
        name: child if name in required else _nullable(child) for name, child in node.get("properties", {}).items()
    }
    return {**node, "properties": properties, "required": list(properties), "additionalProperties": False}


def _nullable(node: Schema) -> Schema:
    if _allows_null(node):
        return node
    described = {"description": node["description"]} if "description" in node else {}
    bare = {key: value for key, value in node.items() if key != "description"}
    branches = bare["anyOf"] if bare.keys() == {"anyOf"} else [bare]
    return {"anyOf": [*branches, {"type": "null"}], **described}


def _allows_null(node: Schema) -> bool:
    types_named = node.get("type")
    return (
        types_named == "null"
        or (isinstance(types_named, list) and "null" in types_named)
        or any(_allows_null(branch) for branch in node.get("anyOf", []))
    )


def _types_of(values: list[Any]) -> str | list[str]:
    names = list(dict.fromkeys(_JSON_TYPES[type(value)] for value in values))
    return names[0] if len(names) == 1 else names


def _map_children(node: Schema, transform: Callable[[Schema], Schema]) -> Schema:
    mapped: Schema = {}
    for key, value in node.items():
        if key in _NAMED_CHILDREN:
            mapped[key] = {name: transform(child) for name, child in value.items()}
        elif key in _LISTED_CHILDREN:
            mapped[key] = [transform(child) for child in value]
        elif key in _SINGLE_CHILDREN and isinstance(value, dict):
            mapped[key] = transform(value)
        else:
            mapped[key] = value
    return mapped


def _with_notes(node: Schema, notes: Sequence[str]) -> Schema:
    if not notes:
        return node
    said = node.get("description", "").strip()
    if said and said[-1] not in ".!?":
        said += "."
    return {**node, "description": " ".join(filter(None, [said, *notes]))}


# --- from the arguments back


def _without_nulls(value: Any, node: Schema, definitions: dict[str, Schema]) -> Any:
    """Leave out every null that stands for "not given", at any depth."""
    shape = _shape_of(value, node, definitions)
    if isinstance(value, list):
        return [_without_nulls(item, shape.get("items", {}), definitions) for item in value]
    if not isinstance(value, dict):
        return value
    properties, others = shape.get("properties", {}), shape.get("additionalProperties")
    optional = properties.keys() - set(shape.get("required", []))
    others = others if isinstance(others, dict) else {}
    return {
        key: _without_nulls(item, properties.get(key, others), definitions)
        for key, item in value.items()
        if item is not None or key not in optional
    }


def _shape_of(value: Any, node: Schema, definitions: dict[str, Schema]) -> Schema:
    """The schema that describes this value: references followed, and of a union the branch that fits."""
    while "$ref" in node:
        node = definitions[node["$ref"].removeprefix("#/$defs/")]
    if "anyOf" not in node:
        return node
    kind = "object" if isinstance(value, dict) else "array" if isinstance(value, list) else None
    branches = [_shape_of(value, branch, definitions) for branch in node["anyOf"]]
    same_kind = [branch for branch in branches if branch.get("type") == kind]
    if len(same_kind) == 1:
        return same_kind[0]
    return next((branch for branch in same_kind if isinstance(value, dict) and _fits(value, branch)), {})


def _fits(value: dict[str, Any], node: Schema) -> bool:
    properties = node.get("properties", {})
    tags_agree = all(
        value[key] == child.get("const", value[key]) and value[key] in child.get("enum", [value[key]])
        for key, child in properties.items()
        if key in value
    )
    complete = value.keys() >= set(node.get("required", []))
    known = bool(node.get("additionalProperties", False)) or value.keys() <= properties.keys()
    return complete and known and tags_agree
