"""A function becomes a tool; a call of it validates, runs and answers as the model needs it."""

import asyncio
import contextvars
import dataclasses
import enum
import functools
import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from openai.types.beta.function_tool import FunctionTool
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from structlog.testing import capture_logs

from lockstitch.errors import ArgumentsInvalid, ToolError, ToolSignatureUnsupported
from lockstitch.tools import Tool, ToolContext, ToolPolicy, tool


class Item(BaseModel):
    sku: str
    count: int = 1


class Receipt(BaseModel):
    order_id: str
    total: Decimal
    on: date


class Color(enum.StrEnum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: int


@tool
def add(left: int, right: int = 1) -> int:
    """Add two numbers.

    Args:
        left: The first
    """
    return left + right


@tool(name="place-order", timeout=timedelta(seconds=5), retry_safe=False, non_retryable=(KeyError,))
async def place(items: list[Item], when: date | None = None) -> str:
    """Place an order."""
    return f"{len(items)} on {when}"


async def call(function: Callable[..., Any], arguments: str = "{}", **context: Any) -> str:
    return await Tool.of(tool(function)).call(arguments, ToolContext.for_test(**context))


# --- the decorator


async def test_a_decorated_function_stays_callable_as_before() -> None:
    assert add(2, right=3) == 5
    assert await place([Item(sku="a")]) == "1 on None"


def test_a_bare_decorator_takes_name_and_description_from_the_function() -> None:
    made = Tool.of(add)

    assert (made.name, made.description, made.strict) == ("add", "Add two numbers.", True)
    assert made.policy == ToolPolicy()
    assert made.function is add
    assert repr(made) == f"<Tool add from {add.__module__}:add, strict>"


def test_the_options_of_the_decorator_are_the_policy() -> None:
    made = Tool.of(place)

    assert made.name == "place-order"
    assert made.policy == ToolPolicy(timeout=timedelta(seconds=5), retry_safe=False)
    assert made.non_retryable == (KeyError,)


def test_the_policy_starts_with_the_documented_defaults_and_survives_json() -> None:
    policy = ToolPolicy(task_queue="gpu", initial_interval=timedelta(milliseconds=250))

    assert TypeAdapter(ToolPolicy).validate_json(TypeAdapter(ToolPolicy).dump_json(policy)) == policy
    assert ToolPolicy().model_dump() == {
        "timeout": timedelta(seconds=60),
        "max_attempts": 3,
        "initial_interval": timedelta(seconds=1),
        "backoff": 2.0,
        "max_interval": timedelta(seconds=30),
        "on_failure": "error_output",
        "retry_safe": False,
        "approval": False,
        "approval_timeout": None,
        "task_queue": None,
    }


def test_a_policy_and_a_tool_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Tool.of(add).policy.max_attempts = 9  # type: ignore[misc]  # that is the case
    with pytest.raises(dataclasses.FrozenInstanceError):
        Tool.of(add).name = "other"  # type: ignore[misc]  # that is the case


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"timeout": timedelta(0)}, "timeout: Input should be greater than 0 seconds"),
        ({"max_attempts": 0}, "max_attempts: Input should be greater than or equal to 1"),
        ({"backoff": 0.5}, "backoff: Input should be greater than or equal to 1"),
        ({"on_failure": "ignore"}, "on_failure: Input should be 'error_output', 'fail_run' or 'escalate'"),
        (
            {"initial_interval": timedelta(minutes=1)},
            "max_interval must not be shorter than initial_interval",
        ),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(options: dict[str, Any], says: str) -> None:
    def handler() -> None: ...

    with pytest.raises(ToolError, match=says):
        tool(**options)(handler)


def test_an_unknown_option_is_refused() -> None:
    def handler() -> None: ...

    with pytest.raises(TypeError, match=r"tool\(\) has no option retries"):
        tool(retries=3)(handler)  # type: ignore[call-overload]  # that is the case


@pytest.mark.parametrize("name", ["", "look up", "a" * 65, "naïve", "a.b", "name\n"])
def test_a_name_that_the_api_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(ToolSignatureUnsupported, match="a name has 1 to 64 letters, digits, _ or -"):
        tool(name=name)(lambda: None)


def test_the_definition_is_the_function_tool_of_the_assistants_api() -> None:
    definition = Tool.of(add).definition()

    assert FunctionTool.model_validate(definition).to_dict() == definition
    assert definition == {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers.",
            "parameters": {
                "type": "object",
                "properties": {
                    "left": {"type": "integer", "description": "The first"},
                    "right": {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "Default: 1."},
                },
                "required": ["left", "right"],
                "additionalProperties": False,
            },
            "strict": True,
        },
    }


def test_changing_a_definition_does_not_change_the_tool() -> None:
    Tool.of(add).definition()["function"]["parameters"]["properties"].clear()

    assert Tool.of(add).parameters["properties"].keys() == {"left", "right"}


async def test_a_method_of_an_object_becomes_a_tool_without_a_decorator() -> None:
    class Shop:
        def __init__(self, stock: dict[str, int]) -> None:
            self.stock = stock

        def in_stock(self, sku: str) -> int:
            return self.stock[sku]

    made = Tool.from_function(Shop({"a": 3}).in_stock)

    assert made.parameters["required"] == ["sku"]
    assert await made.call('{"sku": "a"}', ToolContext.for_test()) == "3"
    with pytest.raises(ToolError, match=r"register Tool.from_function\(...\) instead"):
        tool(Shop({}).in_stock)


def test_what_is_not_a_tool_says_so() -> None:
    with pytest.raises(ToolError, match="is not a tool; decorate a function with @tool"):
        Tool.of(print)


# --- calls


async def test_a_sync_handler_runs_in_a_thread_with_the_context_variables() -> None:
    tenant = contextvars.ContextVar[str]("tenant")
    tenant.set("acme")

    def who() -> dict[str, Any]:
        return {"tenant": tenant.get(), "main": threading.current_thread() is threading.main_thread()}

    assert json.loads(await call(who)) == {"tenant": "acme", "main": False}


async def test_an_async_handler_is_awaited_on_the_loop() -> None:
    loop = asyncio.get_running_loop()

    async def same_loop() -> bool:
        return asyncio.get_running_loop() is loop

    assert await call(same_loop) == "true"


async def test_an_async_handler_behind_a_sync_wrapper_is_awaited_too() -> None:
    async def inner(value: int) -> int:
        return value

    @functools.wraps(inner)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    assert await call(wrapper, '{"value": 4}') == "4"


async def test_a_handler_gets_the_context_under_any_name() -> None:
    def whoami(about: ToolContext, greeting: str = "hi") -> str:
        return f"{greeting} {about.run_id} {about.attempt}"

    assert await call(whoami, run_id="run_7", attempt=2) == "hi run_7 2"


async def test_defaults_apply_to_what_is_absent_or_null() -> None:
    def show(a: int = 1, b: int | None = 2, c: Item = Item(sku="x")) -> str:  # noqa: B008 - never changed
        return f"{a} {b} {c.sku}"

    assert await call(show, '{"a": null, "b": null}') == "1 2 x"
    assert await call(show, "") == "1 2 x"


async def test_arguments_arrive_as_the_types_of_the_annotations() -> None:
    def kinds(item: Item, day: date, key: UUID, price: Decimal, color: Color, n: int) -> str:
        return " ".join(type(value).__name__ for value in (item, day, key, price, color, n))

    arguments = {
        "item": {"sku": "a", "count": None},
        "day": "2026-02-28",
        "key": "6f6c2a3e-0f0e-4d7c-9a3f-0d9f5c1f2b11",
        "price": "9.90",
        "color": "red",
        "n": "5",
    }
    assert await call(kinds, json.dumps(arguments)) == "Item date UUID Decimal Color int"


async def test_an_error_of_the_handler_comes_through_as_it_is() -> None:
    def broken() -> None:
        Item.model_validate({})

    with pytest.raises(ValidationError):
        await call(broken)


async def test_a_sync_handler_that_raises_stop_iteration_does_not_hang() -> None:
    def first() -> int:
        return next(iter([]))

    with pytest.raises(RuntimeError, match="the handler raised StopIteration"):
        async with asyncio.timeout(5):
            await call(first)


@pytest.mark.parametrize("in_thread", [True, False])
async def test_a_handler_that_exits_does_not_take_the_process_with_it(in_thread: bool) -> None:
    def leave() -> None:
        raise SystemExit(3)

    async def leave_loop() -> None:
        raise SystemExit(3)

    with pytest.raises(ToolError, match=r"tried to exit the process \(3\)"):
        await call(leave if in_thread else leave_loop)


# --- outputs


def returning(value: Any, annotation: Any = Any) -> Callable[[], Any]:
    def handler() -> Any:
        return value

    handler.__annotations__["return"] = annotation
    return handler


@pytest.mark.parametrize(
    ("value", "annotation", "output"),
    [
        ("as it is: é", str, "as it is: é"),
        ("", str, ""),
        (Color.RED, Color, "red"),
        (None, None, "Done."),
        (None, str | None, "null"),
        (7, int, "7"),
        (True, bool, "true"),
        ([1, {"a": "é"}], Any, '[1,{"a":"é"}]'),
        (Decimal("1.20"), Decimal, '"1.20"'),
        (datetime(2026, 1, 2, tzinfo=UTC), datetime, '"2026-01-02T00:00:00Z"'),
        (Point(1, 2), Any, '{"x":1,"y":2}'),
        (
            Receipt(order_id="7", total=Decimal("9.90"), on=date(2026, 1, 2)),
            Receipt,
            '{"order_id":"7","total":"9.90","on":"2026-01-02"}',
        ),
        ({"not": "what was declared"}, Receipt, '{"not":"what was declared"}'),
        (3, "Unresolvable", "3"),
        (math.nan, float, "null"),
    ],
)
async def test_a_result_becomes_an_output_that_a_model_can_read(value: Any, annotation: Any, output: str) -> None:
    assert await call(returning(value, annotation)) == output


async def test_a_return_annotation_decides_which_fields_the_model_sees() -> None:
    class Internal(Receipt):
        margin: Decimal

    receipt = Internal(order_id="7", total=Decimal(1), on=date(2026, 1, 2), margin=Decimal("0.4"))

    assert "margin" not in await call(returning(receipt, Receipt))


@pytest.mark.parametrize("value", [object(), [object()], b"\xff", "\ud800", {"a": "\ud800"}])
async def test_a_result_that_json_cannot_carry_is_an_error_that_says_so(value: Any) -> None:
    with pytest.raises(ToolError, match=r"The tool 'handler' returned a \w+ that cannot be written as JSON"):
        await call(returning(value))


# --- arguments that do not fit


def book(days: int, items: list[Item], limit: Annotated[int, Field(ge=1)] = 5, mode: int | bool = False) -> None: ...


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("{}", "days: required, but missing\nitems: required, but missing"),
        (
            '{"days": "many", "items": []}',
            "days: input should be a valid integer, unable to parse string as an",
        ),
        ('{"days": 1.5, "items": []}', "got a number with a fractional part; got 1.5"),
        ('{"days": null, "items": []}', "days: input should be a valid integer; got null"),
        ('{"days": 1, "items": [{"sku": "a"}, {"count": 2}]}', "items[1].sku: required, but missing"),
        ('{"days": 1, "items": [{"sku": 5}]}', "items[0].sku: input should be a valid string; got 5"),
        ('{"days": 1, "items": {}}', "items: input should be a valid array; got {}"),
        ('{"days": 1, "items": [], "limit": 0}', "limit: input should be greater than or equal to 1; got 0"),
        ('{"days": 1, "items": [], "mode": "x"}', "mode: input should be a valid integer, unable to parse"),
        (
            '{"days": 1, "items": [], "lmit": 3}',
            "lmit: no such argument; the function takes days, items, limit, mode; got 3",
        ),
        ("[1, 2]", "expected a JSON object with days, items, limit, mode, got [1, 2]"),
        ('"days"', 'expected a JSON object with days, items, limit, mode, got "days"'),
        ("null", "expected a JSON object with days, items, limit, mode, got null"),
        ('{"days": 1,', "they are not valid JSON (Expecting property name enclosed in double quotes: line 1"),
        ('{"days": NaN}', "they are not valid JSON (NaN is no JSON number)"),
        ("[" * 100_000, "they are nested too deeply"),
    ],
)
async def test_arguments_that_do_not_fit_say_which_and_why(arguments: str, says: str) -> None:
    with pytest.raises(ArgumentsInvalid) as refused:
        await call(book, arguments)

    assert str(refused.value).startswith("Invalid arguments for 'book': ")
    assert says in str(refused.value)
    assert refused.value.name == "book"


@pytest.mark.parametrize(
    "arguments",
    [
        json.dumps({"days": "x" * 5000, "items": [{"n": "é" * 500}] * 200}),
        json.dumps({"é" * 900: "é" * 900, **{f"unknown_{n}": n for n in range(100)}}),
        json.dumps({"days": "\ud800" * 900, "items": []}),
        "é" * 5000,
        "\ud800" * 5000,
        '{"days": ' + "9" * 5000 + "}",
    ],
)
async def test_what_the_model_reads_stays_around_a_kilobyte(arguments: str) -> None:
    with pytest.raises(ArgumentsInvalid) as refused:
        await call(book, arguments)

    assert len(str(refused.value).encode()) <= 1024


async def test_many_problems_end_with_how_many_more_there_are() -> None:
    with pytest.raises(ArgumentsInvalid, match=r"\nand \d+ more problems$"):
        await call(book, json.dumps({"days": 1, "items": [{}] * 100}))


async def test_a_handler_does_not_run_when_its_arguments_do_not_fit() -> None:
    ran: list[int] = []

    with pytest.raises(ArgumentsInvalid):
        await call(lambda_with(ran), '{"value": "x"}')

    assert ran == []


def lambda_with(ran: list[int]) -> Callable[[int], None]:
    def handler(value: int) -> None:
        ran.append(value)

    return handler


# --- the context


def test_the_idempotency_key_is_the_same_on_every_attempt_of_one_call() -> None:
    first = ToolContext.for_test(run_id="run_1", call_id="call_1", attempt=1)
    second = dataclasses.replace(first, attempt=2, deadline=first.deadline + timedelta(minutes=5))

    assert first.idempotency_key == second.idempotency_key == "run_1:call_1"
    assert ToolContext.for_test(run_id="run_1", call_id="call_2").idempotency_key != first.idempotency_key


def test_the_remaining_time_never_falls_below_zero() -> None:
    passed = ToolContext.for_test(deadline=datetime.now(UTC) - timedelta(seconds=1))

    assert passed.remaining == timedelta(0)
    assert timedelta(seconds=50) < ToolContext.for_test().remaining <= timedelta(minutes=1)


def test_a_deadline_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a time zone"):
        ToolContext.for_test(deadline=datetime(2026, 1, 1))


def test_a_test_can_see_heartbeats_and_log_lines() -> None:
    beats: list[tuple[Any, ...]] = []
    context = ToolContext.for_test(heartbeat=lambda *details: beats.append(details), tool="add")

    context.heartbeat(1, "of", 2)
    with capture_logs() as lines:
        ToolContext.for_test(tool="add").log.info("counted", rows=3)

    assert beats == [(1, "of", 2)]
    assert lines[0].items() >= {"event": "counted", "tool": "add", "rows": 3}.items()


async def test_a_heartbeat_of_a_sync_handler_reaches_the_loop() -> None:
    """Temporal records the heartbeats of an async activity on its event loop only."""
    beats: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def on_loop(*details: Any) -> None:
        assert asyncio.get_running_loop() is loop
        beats.put_nowait(details)

    def count(context: ToolContext) -> None:
        context.heartbeat("rows", 3)

    await call(count, heartbeat=on_loop)

    async with asyncio.timeout(5):
        assert await beats.get() == ("rows", 3)


def test_a_context_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ToolContext.for_test().attempt = 2  # type: ignore[misc]  # that is the case
