"""What a model is told about a handler: one row per kind of signature, and every schema can be filled."""

import enum
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]  # has no stubs
from pydantic import BaseModel, ConfigDict, Field, HttpUrl
from typing_extensions import TypedDict

from lockstitch.errors import ToolSignatureUnsupported
from lockstitch.tool_schema import HandlerSignature, read_signature
from lockstitch.tools import ToolContext

if TYPE_CHECKING:
    from fractions import Fraction

Function = Callable[..., Any]
Properties = dict[str, dict[str, Any]]

STRICT_ROWS: list[tuple[Function, Properties]] = []
LOOSE_ROWS: list[tuple[Function, Properties]] = []


def becomes(**properties: dict[str, Any]) -> Callable[[Function], None]:
    """The strict schema of each parameter, references written out."""
    return lambda function: STRICT_ROWS.append((function, properties))


def becomes_loose(**properties: dict[str, Any]) -> Callable[[Function], None]:
    """The schema of each parameter of a function that has no strict form."""
    return lambda function: LOOSE_ROWS.append((function, properties))


def optional(schema: dict[str, Any], description: str = "") -> dict[str, Any]:
    nullable = {"anyOf": [schema, {"type": "null"}]}
    return {**nullable, "description": description} if description else nullable


def closed(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


class Priority(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Address(BaseModel):
    street: str = Field(description="With the house number")
    zip: str | None = None


class Customer(BaseModel):
    """Who buys."""

    address: Address
    vip: bool = False


class Node(BaseModel):
    value: int
    children: list["Node"] = []


class Card(BaseModel):
    kind: Literal["card"]
    number: str


class Cash(BaseModel):
    kind: Literal["cash"]
    coins: int = 0


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    label: str


@dataclass
class Point:
    x: float
    y: float = 0.0


class Filter(TypedDict):
    column: str
    value: NotRequired[str]


ADDRESS = closed(
    ["street", "zip"],
    street={"type": "string", "description": "With the house number"},
    zip=optional({"type": "string"}),
)


@becomes()
def no_parameters() -> None: ...


@becomes(it={"type": "string"})
def text(it: str) -> None: ...


@becomes(it={"type": "integer"}, other={"type": "number"}, flag={"type": "boolean"})
def numbers_and_flags(it: int, other: float, *, flag: bool) -> None: ...


@becomes(it=optional({"type": "integer"}))
def required_but_nullable(it: int | None) -> None: ...


@becomes(it=optional({"type": "integer"}))
def none_by_default(it: int | None = None) -> None: ...


@becomes(it=optional({"type": "integer"}, "Default: 10."))
def a_default(it: int = 10) -> None: ...


@becomes(it=optional({"type": "integer"}))
def a_none_that_the_annotation_forgot(it: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013 - common


@becomes(it=optional({"type": "string", "enum": ["s", "l"]}, 'Default: "s".'))
def an_enum_with_a_default(it: Size = Size.SMALL) -> None: ...


@becomes(it={"type": "integer", "enum": [1, 2]})
def an_integer_enum(it: Priority) -> None: ...


@becomes(it={"type": "string", "enum": ["asc", "desc"]})
def a_literal(it: Literal["asc", "desc"]) -> None: ...


@becomes(it={"type": "string", "const": "only"})
def a_literal_of_one(it: Literal["only"]) -> None: ...


@becomes(it={"type": ["string", "integer", "null"], "enum": ["auto", 1, None]})
def a_mixed_literal(it: Literal["auto", 1, None] = None) -> None: ...


@becomes(it={"type": "array", "items": {"type": "string"}})
def a_list(it: list[str]) -> None: ...


@becomes(it={"type": "array", "items": {"type": "array", "items": {"type": "integer"}}})
def a_list_of_lists(it: list[list[int]]) -> None: ...


@becomes(it=optional({"type": "array", "items": {"type": "string"}}, 'Default: ["a"].'))
def a_tuple_of_any_length(it: tuple[str, ...] = ("a",)) -> None: ...


@becomes(it={"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2})
def a_pair_of_one_type(it: tuple[float, float]) -> None: ...


@becomes(it={"type": "array", "items": {"type": "integer"}, "description": "No item twice."})
def a_set(it: set[int]) -> None: ...


@becomes(it={"anyOf": [{"type": "integer"}, {"type": "string"}]})
def a_union(it: int | str) -> None: ...


@becomes(it=ADDRESS)
def a_model(it: Address) -> None: ...


@becomes(it=optional(ADDRESS))
def an_optional_model(it: Address | None = None) -> None: ...


@becomes(it={"anyOf": [ADDRESS], "description": "Where to"})
def a_model_with_a_description(it: Annotated[Address, Field(description="Where to")]) -> None: ...


@becomes(
    it={
        **closed(["address", "vip"], address=ADDRESS, vip=optional({"type": "boolean"}, "Default: false.")),
        "description": "Who buys.",
    }
)
def nested_models(it: Customer) -> None: ...


@becomes(
    it=closed(["x", "y"], x={"type": "number"}, y=optional({"type": "number"}, "Default: 0.0.")),
)
def a_dataclass(it: Point) -> None: ...


@becomes(
    it={
        "type": "array",
        "items": closed(["column", "value"], column={"type": "string"}, value=optional({"type": "string"})),
    }
)
def typed_dicts(it: list[Filter]) -> None: ...


@becomes(
    it={
        "anyOf": [
            closed(["kind", "number"], kind={"type": "string", "const": "card"}, number={"type": "string"}),
            closed(
                ["kind", "coins"],
                kind={"type": "string", "const": "cash"},
                coins=optional({"type": "integer"}, "Default: 0."),
            ),
        ]
    }
)
def a_tagged_union(it: Annotated[Card | Cash, Field(discriminator="kind")]) -> None: ...


@becomes(
    day={"type": "string", "format": "date"},
    at={"type": "string", "format": "date-time"},
    hour={"type": "string", "format": "time"},
    length={"type": "string", "format": "duration"},
    key={"type": "string", "format": "uuid"},
)
def dates_and_ids(day: date, at: datetime, hour: time, length: timedelta, key: UUID) -> None: ...


@becomes(it={"type": "string", "description": "Format: path."})
def a_format_that_strict_mode_does_not_know(it: Path) -> None: ...


@becomes(it={"type": "string", "description": "Minimum length: 1. Maximum length: 2083. Format: uri."})
def a_url(it: HttpUrl) -> None: ...


@becomes(it={"type": "integer", "minimum": 1, "exclusiveMaximum": 100, "multipleOf": 5})
def number_constraints(it: Annotated[int, Field(ge=1, lt=100, multiple_of=5)]) -> None: ...


@becomes(it={"type": "string", "pattern": "^[A-Z]{3}$", "description": "Currency. Maximum length: 3."})
def text_constraints(
    it: Annotated[str, Field(pattern="^[A-Z]{3}$", max_length=3, description="Currency")],
) -> None: ...


@becomes(it={"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3})
def list_constraints(it: Annotated[list[str], Field(min_length=1, max_length=3)]) -> None: ...


@becomes(it=optional({"type": "string"}, "Why?"))
def a_described_optional(it: Annotated[str | None, Field(description="Why?")] = None) -> None: ...


@becomes(_private={"type": "string"}, model_config={"type": "string"}, copy={"type": "string"})
def names_that_pydantic_reserves(_private: str, model_config: str, copy: str) -> None: ...


@becomes(title={"type": "string"}, default={"type": "string"}, required={"type": "string"})
def names_that_are_keywords_of_the_schema(title: str, default: str, required: str) -> None: ...


@becomes(it={"type": "string"})
def a_context_beside(it: str, anything: ToolContext) -> None: ...


@becomes(it={"type": "string"})
def an_annotation_in_quotes(it: "str", anything: "ToolContext | None" = None) -> None: ...


@becomes_loose(it={"type": "object", "additionalProperties": True})
def a_free_form_dict(it: dict[str, Any]) -> None: ...


@becomes_loose(it={"type": "object", "additionalProperties": {"type": "integer"}, "description": "Default: {}."})
def a_dict_of_numbers(it: dict[str, int] = {}) -> None: ...  # noqa: B006 - never changed


@becomes_loose(it={})
def anything_at_all(it: Any) -> None: ...


@becomes_loose(
    it={
        "type": "array",
        "prefixItems": [{"type": "string"}, {"type": "integer"}],
        "minItems": 2,
        "maxItems": 2,
    }
)
def a_mixed_tuple(it: tuple[str, int]) -> None: ...


@becomes_loose(
    it={
        "type": "object",
        "properties": {"label": {"type": "string"}},
        "required": ["label"],
        "additionalProperties": True,
    }
)
def a_model_that_takes_more(it: Open) -> None: ...


@becomes_loose(it={"type": "array", "items": {}}, limit={"type": "integer", "description": "Default: 3."})
def a_bare_list(it: list, limit: int = 3) -> None: ...  # type: ignore[type-arg]  # that is the case


ROWS = [*STRICT_ROWS, *LOOSE_ROWS]
each_row = pytest.mark.parametrize(("function", "properties"), ROWS, ids=[function.__name__ for function, _ in ROWS])
each_strict_row = pytest.mark.parametrize(
    ("function", "properties"), STRICT_ROWS, ids=[function.__name__ for function, _ in STRICT_ROWS]
)


def read(function: Function) -> HandlerSignature:
    return read_signature(function, name=function.__name__, context_type=ToolContext)


def written_out(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [written_out(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return written_out(definitions[node["$ref"].removeprefix("#/$defs/")], definitions)
    return {key: written_out(value, definitions) for key, value in node.items()}


SAMPLES = {
    "date": "2026-02-28",
    "date-time": "2026-02-28T12:00:00Z",
    "time": "12:00:00",
    "duration": "PT5M",
    "uuid": "6f6c2a3e-0f0e-4d7c-9a3f-0d9f5c1f2b11",
}


@dataclass
class Filler:
    """Answers a schema as a model would: with nulls where it may, or with values where it may."""

    root: dict[str, Any]
    nulls: bool

    def fill(self, node: dict[str, Any]) -> Any:
        match node:
            case {"$ref": reference}:
                return self.fill(self.root["$defs"][reference.removeprefix("#/$defs/")])
            case {"anyOf": branches}:
                return self.fill(branches[-1 if self.nulls else 0])
            case {"enum": values}:
                return values[-1 if self.nulls else 0]
            case {"const": value}:
                return value
        return self.fill_type(node)

    def fill_type(self, node: dict[str, Any]) -> Any:
        match node.get("type", "null"):
            case "object":
                return {name: self.fill(child) for name, child in node.get("properties", {}).items()}
            case "array" if "prefixItems" in node:
                return [self.fill(item) for item in node["prefixItems"]]
            case "array":
                return [self.fill(node["items"]) for _ in range(node.get("minItems", 1))]
            case "integer" | "number":
                return max(node.get("minimum", 0), node.get("multipleOf", 1))
            case "string":
                return sample_text(node)
        return {"boolean": True}.get(node.get("type", ""))


def sample_text(node: dict[str, Any]) -> str:
    if "uri" in node.get("description", ""):
        return "https://example.org/"
    return "ABC" if "pattern" in node else SAMPLES.get(node.get("format", ""), "text")


@each_row
def test_a_signature_becomes_the_schema_of_its_row(function: Function, properties: Properties) -> None:
    signature = read(function)
    schema = signature.parameters

    assert written_out(schema["properties"], schema.get("$defs", {})) == properties
    assert signature.strict is ((function, properties) in STRICT_ROWS)


@each_row
@pytest.mark.parametrize("nulls", [True, False], ids=["nulls", "values"])
def test_arguments_that_fill_the_schema_are_accepted(function: Function, properties: Properties, nulls: bool) -> None:
    signature = read(function)
    filled = Filler(signature.parameters, nulls).fill(signature.parameters)

    Draft202012Validator.check_schema(signature.parameters)
    Draft202012Validator(signature.parameters, format_checker=FormatChecker()).validate(filled)
    arguments = signature.keyword_arguments(filled)
    context = {signature.context_parameter: ToolContext.for_test()} if signature.context_parameter else {}
    function(**arguments, **context)


@each_strict_row
def test_a_strict_schema_keeps_to_what_structured_outputs_allow(function: Function, properties: Properties) -> None:
    """Every object is closed and requires all it has; no keyword from outside the documented subset."""
    allowed = {"type", "enum", "const", "anyOf", "$ref", "$defs", "description", "pattern", "format"}
    allowed |= {"properties", "required", "additionalProperties", "items", "minItems", "maxItems"}
    allowed |= {"minimum", "exclusiveMaximum", "multipleOf"}

    def check(node: dict[str, Any]) -> None:
        assert node.keys() <= allowed
        assert node.keys() & {"type", "anyOf", "$ref"}
        assert "$ref" not in node or len(node) == 1
        if node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])
        children = [*node.get("properties", {}).values(), *node.get("$defs", {}).values()]
        for child in [*children, *node.get("anyOf", []), *([node["items"]] if "items" in node else [])]:
            check(child)

    check(read(function).parameters)


def test_a_recursive_model_stays_a_reference() -> None:
    def walk_tree(root: Node) -> None: ...

    signature = read(walk_tree)

    assert signature.strict
    assert signature.parameters["properties"]["root"] == {"$ref": "#/$defs/Node"}
    given = {"root": {"value": 1, "children": [{"value": 2, "children": None}]}}
    Draft202012Validator(signature.parameters).validate(given)
    assert signature.keyword_arguments(given)["root"] == Node(value=1, children=[Node(value=2)])


def test_a_decimal_may_come_as_text_so_that_no_digit_is_lost() -> None:
    def pay(amount: Decimal) -> None: ...

    signature = read(pay)

    assert signature.strict
    assert {"type": "string"}.items() <= signature.parameters["properties"]["amount"]["anyOf"][1].items()
    assert signature.keyword_arguments({"amount": "0.10"}) == {"amount": Decimal("0.10")}


def test_a_pattern_that_looks_around_moves_into_the_description() -> None:
    """OpenAI refuses a schema with one, strict or not."""

    def check(word: Annotated[str, Field(json_schema_extra={"pattern": "^(?!x).*$"})]) -> None: ...

    assert read(check).parameters["properties"]["word"] == {
        "type": "string",
        "description": "Pattern: ^(?!x).*$",
    }


def test_a_default_that_json_cannot_carry_is_not_mentioned() -> None:
    def tag(marker: Annotated[Any, Field(description="A mark")] = object()) -> None: ...  # noqa: B008 - that is the case

    assert read(tag).parameters["properties"] == {"marker": {"description": "A mark"}}


def google(order_id: str, limit: int = 5) -> None:
    """Find an order.

    It looks in the archive too.

    Args:
        order_id: The number
            on the bill.
        limit: At most so many

    Returns:
        Nothing of use.
    """


def numpy(order_id: str, limit: int = 5) -> None:
    """Find an order.

    It looks in the archive too.

    Parameters
    ----------
    order_id : str
        The number
        on the bill.
    limit : int
        At most so many
    """


def rest(order_id: str, limit: int = 5) -> None:
    """Find an order.

    It looks in the archive too.

    :param order_id: The number
        on the bill.
    :param limit: At most so many
    """


@pytest.mark.parametrize("function", [google, numpy, rest])
def test_a_docstring_describes_the_function_and_its_parameters(function: Function) -> None:
    signature = read(function)

    assert signature.description == "Find an order.\n\nIt looks in the archive too."
    properties = signature.parameters["properties"]
    assert properties["order_id"] == {"type": "string", "description": "The number on the bill."}
    assert properties["limit"]["description"] == "At most so many. Default: 5."


def test_a_field_description_wins_over_the_docstring() -> None:
    def find(order_id: Annotated[str, Field(description="From the field")]) -> None:
        """Find.

        Args:
            order_id: From the docstring
        """

    assert read(find).parameters["properties"]["order_id"]["description"] == "From the field"


class Unknown:
    pass


def untyped(order_id) -> None: ...  # type: ignore[no-untyped-def]  # that is the case
def many(*order_ids: str) -> None: ...
def named(**filters: str) -> None: ...
def positional(order_id: str, /) -> None: ...
def two_contexts(first: ToolContext, second: ToolContext) -> None: ...
def for_the_type_checker(part: "Fraction") -> None: ...
def misspelt(part: "Strng") -> None: ...  # type: ignore[name-defined]  # noqa: F821 - that is the case
def arbitrary(fine: int, thing: Unknown) -> None: ...
def a_callable(callback: Callable[[], None]) -> None: ...
def wrong_pattern(sizes: list[Annotated[str, Field(pattern="(")]]) -> None: ...
def field_default(limit: int = Field(default=3)) -> None: ...
def method(self) -> None: ...  # type: ignore[no-untyped-def]  # that is the case
def generator(limit: int) -> Any:
    yield limit


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (untyped, "parameter 'order_id' has no annotation; say what it takes, for example order_id: str"),
        (many, "parameter '*order_ids' takes any number of values; use a list"),
        (named, "parameter '**filters' takes any name; declare each one"),
        (positional, "parameter 'order_id' is positional-only, and a model gives names; remove the '/'"),
        (two_contexts, "parameters 'first' and 'second' all take ToolContext; keep one"),
        (for_the_type_checker, "the annotation of parameter 'part' cannot be resolved"),
        (misspelt, "the annotation of parameter 'part' cannot be resolved (name 'Strng' is not defined)"),
        (arbitrary, "parameter 'thing' has a type without a JSON schema"),
        (a_callable, "parameter 'callback' has a type without a JSON schema"),
        (wrong_pattern, "parameter 'sizes' has a type without a JSON schema"),
        (field_default, "parameter 'limit' has Field(...) as its default; write limit: Annotated["),
        (method, "parameter 'self' makes it a method; register Tool.from_function(its_object.method)"),
        (generator, "it is a generator; return a list"),
        (Unknown, "it is a class; decorate a function"),
    ],
    ids=lambda it: getattr(it, "__name__", ""),
)
def test_a_signature_that_a_model_cannot_fill_is_refused_with_what_to_do(function: Function, says: str) -> None:
    with pytest.raises(ToolSignatureUnsupported) as refused:
        read(function)

    assert says in str(refused.value)
    assert refused.value.name == function.__name__


def test_null_stands_for_not_given_at_any_depth() -> None:
    def pay(
        payments: list[Annotated[Card | Cash, Field(discriminator="kind")]],
        customer: Customer | None = None,
        note: str | None = "none given",
    ) -> None: ...

    given = {
        "payments": [{"kind": "cash", "coins": None}],
        "customer": {"address": {"street": "Elm 1", "zip": None}, "vip": None},
        "note": None,
    }
    signature = read(pay)
    Draft202012Validator(signature.parameters).validate(given)

    assert signature.keyword_arguments(given) == {
        "payments": [Cash(kind="cash", coins=0)],
        "customer": Customer(address=Address(street="Elm 1"), vip=False),
    }


def test_a_null_that_is_data_stays() -> None:
    def store(record: dict[str, Any], size: int | None) -> None: ...

    given = {"record": {"a": None, "b": [None]}, "size": None}

    assert read(store).keyword_arguments(given) == given


def test_a_schema_survives_json() -> None:
    for function, _ in ROWS:
        parameters = read(function).parameters
        assert json.loads(json.dumps(parameters)) == parameters
