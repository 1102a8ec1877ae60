"""One turn of a language model: what goes in, what comes out, and the seam every model stands behind.

A turn is one request to a model: the thread so far goes in, a stream of text and function calls comes
out, closed by exactly one `TurnFinished`. Models keep no state between turns.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

FinishReason = Literal["stop", "tool_calls", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image in a user's message: a URL, or a data URL made from an uploaded file."""

    url: str
    detail: Literal["auto", "low", "high"] = "auto"


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the thread; ``content`` in order, text as plain strings."""

    role: Literal["user", "assistant"]
    content: tuple[str | ImagePart, ...]

    @property
    def text(self) -> str:
        """The text parts, joined by line breaks."""
        return "\n".join(part for part in self.content if isinstance(part, str))

    @property
    def text_only(self) -> str:
        """The message for whoever takes no images from it: where it is nothing but images, a note says so."""
        return self.text or ("[An image.]" if self.has_images else "")

    @property
    def has_images(self) -> bool:
        """Whether there are images in it."""
        return any(isinstance(part, ImagePart) for part in self.content)


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function call that the model made in an earlier turn of this run, with the output it got."""

    call_id: str
    name: str
    arguments: str
    output: str


@dataclass(frozen=True, slots=True)
class ToolRound:
    """The calls of one earlier turn of this run, which were made together."""

    calls: tuple[FunctionCall, ...]


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function that the model may call; ``parameters`` is a JSON schema."""

    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool = False


@dataclass(frozen=True, slots=True)
class NamedFunction:
    """A ``tool_choice`` that names the function to call."""

    name: str


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that code can read in this run."""

    path: str
    """Where code finds it: ``/mnt/data/sales.csv``."""
    size: int
    """In bytes."""


@dataclass(frozen=True, slots=True)
class ModelTurn:
    """Everything that one turn of a model needs.

    ``messages`` are the thread's, oldest first; ``rounds`` are the tool rounds of the run so far, which
    come after the messages. ``max_completion_tokens`` is what is left of the run's budget.
    ``response_format`` is the Assistants API's: ``"auto"``, or an object with ``type`` text, json_object or
    json_schema.
    """

    model: str
    instructions: str
    messages: tuple[Message, ...]
    rounds: tuple[ToolRound, ...] = ()
    tools: tuple[FunctionTool, ...] = ()
    tool_choice: Literal["auto", "none", "required"] | NamedFunction = "auto"
    parallel_tool_calls: bool = True
    temperature: float | None = None
    top_p: float | None = None
    max_completion_tokens: int | None = None
    reasoning_effort: str | None = None
    response_format: str | dict[str, Any] = "auto"
    data_files: tuple[DataFile, ...] = ()
    """What the code interpreter has; the instructions say it in words too."""

    @property
    def last_user_message(self) -> Message:
        """The user's last message; an empty one where there is none."""
        return next((each for each in reversed(self.messages) if each.role == "user"), Message("user", ()))

    @property
    def last_user_text(self) -> str:
        """What the user said last; empty where the user said nothing."""
        return self.last_user_message.text

    def outputs_of(self, name: str) -> tuple[str, ...]:
        """The outputs that the run's calls of one function got so far, oldest first."""
        return tuple(call.output for each in self.rounds for call in each.calls if call.name == name)

    @property
    def tool_choice_now(self) -> Literal["auto", "none", "required"] | NamedFunction:
        """The tool choice in force in this turn.

        A choice that forces a call does so in the first turn of the run only; if it did so in every turn, the
        run would never come to its answer.
        """
        return "auto" if self.rounds and self.tool_choice != "none" else self.tool_choice


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The model began function call number ``index`` (0, 1, ... within the turn)."""

    index: int
    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ArgumentsDelta:
    """More of the JSON text of call ``index``'s arguments."""

    index: int
    delta: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one turn, as the upstream counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """The turn is over; always the last event of a stream that did not raise."""

    reason: FinishReason
    usage: Usage = field(default_factory=Usage)
    refused: bool = False
    """Whether the text says that the model will not answer: it has no other form then, whatever was asked for."""


ModelEvent = TextDelta | CallStarted | ArgumentsDelta | TurnFinished


class Model(Protocol):
    """Whatever can take one turn.

    `stream` raises the openai SDK's own errors, or `UpstreamError`; `activities.upstream_errors` decides
    which are worth another try. Closing the iterator (``aclose``) ends the upstream request.
    """

    name: str
    """What the upstream is called in metrics and logs: ``openai``, ``local`` or ``offline``."""

    def stream(self, turn: ModelTurn) -> AsyncIterator[ModelEvent]:
        """Take one turn and yield what comes out of it."""
        ...

    async def aclose(self) -> None:
        """Release connections; may be called twice."""
        ...
