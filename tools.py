"""The handler registry: register a function with ``@tool``, derive its schema, find it, call it.

::

    from lockstitch.tools import ToolContext, tool

    @tool(timeout=timedelta(seconds=20), retry_safe=False)
    async def refund_order(order_id: str, amount: Decimal, context: ToolContext) -> Refund:
        '''Pay an order back.

        Args:
            order_id: The order's number.
            amount: How much, in euros.
        '''
        return await payments.refund(order_id, amount, idempotency_key=context.idempotency_key)

``@tool`` goes above every other decorator. The function stays callable as before.
"""

import asyncio
import dataclasses
import importlib
import inspect
import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack, overload

import structlog
from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from lockstitch import tracing
from lockstitch.errors import (
    HandlerMissing,
    ToolError,
    ToolNameTaken,
    ToolSignatureUnsupported,
    ToolsNotLoadable,
)
from lockstitch.tool_arguments import read_arguments
from lockstitch.tool_policy import ToolPolicy
from lockstitch.tool_schema import HandlerSignature, read_signature

ENTRY_POINT_GROUP = "lockstitch.tools"
"""A package that declares entry points in this group brings its tools with it."""

Handler = Callable[..., Any]
Reconcile = Callable[..., Any]


class _NotDone:
    """The one value of its type."""

    def __repr__(self) -> str:
        return "NOT_DONE"


NOT_DONE = _NotDone()
"""What a ``reconcile`` function returns when the handler's attempt did not take effect, so that it may run again."""

HandlerT = TypeVar("HandlerT", bound=Handler)

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # Assistants API: the name of a function
_IMPORT_PATH = re.compile(r"(?P<module>\w+(\.\w+)*)(:(?P<attribute>\w+(\.\w+)*))?")
_ATTRIBUTE = "__lockstitch_tool__"
_ZERO = timedelta()
_WHAT_TO_DO = "decorate a function with @tool"


@dataclass(frozen=True, kw_only=True)
class ToolContext:
    """What a handler may know about the call it answers: annotate one parameter with this type."""

    run_id: str
    thread_id: str
    assistant_id: str
    call_id: str
    tool: str
    tenant: str | None = None
    original_call_id: str | None = None
    """Of a call that a replaced run made with the same arguments, and that this one repeats."""
    attempt: int = 1
    """1 for the first attempt."""
    deadline: datetime
    """When this attempt times out; aware."""
    heartbeat: Callable[..., None]
    """Say that a long call still makes progress; works from a sync handler's thread too."""
    log: FilteringBoundLogger

    def __post_init__(self) -> None:
        if self.deadline.tzinfo is None:
            raise ValueError("The deadline of a ToolContext needs a time zone.")

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of one tool call, and for no other work."""
        return f"{self.run_id}:{self.original_call_id or self.call_id}"

    @property
    def remaining(self) -> timedelta:
        """How much time this attempt has left; zero when it has none."""
        return max(self.deadline - datetime.now(UTC), _ZERO)

    def span(self, name: str, **attributes: str | int | float | bool) -> AbstractContextManager[tracing.Span]:
        """Make a span of the call's trace for the body of a ``with``; without traces it does nothing."""
        return tracing.span(name, attributes)

    @classmethod
    def for_test(cls, **overrides: Any) -> Self:
        """A context for a unit test of a handler: a minute to go, heartbeats that lead nowhere."""
        fields: dict[str, Any] = {
            "run_id": "run_test",
            "thread_id": "thread_test",
            "assistant_id": "asst_test",
            "call_id": "call_test",
            "tool": "tool_test",
            "deadline": datetime.now(UTC) + timedelta(minutes=1),
            "heartbeat": lambda *details: None,
            **overrides,
        }
        bound = {key: fields[key] for key in ("run_id", "call_id", "tool")}
        return cls(**{"log": structlog.get_logger().bind(**bound), **fields})


class ToolOptions(TypedDict, total=False):
    """The options of ``@tool``: a name, a description, errors, ``reconcile``, and the fields of ToolPolicy."""

    name: str
    description: str
    non_retryable: tuple[type[Exception], ...]
    timeout: timedelta
    max_attempts: int
    initial_interval: timedelta
    backoff: float
    max_interval: timedelta
    on_failure: Literal["error_output", "fail_run", "escalate"]
    retry_safe: bool
    reconcile: Reconcile
    approval: bool
    approval_timeout: timedelta | None
    task_queue: str | None


@dataclass(frozen=True, eq=False, repr=False)
class Tool:
    """A registered handler: what the model is told about it, how it is retried, and how to call it."""

    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool
    policy: ToolPolicy
    non_retryable: tuple[type[Exception], ...]
    """Errors after which no further attempt is made."""
    reconcile: "Reconcile | None"
    """Finds out whether an attempt whose outcome is unknown took effect."""
    function: Handler
    _signature: HandlerSignature

    @classmethod
    def from_function(cls, function: Handler, **options: Unpack[ToolOptions]) -> Self:
        """Make a tool of what cannot carry a decorator, such as a method of an object: ``shop.find_order``.

        Raises ToolSignatureUnsupported for a name or signature that a model cannot use, ToolError for a
        policy that makes no sense.
        """
        given: dict[str, Any] = dict(options)
        name = given.pop("name", getattr(function, "__name__", type(function).__name__))
        description = given.pop("description", None)
        non_retryable = given.pop("non_retryable", ())
        reconcile = given.pop("reconcile", None)
        if not _NAME.fullmatch(name):
            problem = "a name has 1 to 64 letters, digits, _ or -; choose one with @tool(name=...)."
            raise ToolSignatureUnsupported(name, problem)
        signature = read_signature(function, name=name, context_type=ToolContext)
        return cls(
            name=name,
            description=signature.description if description is None else description,
            parameters=signature.parameters,
            strict=signature.strict,
            policy=_policy(name, given),
            non_retryable=non_retryable,
            reconcile=reconcile,
            function=function,
            _signature=signature,
        )

    @classmethod
    def of(cls, handler: object) -> "Tool":
        """The tool of a decorated function, or the tool itself. Raises ToolError for anything else."""
        found = _tool_or_none(handler)
        if found is None:
            raise ToolError(f"{handler!r} is not a tool; {_WHAT_TO_DO}.")
        return found

    @property
    def place(self) -> str:
        """Where the handler is defined: ``module:qualname``."""
        return f"{self.function.__module__}:{getattr(self.function, '__qualname__', self.name)}"

    def __repr__(self) -> str:
        return f"<Tool {self.name} from {self.place}{', strict' if self.strict else ''}>"

    def definition(self) -> dict[str, Any]:
        """The Assistants API's tool object, for ``client.beta.assistants.create(tools=[...])``."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        copied: dict[str, Any] = json.loads(json.dumps({**function, "strict": self.strict}))
        return {"type": "function", "function": copied}

    async def call(self, arguments_json: str, context: ToolContext) -> str:
        """Validate a call's arguments, run the handler once, and write its result as the tool's output.

        A sync handler runs in a thread, with this task's context variables; cancelling does not stop it.
        Timeout and retries are the caller's: this is one attempt.

        The output is the result itself where that is a str, ``Done.`` where a handler declared ``-> None``
        returns, ``null`` for None otherwise, and JSON (through pydantic, by the return annotation) for the
        rest. Raises ArgumentsInvalid before the handler ran, ToolError for a result that JSON cannot carry,
        and whatever the handler raises.
        """
        return self._signature.output(await self._run(self.function, arguments_json, context))

    async def reconcile_call(self, arguments_json: str, context: ToolContext) -> str | None:
        """Ask ``reconcile`` about a call whose outcome is unknown: its output where it took effect, else ``None``.

        Raises ToolError where the tool has no ``reconcile``, and whatever that raises.
        """
        if self.reconcile is None:
            raise ToolError(f"The tool {self.name!r} has no reconcile.")
        found = await self._run(self.reconcile, arguments_json, context)
        return None if found is NOT_DONE else self._signature.output(found)

    async def _run(self, function: Handler, arguments_json: str, context: ToolContext) -> Any:
        arguments = read_arguments(self._signature, arguments_json)
        is_async = inspect.iscoroutinefunction(function)
        context_parameter = self._signature.context_parameter
        if context_parameter is not None and _takes(function, context_parameter):
            arguments[context_parameter] = context if is_async else _for_thread(context)
        run = function if is_async else _run_in_thread(function)
        try:
            return await run(**arguments)
        except SystemExit as exit_:  # must not end the process that serves other runs
            raise ToolError(f"The tool {self.name!r} tried to exit the process ({exit_}).") from exit_


@overload
def tool(function: HandlerT, /, **options: Unpack[ToolOptions]) -> HandlerT: ...


@overload
def tool(**options: Unpack[ToolOptions]) -> Callable[[HandlerT], HandlerT]: ...


def tool(function: HandlerT | None = None, /, **options: Unpack[ToolOptions]) -> Any:
    """Make a function a tool that an assistant can call: ``@tool``, or ``@tool(timeout=..., name=...)``.

    The options are ``name`` (default: the function's), ``description`` (default: its docstring's),
    ``non_retryable`` (errors after which no further attempt is made), ``reconcile`` (a function that gets the
    handler's arguments and finds out whether an attempt whose outcome is unknown took effect: it returns the
    handler's result where it did and `NOT_DONE` where it did not) and the fields of ToolPolicy.
    ``Tool.of(function)`` gives the tool. Raises what ``Tool.from_function`` raises.
    """

    def decorate(handler: HandlerT) -> HandlerT:
        made = Tool.from_function(handler, **options)
        try:
            setattr(handler, _ATTRIBUTE, made)
        except (AttributeError, TypeError) as error:
            raise ToolError(
                f"{made.place} cannot carry a decorator; register Tool.from_function(...) instead."
            ) from error
        return handler

    return decorate if function is None else decorate(function)


def _tool_or_none(value: object) -> Tool | None:
    # Static, because looking at a lazy object of a user's module must not wake it up.
    found = value if isinstance(value, Tool) else inspect.getattr_static(value, _ATTRIBUTE, None)
    return found if isinstance(found, Tool) else None


def _policy(name: str, options: dict[str, Any]) -> ToolPolicy:
    if unknown := options.keys() - ToolPolicy.model_fields.keys():
        raise TypeError(f"tool() has no option {', '.join(sorted(unknown))}")
    try:
        return ToolPolicy(**options)
    except ValidationError as invalid:
        problems = "; ".join(
            f"{'.'.join(map(str, error['loc'])) or 'policy'}: {error['msg']}" for error in invalid.errors()
        )
        raise ToolError(f"The tool {name!r} cannot be registered: {problems}.") from invalid


def _takes(function: Handler, parameter: str) -> bool:
    """Tell whether a function has a parameter; a ``reconcile`` may do without the context that its handler takes."""
    parameters = inspect.signature(function).parameters
    return parameter in parameters or any(it.kind is inspect.Parameter.VAR_KEYWORD for it in parameters.values())


def _for_thread(context: ToolContext) -> ToolContext:
    """The context with heartbeats that a thread may send: those of an async activity belong to its loop."""
    loop = asyncio.get_running_loop()

    def heartbeat(*details: Any) -> None:
        loop.call_soon_threadsafe(context.heartbeat, *details)

    return dataclasses.replace(context, heartbeat=heartbeat)


def _run_in_thread(function: Handler) -> Handler:
    def call(**arguments: Any) -> Any:
        try:
            return function(**arguments)
        except StopIteration as error:  # no future carries it: before Python 3.12 its awaiter waits forever
            raise RuntimeError("the handler raised StopIteration") from error

    async def run(**arguments: Any) -> Any:
        result = await asyncio.to_thread(call, **arguments)
        return await result if inspect.isawaitable(result) else result

    return run


class ToolRegistry:
    """The handlers that a worker can call, by the name that the model uses."""

    def __init__(self, handlers: Iterable[Handler | Tool] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        for handler in handlers:
            self.register(handler)

    @classmethod
    def load(cls, import_paths: Sequence[str], entry_points: bool = True) -> Self:
        """Collect the tools of import paths and of installed packages (entry points ``lockstitch.tools``).

        A path is ``package.module`` (every tool that is defined in it or imported into it) or
        ``package.module:attribute`` (a tool, a ToolRegistry, or an iterable of tools).

        Raises ToolsNotLoadable, which names the path and the reason, and ToolNameTaken.
        """
        registry = cls()
        places = [(path, path) for path in import_paths]
        if entry_points:
            places += [(it.value, f"{it.value} (entry point {it.name})") for it in _entry_points()]
        for path, label in places:
            for found in _tools_at(path, label):
                registry.register(found)
        return registry

    def register(self, handler: HandlerT | Tool) -> HandlerT | Tool:
        """Add a decorated function or a tool, and give it back; the same one twice is fine.

        Raises ToolNameTaken where another handler has the name, ToolError for what is not a tool.
        """
        added = Tool.of(handler)
        present = self._tools.setdefault(added.name, added)
        if present.function != added.function:
            raise ToolNameTaken(added.name, present.place, added.place)
        return handler

    @property
    def tools(self) -> tuple[Tool, ...]:
        """All tools, sorted by name."""
        return tuple(self._tools[name] for name in self)

    def definitions(self) -> list[dict[str, Any]]:
        """The Assistants API's tool objects of all tools, sorted by name."""
        return [it.definition() for it in self.tools]

    def get(self, name: str) -> Tool | None:
        """The tool of this name, or None."""
        return self._tools.get(name)

    def __getitem__(self, name: str) -> Tool:
        if name not in self._tools:
            raise HandlerMissing(name, self._tools)
        return self._tools[name]

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._tools))

    def __len__(self) -> int:
        return len(self._tools)

    def __repr__(self) -> str:
        return f"<ToolRegistry: {', '.join(self) or 'no tools'}>"


def _entry_points() -> list[metadata.EntryPoint]:
    return sorted(metadata.entry_points(group=ENTRY_POINT_GROUP), key=lambda point: (point.name, point.value))


def _tools_at(path: str, label: str) -> list[Tool]:
    match = _IMPORT_PATH.fullmatch(path.strip())
    if match is None:
        raise ToolsNotLoadable(label, "write package.module or package.module:attribute.")
    module = _imported(match["module"], label)
    if match["attribute"] is None:
        found = [it for it in map(_tool_or_none, list(vars(module).values())) if it is not None]
    else:
        found = _tools_of(_attribute(module, match["attribute"], label), label)
    if not found:
        raise ToolsNotLoadable(label, f"nothing in it is a tool; {_WHAT_TO_DO}.")
    return found


def _imported(name: str, label: str) -> object:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            problem = f"there is no module {missing!r}; is it installed, or its folder in PYTHONPATH?"
        else:
            problem = f"importing it failed: {type(error).__name__}: {error}"
        raise ToolsNotLoadable(label, problem) from error


def _attribute(module: object, name: str, label: str) -> object:
    try:
        return operator.attrgetter(name)(module)
    except AttributeError as error:
        raise ToolsNotLoadable(label, f"there is no attribute {name!r} in the module.") from error


def _tools_of(value: object, label: str) -> list[Tool]:
    if (single := _tool_or_none(value)) is not None:
        return [single]
    if isinstance(value, ToolRegistry):
        return list(value.tools)
    if not isinstance(value, Iterable) or isinstance(value, str | bytes):
        raise ToolsNotLoadable(label, f"{type(value).__name__} is not a tool; {_WHAT_TO_DO}.")
    try:
        return [Tool.of(item) for item in value]
    except ToolError as error:
        raise ToolsNotLoadable(label, str(error)) from error
