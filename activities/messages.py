"""What the workflow sends to its activities and gets back: ids and small control values, no content."""

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, Field

from lockstitch.starter.contract import (
    LastError,
    RunPolicy,
    RunStatus,
    ThreadRunRequest,
    ToolOutcome,
    ToolOutput,
    Usage,
)
from lockstitch.tool_policy import ToolPolicy

OUTCOME_UNKNOWN = "outcome_unknown"
"""The type of the error with which a call ends of which nobody knows whether it took effect."""


class RunRef(BaseModel):
    """A run and where it executes.

    ``upstream_id`` is the backend's own id of it, ``replacement`` says how often another run took its place upstream.
    """

    run_id: str
    thread_id: str
    assistant_id: str
    backend: str = "local"
    upstream_id: str = ""
    replacement: int = 0
    tenant: str = "default"


class StartRun(BaseModel):
    """Create a run upstream and follow it to its first stop."""

    run_id: str
    request: ThreadRunRequest


class ReplaceRun(BaseModel):
    """Put a new run upstream in the place of one that expired, vanished or hangs; ``number`` counts from 1."""

    run: RunRef
    request: ThreadRunRequest
    number: int
    reason: str


class CallFailure(BaseModel):
    """A call that has no output; ``message`` is what the model will read."""

    call_id: str
    message: str
    outcome: Literal["failed", "denied", "unresolved"] = "failed"

    @property
    def output(self) -> str:
        """What the model reads."""
        return f"Denied: {self.message}" if self.outcome == "denied" else f"Error: {self.message}"


class SubmitToolOutputs(BaseModel):
    """Give a run the outputs of its round and follow it to its next stop.

    Outputs of handlers are in the store already; ``outputs`` came from outside, ``failures`` have none.
    ``turn`` is the number of the model turn that follows, so that it is taken once.
    """

    run: RunRef
    turn: int
    policy: RunPolicy = Field(default_factory=RunPolicy)
    outputs: list[ToolOutput] = Field(default_factory=list)
    failures: list[CallFailure] = Field(default_factory=list)


class EndRun(BaseModel):
    """End a run that does not end by itself."""

    run: RunRef
    status: Literal["cancelled", "failed", "expired"]
    last_error: LastError | None = None


class RequestedCall(BaseModel):
    """A tool call of the round that a run stopped at.

    ``policy`` is ``None`` where no handler answers it; ``outcome`` is set where the output is there already.
    ``client_answers`` says that its run leaves it to the client, whether a handler is registered or not.
    """

    call_id: str
    name: str
    policy: ToolPolicy | None = None
    outcome: ToolOutcome | None = None
    client_answers: bool = False
    built_in: Literal["code_interpreter", "file_search"] | None = None
    """The built-in tool that is called, where it is one."""
    session_queue: str | None = None
    """The task queue of the worker that holds the code interpreter's session of the thread, if there is one."""


class RunStop(BaseModel):
    """Where a run has stopped: ended, or asking for tool outputs. What it wrote is told once it has ended."""

    run: RunRef
    status: RunStatus
    calls: list[RequestedCall] = Field(default_factory=list)
    message_ids: list[str] = Field(default_factory=list)
    last_message_text: str | None = None
    last_message_truncated: bool = False
    usage: Usage = Field(default_factory=Usage)
    last_error: LastError | None = None
    turns: int = 0
    """Model turns that the run has taken, where the upstream knows."""
    broken: str | None = None
    """Why the run upstream will not go on, where a new one can take its place: it expired, vanished or hangs."""


class CallTool(BaseModel):
    """Call the handler of one tool call; its arguments are in the store."""

    run: RunRef
    call_id: str
    name: str
    earlier_attempts: int = 0
    """Attempts that were made before a person decided that the handler is called again."""
    despite_unknown_outcome: bool = False
    """That person knew that an earlier attempt may have taken effect."""


class UseBuiltInTool(BaseModel):
    """Carry out a call of a built-in tool; its arguments are in the store."""

    run: RunRef
    call_id: str


class ToolCallDone(BaseModel):
    """A tool call whose output is in the store."""

    call_id: str
    outcome: ToolOutcome
    attempts: int
    duration: timedelta
    error: str | None = None
