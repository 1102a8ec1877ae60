"""What the requests of the Assistants API carry."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from lockstitch.assistants import refusals
from lockstitch.errors import ApiError
from lockstitch.starter.contract import (
    Metadata,
    NewMessage,
    ResponseFormat,
    RunParameters,
    ToolOutput,
    ToolParam,
)

Body = TypeVar("Body", bound=BaseModel)


class ModifiedAssistant(BaseModel):
    """What can be changed about an assistant."""

    model: Annotated[str, Field(min_length=1)] | None = None
    name: str | None = None
    description: str | None = None
    instructions: str | None = None
    tools: list[ToolParam] | None = None
    tool_resources: dict[str, Any] | None = None
    metadata: Metadata | None = None
    temperature: float | None = None
    top_p: float | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    response_format: ResponseFormat | None = None


class NewAssistant(ModifiedAssistant):
    """An assistant to create."""

    model: Annotated[str, Field(min_length=1)]


class ModifiedThread(BaseModel):
    """What can be changed about a thread."""

    metadata: Metadata | None = None
    tool_resources: dict[str, Any] | None = None


class NewThread(ModifiedThread):
    """A thread to create, and the messages with which it begins."""

    messages: list[NewMessage] | None = None


class NewRun(RunParameters):
    """A run to create on a thread that exists."""

    assistant_id: str
    stream: bool | None = None


class NewThreadAndRun(NewRun):
    """A run to create together with its thread."""

    thread: NewThread | None = None
    tool_resources: dict[str, Any] | None = None


class ModifiedRun(BaseModel):
    """What can be changed about a run."""

    metadata: Metadata | None = None


class SubmittedOutputs(BaseModel):
    """The outputs of all tool calls that a run asks for."""

    tool_outputs: list[ToolOutput]
    stream: bool | None = None


def read_body(model: type[Body], body: dict[str, Any]) -> Body:
    """Check a body; raises `ApiError` that says what is wrong first."""
    try:
        return model.model_validate(body, extra="forbid")
    except ValidationError as error:
        raise _complaint(error) from None


def given(body: BaseModel, **replaced: Any) -> dict[str, Any]:
    """Return what the body names, as it is kept; ``replaced`` takes the place of fields that were named."""
    values = body.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return values | {name: value for name, value in replaced.items() if name in values}


def _complaint(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False)[0]
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"]).lstrip(".")
    match first["type"]:
        case "missing":
            return refusals.missing_parameter(place)
        case "extra_forbidden":
            return refusals.unknown_parameter(place)
        case _:
            return refusals.wrong_value(place, first["msg"])
