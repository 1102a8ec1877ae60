"""The filler of arguments: tables of a message, a schema and what comes of them."""

from typing import Any

import jsonschema
import pytest

from lockstitch.assistants.model.arguments import fill_answer, fill_arguments

TEXT = {"type": "string"}
WHOLE = {"type": "integer"}
NUMBER = {"type": "number"}
FLAG = {"type": "boolean"}
DATE = {"type": "string", "format": "date"}
CITIES = {"type": "array", "items": TEXT}


def schema(required: str = "", **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required.split()}


@pytest.mark.parametrize(
    ("message", "asked", "filled"),
    [
        ("What is the weather in San Francisco?", schema("city", city=TEXT), {"city": "San Francisco"}),
        ("Berlin", schema("city", city=TEXT), {"city": "Berlin"}),
        ("Ask Ada Lovelace about it", schema("who", who=TEXT), {"who": "Ada Lovelace"}),
        ("The temperature in Zürich", schema("city", city=TEXT), {"city": "Zürich"}),
        ('Call it "My List"', schema("title", title=TEXT), {"title": "My List"}),
        ("Don't forget 'the milk'", schema("item", item=TEXT), {"item": "the milk"}),
        ("Where is order A-1001?", schema("order_id", order_id=TEXT), {"order_id": "A-1001"}),
        ("Where is order 7?", schema("order_id", order_id=TEXT), {"order_id": "7"}),
        ("Write to ada@example.com", schema("email", email=TEXT), {"email": "ada@example.com"}),
        (
            "Read https://example.com/a?b=1.",
            schema("url", url={"type": "string", "format": "uri"}),
            {"url": "https://example.com/a?b=1"},
        ),
        (
            "Show 0b0e7a5c-5d5c-4b6e-9c61-2f1c3a9f0d11",
            schema("id", id={"type": "string", "format": "uuid"}),
            {"id": "0b0e7a5c-5d5c-4b6e-9c61-2f1c3a9f0d11"},
        ),
        ("Email: see below", schema("email", email=TEXT), {"email": "user@example.com"}),
        ("find cheap flights", schema("query", query=TEXT), {"query": "find cheap flights"}),
        ("Run `print(1 + 1)`", schema("code", code=TEXT), {"code": "print(1 + 1)"}),
        ("city: oslo, days=3", schema("city days", city=TEXT, days=WHOLE), {"city": "oslo", "days": 3}),
        (
            "Zip is 12, code AB-12",
            schema("sku", sku={"type": "string", "pattern": "^[A-Z]+-"}),
            {"sku": "AB-12"},
        ),
    ],
)
def test_texts_are_found_in_the_message(message: str, asked: dict[str, Any], filled: dict[str, Any]) -> None:
    assert fill_arguments(asked, message) == filled


@pytest.mark.parametrize(
    ("message", "asked", "filled"),
    [
        ("Refund 25.50 EUR", schema("amount", amount=NUMBER), {"amount": 25.5}),
        ("Transfer $1,200 now", schema("amount", amount=NUMBER), {"amount": 1200}),
        ("It is -3 degrees", schema("degrees", degrees=WHOLE), {"degrees": -3}),
        (
            "Add 3 items to order 7",
            schema("order_id item_count", order_id=WHOLE, item_count=WHOLE),
            {"order_id": 7, "item_count": 3},
        ),
        ("Cancel order 7", schema("order_id copies", order_id=WHOLE, copies=WHOLE), {"order_id": 7, "copies": 1}),
        ("On 2026-03-01 send 4", schema("count", count=WHOLE), {"count": 4}),
        ("Send 4.5 or 6", schema("count", count=WHOLE), {"count": 6}),
        ("Take 500 or 20", schema("limit", limit={"type": "integer", "maximum": 100}), {"limit": 20}),
        ("Sales of March 2025", schema("year month", year=WHOLE, month=WHOLE), {"year": 2025, "month": 3}),
        ("An urgent one", schema("urgent", urgent=FLAG), {"urgent": True}),
        ("It is not urgent", schema("urgent", urgent=FLAG), {"urgent": False}),
        ("dry_run=yes", schema("dry_run", dry_run=FLAG), {"dry_run": True}),
    ],
)
def test_numbers_and_flags_are_found_in_the_message(
    message: str, asked: dict[str, Any], filled: dict[str, Any]
) -> None:
    assert fill_arguments(asked, message) == filled


@pytest.mark.parametrize(
    ("message", "day"),
    [
        ("on 2026-03-01", "2026-03-01"),
        ("on March 1, 2025", "2025-03-01"),
        ("on 15th of April 2027", "2027-04-15"),
        ("since December 2024", "2024-12-01"),
        ("in May", "2026-05-01"),
        ("on 2026-13-45", "2026-01-01"),
        ("some day", "2026-01-01"),
    ],
)
def test_dates_are_understood_or_invented(message: str, day: str) -> None:
    assert fill_arguments(schema("day", day=DATE), message) == {"day": day}


def test_a_date_with_a_time_becomes_a_date_time() -> None:
    asked = schema("at", at={"type": "string", "format": "date-time"})

    assert fill_arguments(asked, "Book it on 2026-03-01 at 9:30") == {"at": "2026-03-01T09:30:00Z"}


@pytest.mark.parametrize(
    ("message", "filled"),
    [
        ("Compare Paris, London and Berlin", {"cities": ["Paris", "London", "Berlin"]}),
        ("Compare 'x' and 'y' with Rome", {"cities": ["x", "y", "Rome"]}),
        ("compare them", {"cities": ["cities"]}),
    ],
)
def test_lists_take_all_that_fits(message: str, filled: dict[str, Any]) -> None:
    assert fill_arguments(schema("cities", cities=CITIES), message) == filled


def test_a_list_leaves_the_first_value_to_the_single_property_beside_it() -> None:
    asked = schema("tags title", tags=CITIES, title=TEXT)

    assert fill_arguments(asked, 'Save "A" with "B" and "C"') == {"title": "A", "tags": ["B", "C"]}


def test_an_enum_takes_the_value_that_the_message_has_else_the_first() -> None:
    asked = schema("unit", unit={"type": "string", "enum": ["fahrenheit", "degrees_celsius"]})

    assert fill_arguments(asked, "in degrees Celsius please") == {"unit": "degrees_celsius"}
    assert fill_arguments(asked, "as you like") == {"unit": "fahrenheit"}


def test_two_texts_get_two_different_quotes_and_the_words_before_them_count() -> None:
    asked = schema("subject body", subject=TEXT, body=TEXT)

    assert fill_arguments(asked, 'Send "Hello" and "Bye"') == {"subject": "Hello", "body": "Bye"}
    assert fill_arguments(asked, 'Send "Hello" with subject "Hi"') == {"subject": "Hi", "body": "Hello"}
    assert fill_arguments(asked, 'Send "Hello"') == {"subject": "Hello", "body": "Hello"}


def test_optional_properties_are_left_out_unless_the_message_gives_a_value() -> None:
    asked = schema("city", city=TEXT, days=WHOLE, note=TEXT, urgent=FLAG, unit={"enum": ["c", "f"]})

    assert fill_arguments(asked, "Weather in Oslo") == {"city": "Oslo"}
    assert fill_arguments(asked, "Weather in Oslo for 3 days in f, urgent") == {
        "city": "Oslo",
        "days": 3,
        "urgent": True,
        "unit": "f",
    }


def test_required_nullable_properties_are_null_when_the_message_says_nothing() -> None:
    asked = schema("a b c", a={"type": ["integer", "null"]}, b={"anyOf": [TEXT, {"type": "null"}]}, c={"default": 5})

    assert fill_arguments(asked, "please") == {"a": None, "b": None, "c": 5}
    assert fill_arguments(asked, "8 for Ada") == {"a": 8, "b": "Ada", "c": 5}


def test_references_and_nested_objects_are_followed() -> None:
    guest = schema("name", name=TEXT, age=WHOLE)
    asked = schema("guest", guest={"$ref": "#/$defs/Guest"}) | {"$defs": {"Guest": guest}}

    assert fill_arguments(asked, "Book for Ada, age 36") == {"guest": {"name": "Ada", "age": 36}}


def test_a_schema_that_describes_itself_ends() -> None:
    node = schema("name", name=TEXT, child={"$ref": "#"})

    assert fill_arguments(node, "Ada") == {"name": "Ada"}
    assert "next" in fill_arguments(schema("next", next={"$ref": "#"}), "Ada")


DEMANDING = schema(
    "id count ratio items when kind mail choice pair",
    id={"type": "string", "format": "uuid"},
    count={"type": "integer", "exclusiveMinimum": 10, "multipleOf": 5},
    ratio={"type": "number", "maximum": 0.5},
    items={"type": "array", "minItems": 2, "items": schema("sku", sku={"type": "string", "minLength": 5})},
    when={"type": "string", "format": "date-time"},
    kind={"const": "order"},
    mail={"type": "string", "format": "email"},
    choice={"oneOf": [schema("a", a=WHOLE), {"type": "boolean"}]},
    pair={"allOf": [schema("x", x=WHOLE), schema("y", y=WHOLE)]},
)


@pytest.mark.parametrize("message", ["", "do it", 'Order 12 of "Ab" for Ada on 2026-03-01, 0.25 each'])
def test_whatever_is_said_the_arguments_fit_the_schema(message: str) -> None:
    filled = fill_arguments(DEMANDING, message)

    jsonschema.validate(filled, DEMANDING, format_checker=jsonschema.FormatChecker())
    assert list(filled) == list(DEMANDING["properties"])
    assert filled == fill_arguments(DEMANDING, message)


def test_an_answer_stands_in_the_first_property_that_takes_any_text() -> None:
    asked = schema("mood reply", mood={"enum": ["good", "bad"]}, reply=schema("text", text=TEXT), n=WHOLE)

    assert fill_answer(asked, "2 bad ones", "Done.") == {"mood": "bad", "reply": {"text": "Done."}, "n": 2}


def test_a_very_long_message_is_read_at_its_beginning_only() -> None:
    assert fill_arguments(schema("city", city=TEXT), "in Oslo " + "word 1 " * 200_000) == {"city": "Oslo"}
