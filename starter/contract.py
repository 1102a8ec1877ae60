"""Names and messages that callers and the workflow agree on.

Every message is a pydantic model whose fields have defaults wherever a caller may leave them out, so that a
field can be added later without breaking a run that is under way.
"""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from temporalio.common import SearchAttributeKey

from lockstitch.starter.escalations import Escalation
from lockstitch.starter.identifiers import id_for_key

THREAD_RUN = "ThreadRun"
"""The workflow's name."""

ANSWER_SIGNAL = "answer"
"""The signal that brings tool outputs; its argument is an `Answer`."""

PENDING_MEMO = "pending_calls"
"""The memo in which a run that waits for outputs from outside says for which calls; a list of `PendingCall`."""

DEFAULT_TASK_QUEUE = "lockstitch"

STATUS = SearchAttributeKey.for_keyword("LockstitchStatus")
THREAD = SearchAttributeKey.for_keyword("LockstitchThread")
ASSISTANT = SearchAttributeKey.for_keyword("LockstitchAssistant")
BACKEND = SearchAttributeKey.for_keyword("LockstitchBackend")
TENANT = SearchAttributeKey.for_keyword("LockstitchTenant")
NEEDS_ATTENTION = SearchAttributeKey.for_bool("LockstitchNeedsAttention")
STATUS_SINCE = SearchAttributeKey.for_datetime("LockstitchStatusSince")
DEADLINE = SearchAttributeKey.for_datetime("LockstitchDeadline")

SEARCH_ATTRIBUTES: tuple[SearchAttributeKey[Any], ...] = (
    STATUS,
    THREAD,
    ASSISTANT,
    BACKEND,
    TENANT,
    NEEDS_ATTENTION,
    STATUS_SINCE,
    DEADLINE,
)
"""What operators filter runs by in the Temporal UI."""

RunStatus = Literal[
    "queued",
    "in_progress",
    "requires_action",
    "cancelling",
    "cancelled",
    "failed",
    "completed",
    "incomplete",
    "expired",
]

OPEN_STATUSES: frozenset[RunStatus] = frozenset({"queued", "in_progress", "requires_action", "cancelling"})
"""A run with one of these goes on; with any other it has ended."""

BackendName = Literal["local", "assistants"]

MAX_INTEGER = 2_147_483_647
"""The largest number that every store keeps."""

NAME_PATTERN = r"""^[^\x00-\x1f\x7f"'\\]*$"""
"""What runs are searched by has no quotes, backslashes or control characters: not every store behind a Temporal
server finds them, however they are escaped."""

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=NAME_PATTERN)]
"""An id, or what a tenant is called: as long as the tables and the Temporal server take it."""


FIELD_MISSING = "field_missing"
"""The type of the error that a field is missing which only the values of others demand."""

URL_INVALID = "url_invalid"
"""The type of the error that a text is no URL."""


def _field_missing(field: str) -> PydanticCustomError:
    return PydanticCustomError(FIELD_MISSING, "'{field}' is missing", {"field": field})


def _checked_url(url: str) -> str:
    if re.match(r"(https?://[^\s/]|data:image/)", url) is None:
        raise PydanticCustomError(URL_INVALID, "this is no URL of an image")
    return url


class ImageUrl(BaseModel):
    """Where an image is found, and how closely the model should look; a ``data:`` URL holds the image itself."""

    url: Annotated[str, AfterValidator(_checked_url)]
    detail: Literal["auto", "low", "high"] = "auto"


class ImageFile(BaseModel):
    """An uploaded file that is an image."""

    file_id: str
    detail: Literal["auto", "low", "high"] = "auto"


class TextPart(BaseModel):
    """Text in a message's content."""

    type: Literal["text"]
    text: str


class ImageUrlPart(BaseModel):
    """An image by URL in a message's content."""

    type: Literal["image_url"]
    image_url: ImageUrl


class ImageFilePart(BaseModel):
    """An image by file id in a message's content."""

    type: Literal["image_file"]
    image_file: ImageFile


ContentPart = Annotated[TextPart | ImageUrlPart | ImageFilePart, Field(discriminator="type")]


class BuiltInTool(BaseModel):
    """A tool that the server itself provides."""

    type: Literal["code_interpreter", "file_search"]


class Attachment(BaseModel):
    """A file that comes with a message, and the tools that may read it."""

    file_id: str
    tools: list[BuiltInTool] = Field(default_factory=list)


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


class NewMessage(BaseModel):
    """A message to add to a thread."""

    role: Literal["user", "assistant"]
    content: Annotated[str, Field(min_length=1, max_length=256_000)] | Annotated[list[ContentPart], Field(min_length=1)]
    attachments: list[Attachment] | None = None
    metadata: Metadata | None = None


Identifier = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")]
"""What functions and answer formats are called."""


def _no_parameters() -> dict[str, Any]:
    return {"type": "object", "properties": {}}


class FunctionDefinition(BaseModel):
    """A function that the assistant may call; ``parameters`` is a JSON schema. The API fills in what is null."""

    name: Identifier
    description: str | None = None
    parameters: Annotated[
        dict[str, Any], BeforeValidator(lambda given: _no_parameters() if given is None else given)
    ] = Field(default_factory=_no_parameters)
    strict: Annotated[bool, BeforeValidator(lambda given: False if given is None else given)] = False


class FunctionToolParam(BaseModel):
    """A function tool."""

    type: Literal["function"]
    function: FunctionDefinition


class CodeInterpreterParam(BaseModel):
    """The code interpreter."""

    type: Literal["code_interpreter"]


class HybridSearch(BaseModel):
    """How much meaning and words count in a search."""

    embedding_weight: Annotated[float, Field(ge=0)]
    text_weight: Annotated[float, Field(ge=0)]


class RankingOptions(BaseModel):
    """Which results of a search are good enough; ``score_threshold`` is between 0 and 1."""

    ranker: Literal["auto", "default_2024_08_21"] = "default_2024_08_21"
    score_threshold: Annotated[float, Field(ge=0, le=1)]
    hybrid_search: HybridSearch | None = None


def _default_ranking() -> RankingOptions:
    return RankingOptions(score_threshold=0.0)


class FileSearchOptions(BaseModel):
    """How file search searches. The API fills in how results are ranked."""

    max_num_results: Annotated[int, Field(ge=1, le=50)] | None = None
    ranking_options: Annotated[
        RankingOptions, BeforeValidator(lambda given: _default_ranking() if given is None else given)
    ] = Field(default_factory=_default_ranking)


class FileSearchParam(BaseModel):
    """File search and its options."""

    type: Literal["file_search"]
    file_search: Annotated[
        FileSearchOptions, BeforeValidator(lambda given: FileSearchOptions() if given is None else given)
    ] = Field(default_factory=FileSearchOptions)


ToolParam = Annotated[FunctionToolParam | CodeInterpreterParam | FileSearchParam, Field(discriminator="type")]


class NamedFunction(BaseModel):
    """The name of a function."""

    name: str


class NamedToolChoice(BaseModel):
    """A tool that the model must use."""

    type: Literal["function", "code_interpreter", "file_search"]
    function: NamedFunction | None = None

    @model_validator(mode="after")
    def _a_function_has_a_name(self) -> "NamedToolChoice":
        if self.type == "function" and self.function is None:
            raise _field_missing("function")
        return self


ToolChoice = Literal["none", "auto", "required"] | NamedToolChoice


class TruncationStrategy(BaseModel):
    """Which of the thread's messages the model sees."""

    type: Literal["auto", "last_messages"]
    last_messages: Annotated[int, Field(ge=1, le=MAX_INTEGER)] | None = None

    @model_validator(mode="after")
    def _last_messages_has_a_number(self) -> "TruncationStrategy":
        if self.type == "last_messages" and self.last_messages is None:
            raise _field_missing("last_messages")
        return self


class JsonSchemaFormat(BaseModel):
    """A JSON schema that the answer must fit."""

    model_config = ConfigDict(serialize_by_alias=True)  # not every converter asks for aliases

    name: Identifier
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseFormatObject(BaseModel):
    """The form of the model's answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None

    @model_validator(mode="after")
    def _a_schema_is_given(self) -> "ResponseFormatObject":
        if self.type == "json_schema" and self.json_schema is None:
            raise _field_missing("json_schema")
        return self


ResponseFormat = Literal["auto"] | ResponseFormatObject


ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class RunParameters(BaseModel):
    """Every parameter with which the Assistants API creates a run.

    ``None`` means "as the assistant says". ``instructions`` replaces the assistant's, while
    ``additional_instructions`` comes after them; ``additional_messages`` are added to the thread first. The token
    limits hold for the whole run.
    """

    model: str | None = None
    instructions: Annotated[str, Field(max_length=256_000)] | None = None
    additional_instructions: str | None = None
    additional_messages: list[NewMessage] | None = None
    tools: Annotated[list[ToolParam], Field(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: Annotated[bool, BeforeValidator(lambda given: True if given is None else given)] = True
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    reasoning_effort: ReasoningEffort | None = None
    max_prompt_tokens: Annotated[int, Field(ge=1, le=MAX_INTEGER)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_INTEGER)] | None = None
    truncation_strategy: TruncationStrategy | None = None
    response_format: ResponseFormat | None = None
    metadata: Metadata | None = None


class RunPolicy(BaseModel):
    """How long a run may take and what happens when something in it fails."""

    deadline: Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(minutes=10)
    """From the start of the workflow; a run that is still open then ends as ``expired``. The Assistants API
    expires a run ten minutes after it was created."""

    on_tool_failure: Literal["error_output", "fail_run", "escalate"] | None = None
    """What a handler that failed for good means: an error output that the model sees, the end of the run, or a
    question to a person. ``None`` leaves it to each tool's own policy."""

    on_missing_handler: Literal["escalate", "wait"] = "escalate"
    """What a call without a handler means: a person is asked, or it waits for outputs from outside until the run's
    deadline. Runs that come in over HTTP wait, for there the client answers."""

    decision_timeout: Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(minutes=5)
    """How long a call waits for a person. It ends early enough before the run's deadline that the run can still go
    on with what follows; where people need hours, give the run a longer deadline too."""

    on_unresolved: Literal["error_output", "cancel", "replace"] = "error_output"
    """What happens to a call about which nobody decided in time: the model sees an error and goes on, the run is
    cancelled, or a new run upstream takes its place (not with the backend ``local``, whose runs are ours)."""

    queued_timeout: Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(minutes=2)
    """A run that the upstream left ``queued`` for so long hangs: it is cancelled and replaced."""

    in_progress_timeout: Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(minutes=5)
    """The same for ``in_progress``, counted from the last sign of life."""

    cancelling_timeout: Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(minutes=1)
    """How long a run may hang in ``cancelling`` before it is given up and counts as cancelled."""

    max_replacements: Annotated[int, Field(ge=0)] = 2
    """How often a run that expired, vanished or hangs upstream is replaced by a new one on the same thread."""

    max_rounds: Annotated[int, Field(ge=1)] = 100
    """Tool rounds after which the run fails: a model that never stops calling tools must not run for ever."""

    upstream_attempts: Annotated[int, Field(ge=1)] = 10
    """How often a model turn is tried when the upstream fails in a way that may pass."""

    turn_timeout: Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(minutes=10)
    """The longest that one attempt at one model turn may take; longer than ``queued_timeout`` and
    ``in_progress_timeout`` together, so that a run that hangs upstream is noticed within one attempt."""

    heartbeat_timeout: Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(seconds=10)
    """A worker that was silent for so long is taken for dead and its work is given to another."""


class ThreadRunRequest(RunParameters):
    """A run to start.

    Give the ``thread_id`` of a thread that exists, or ``messages`` with which a new thread begins.
    """

    assistant_id: Name
    thread_id: Name | None = None
    messages: list[NewMessage] | None = None
    backend: BackendName = "local"
    tenant: Name = "default"
    priority: Annotated[int, Field(ge=1, le=5)] = 3
    """1 is served first, 5 last."""
    policy: RunPolicy = Field(default_factory=RunPolicy)
    adopted_run_id: Name | None = None
    """A run of the backend that exists already, on the thread ``thread_id``: it is taken over as it stands."""

    @model_validator(mode="after")
    def _one_thread(self) -> "ThreadRunRequest":
        if (self.thread_id is None) == (self.messages is None):
            raise ValueError("give either the id of a thread or the messages of a new one")
        if self.adopted_run_id is not None and self.thread_id is None:
            raise ValueError("a run that is taken over is on a thread that exists: give its 'thread_id'")
        if self.backend == "local" and self.policy.on_unresolved == "replace":
            raise ValueError(
                "runs of the backend 'local' are ours and cannot be replaced: choose another 'on_unresolved'"
            )
        return self


def new_thread_id(run_id: str) -> str:
    """Return the id of the thread that begins with a run of our own server, known before the run is created."""
    return id_for_key("thread", run_id)


class ToolOutput(BaseModel):
    """The output of one tool call."""

    tool_call_id: str
    output: str


class Answer(BaseModel):
    """Tool outputs from outside, and the ids of calls whose outputs are already in the store."""

    outputs: list[ToolOutput] = Field(default_factory=list)
    stored_call_ids: list[str] = Field(default_factory=list)


class PendingCall(BaseModel):
    """A tool call that waits for its output."""

    call_id: str
    name: str


class LastError(BaseModel):
    """Why a run failed, in the Assistants API's words."""

    code: str
    message: str


class Usage(BaseModel):
    """Tokens that a run used."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


ToolOutcome = Literal[
    "succeeded", "invalid_arguments", "failed", "answered", "reused", "denied", "unresolved", "unanswered"
]


class ToolCallReport(BaseModel):
    """What happened to one tool call.

    ``succeeded``: its handler returned; ``invalid_arguments``: the model was told what was wrong with them;
    ``failed``: its handler failed for good; ``answered``: its output came from outside; ``reused``: a run that this
    one replaced had computed it; ``denied``: it was not approved; ``unresolved``: nobody decided about it in time;
    ``unanswered``: the run ended first. ``duration`` is the time of the last attempt of the handler, zero where none
    ran.
    """

    call_id: str
    name: str
    outcome: ToolOutcome
    attempts: int = 0
    duration: timedelta = timedelta(0)
    error: str | None = None


class UpstreamAttempt(BaseModel):
    """One run upstream that carried, or tried to carry, this run; ``problem`` says why another took its place."""

    upstream_id: str
    began_at: datetime
    ended_at: datetime | None = None
    problem: str | None = None


class RunSnapshot(BaseModel):
    """A run as it is now. It comes from the Temporal server alone, so it needs no worker."""

    run_id: str
    status: RunStatus
    thread_id: str | None = None
    assistant_id: str | None = None
    backend: str = "local"
    tenant: str = "default"
    needs_attention: bool = False
    pending_calls: list[PendingCall] = Field(default_factory=list)
    """The calls that wait for `Starter.answer`."""
    escalations: list[Escalation] = Field(default_factory=list)
    """What the run asked people, the newest last; those that are open wait for `Starter.decide`."""
    started_at: datetime | None = None
    deadline: datetime | None = None
    """Until when it may take; ``None`` for runs that an earlier release started."""
    ended_at: datetime | None = None


class ThreadRunResult(BaseModel):
    """How a run ended."""

    run_id: str
    thread_id: str | None = None
    assistant_id: str | None = None
    backend: str = "local"
    status: RunStatus = "queued"
    last_message_id: str | None = None
    last_message_text: str | None = None
    """At most 32 KiB; ``last_message_truncated`` says whether the message in the store is longer."""
    last_message_truncated: bool = False
    message_ids: list[str] = Field(default_factory=list)
    usage: Usage = Field(default_factory=Usage)
    tool_calls: list[ToolCallReport] = Field(default_factory=list)
    last_error: LastError | None = None
    duration: timedelta = timedelta(0)
    attempts: list[UpstreamAttempt] = Field(default_factory=list)
    """The runs upstream, oldest first; more than one where a run was replaced."""
    escalations: list[Escalation] = Field(default_factory=list)


class RunEvent(BaseModel):
    """One entry of a run's event log; ``event`` and ``data`` are the Assistants API's stream events.

    ``seq`` counts from 1 without a gap; ``attempt`` says which try at the model turn produced the event.
    """

    seq: int
    event: str
    data: dict[str, Any]
    attempt: int = 1
