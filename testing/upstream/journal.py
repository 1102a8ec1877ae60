"""What the server was asked, in order, and what became of it: the truth that tests compare with."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lockstitch.starter.contract import ToolOutput
from lockstitch.testing.upstream.changes import Changes

Operation = Literal[
    "create_assistant",
    "retrieve_assistant",
    "modify_assistant",
    "list_assistants",
    "delete_assistant",
    "create_thread",
    "retrieve_thread",
    "modify_thread",
    "delete_thread",
    "create_message",
    "retrieve_message",
    "list_messages",
    "create_run",
    "retrieve_run",
    "list_runs",
    "modify_run",
    "cancel_run",
    "submit_tool_outputs",
    "retrieve_step",
    "list_steps",
]
"""What a client can ask for. ``create_run`` is also what creates a run together with its thread."""


@dataclass(slots=True)
class ReceivedRequest:
    """One request. ``ids`` are those in its path and, once carried out, those of the run that it created."""

    number: int
    """Counts from 1."""
    operation: Operation
    method: str
    path: str
    body: dict[str, Any] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    """Of the run that the request is about; else what the body says."""
    carried_out: bool = False
    faults: list[str] = field(default_factory=list)
    """What was done to it, by the names of the faults."""
    status: int | None = None
    """The HTTP status of the answer; ``None`` where none was sent."""

    @property
    def run_id(self) -> str | None:
        """The run that it is about."""
        return self.ids.get("run_id")

    @property
    def thread_id(self) -> str | None:
        """The thread that it is about."""
        return self.ids.get("thread_id")

    @property
    def streams(self) -> bool:
        """Whether it asks for an event stream."""
        return self.body.get("stream") is True

    def as_json(self) -> dict[str, Any]:
        """Everything, as it is saved and shown."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Submission:
    """One time that outputs were given to a run."""

    run_id: str
    outputs: tuple[ToolOutput, ...]
    accepted: bool


class Journal:
    """Every request in the order in which it came; iterable, with a length."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._requests: list[ReceivedRequest] = []

    def __repr__(self) -> str:
        return f"Journal({dict(Counter(request.operation for request in self))})"

    def __iter__(self) -> Iterator[ReceivedRequest]:
        return iter(self._requests)

    def __len__(self) -> int:
        return len(self._requests)

    def __getitem__(self, place: int) -> ReceivedRequest:
        return self._requests[place]

    def add(self, request: ReceivedRequest) -> None:
        """Write down a request; what becomes of it is written into the entry later."""
        self._requests.append(request)

    def of(
        self, operation: Operation, *, run_id: str | None = None, carried_out: bool | None = None
    ) -> list[ReceivedRequest]:
        """Return the requests for an operation, oldest first, of one run only where its id is given."""
        return [
            request
            for request in self
            if request.operation == operation
            and run_id in (None, request.run_id)
            and carried_out in (None, request.carried_out)
        ]

    def submissions(self, run_id: str | None = None) -> list[Submission]:
        """Return every time that outputs were given, to this run or to any, accepted or not."""
        return [
            Submission(
                request.run_id or "",
                tuple(ToolOutput.model_validate(output) for output in request.body.get("tool_outputs") or ()),
                request.carried_out,
            )
            for request in self.of("submit_tool_outputs", run_id=run_id)
        ]

    def accepted(self, run_id: str | None = None) -> Counter[str]:
        """Count by call id how often an output was accepted; anything but 1 is a bug of whoever gave it."""
        submissions = [submission for submission in self.submissions(run_id) if submission.accepted]
        return Counter(output.tool_call_id for submission in submissions for output in submission.outputs)

    async def received(self, operation: Operation, count: int = 1, *, run_id: str | None = None) -> ReceivedRequest:
        """Wait for the request number ``count`` (from 1) for an operation, and return it as soon as it is settled.

        A request is settled when it was carried out, refused, or met its fault.
        """

        def find() -> ReceivedRequest | None:
            requests = [request for request in self.of(operation, run_id=run_id) if _settled(request)]
            return requests[count - 1] if len(requests) >= count else None

        return await self._changes.until(find)


def _settled(request: ReceivedRequest) -> bool:
    return request.carried_out or request.status is not None or bool(request.faults)
