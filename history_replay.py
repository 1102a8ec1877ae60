"""Replay workflow histories against the workflows of this release, to see before an upgrade what it would break."""

import dataclasses
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from google.protobuf.json_format import ParseError
from temporalio import workflow
from temporalio.client import Client, WorkflowHistory
from temporalio.converter import DataConverter, DefaultFailureConverter
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from lockstitch.errors import HistoryUnreadable
from lockstitch.starter import contract
from lockstitch.workflows.registered import WORKFLOWS

Kept = Literal["open", "closed", "all"]

CLOSED_RUNS = ("completed", "failed", "cancelled", "expired", "incomplete")
CLOSED_WORKFLOWS = ("Completed", "Failed", "Canceled", "Terminated", "TimedOut", "ContinuedAsNew")

_MOVES = "(TemporalWorkflowVersioningBehavior IS NULL OR TemporalWorkflowVersioningBehavior != 'Pinned')"
_EVENT = re.compile(r"HistoryEvent\(id: (\d+)")
_MESSAGE = re.compile(r'message: "((?:[^"\\]|\\.)+)"')
"""Where the SDK's core tells of a failure in its own notation, this is the sentence in it."""


def _names() -> tuple[str, ...]:
    definitions = (workflow._Definition.from_class(kind) for kind in WORKFLOWS)
    return tuple(str(definition.name) for definition in definitions if definition is not None)


NAMES = _names()


@dataclass(frozen=True, slots=True)
class Sampled:
    """One history and where it comes from."""

    kind: str
    """``open``, how it ended, or ``file``."""
    history: WorkflowHistory

    @property
    def workflow_type(self) -> str:
        """The name of the workflow."""
        return str(self.history.events[0].workflow_execution_started_event_attributes.workflow_type.name)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one history."""

    workflow_id: str
    run_id: str
    workflow_type: str
    kind: str
    events: int
    problem: str | None = None
    """Why this release could not go on with it."""
    event: int | None = None
    """The number of the event that does not fit, where it is known."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Which histories of a namespace are replayed: of each kind of workflow and each way it ended, the latest."""

    kept: Kept = "all"
    query: str = ""
    """What else must be true of them, as Temporal's visibility understands it."""
    limit: int = 20
    """At most so many of each."""
    without_pinned: bool = False
    """Leave out what is pinned to a version of the workers, for it never comes to another one."""

    def queries(self) -> dict[str, list[str]]:
        """Return the queries by what they find: ``open``, or how it ended."""
        found: dict[str, list[str]] = {}
        if self.kept != "closed":
            found["open"] = [self._of(name, "ExecutionStatus = 'Running'") for name in NAMES]
        if self.kept != "open":
            for status in CLOSED_RUNS:
                ended = f"LockstitchStatus = '{status}' AND ExecutionStatus != 'Running'"
                found[status] = [self._of(contract.THREAD_RUN, ended)]
            for ending in CLOSED_WORKFLOWS:
                others = [name for name in NAMES if name != contract.THREAD_RUN or ending != "Completed"]
                found.setdefault(ending.lower(), []).extend(
                    self._of(name, f"ExecutionStatus = '{ending}'") for name in others
                )
        return found

    def _of(self, workflow_type: str, condition: str) -> str:
        terms = [f"WorkflowType = '{workflow_type}'", condition]
        terms += [f"({self.query})"] if self.query else []
        terms += [_MOVES] if self.without_pinned else []
        return " AND ".join(terms)


async def from_server(client: Client, sample: Sample) -> AsyncGenerator[Sampled, None]:
    """Yield the histories of a sample, each once. Raises Temporal's `RPCError` for a query that it does not take."""
    seen: set[str] = set()
    for kind, queries in sample.queries().items():
        for query in queries:
            async for execution in client.list_workflows(query, limit=sample.limit, page_size=min(sample.limit, 1000)):
                if execution.run_id in seen:
                    continue
                seen.add(execution.run_id)
                try:
                    handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
                    yield Sampled(kind, await handle.fetch_history())
                except RPCError as error:
                    if error.status is not RPCStatusCode.NOT_FOUND:  # else its time is over since it was found
                        raise


def from_folder(folder: Path) -> AsyncGenerator[Sampled, None]:
    """Return the histories of a folder's ``.json`` files; raises `HistoryUnreadable`, also when it comes to one."""
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not paths:
        raise HistoryUnreadable(str(folder), "there is no folder with .json files.")
    return _from_files(paths)


async def _from_files(paths: Sequence[Path]) -> AsyncGenerator[Sampled, None]:
    for path in paths:
        yield Sampled("file", _read(path))


def _read(path: Path) -> WorkflowHistory:
    try:
        history = WorkflowHistory.from_json("", path.read_text(encoding="utf-8"))
    except (OSError, ValueError, ParseError) as error:
        raise HistoryUnreadable(str(path), f"{error}.") from error
    if not history.events or not history.events[0].HasField("workflow_execution_started_event_attributes"):
        raise HistoryUnreadable(str(path), "its first event is not the start of a workflow.")
    return WorkflowHistory(history.events[0].workflow_execution_started_event_attributes.workflow_id, history.events)


def save(history: WorkflowHistory, folder: Path) -> Path:
    """Write a history where `from_folder` finds it, and return the file. What the run was asked is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{quote(history.workflow_id, safe='')}.{history.run_id}.json"
    path.write_text(json.dumps(json.loads(history.to_json()), indent=1) + "\n", encoding="utf-8")
    return path


async def replay(histories: AsyncIterator[Sampled], converter: DataConverter) -> AsyncGenerator[Replayed, None]:
    """Yield what became of each history, in order; ``converter`` is that of the connection they come from."""
    # What is found goes to whoever asked, not to the server, so it stays readable.
    converter = dataclasses.replace(converter, failure_converter_class=DefaultFailureConverter)
    replayer = Replayer(
        workflows=list(WORKFLOWS),
        workflow_runner=UnsandboxedWorkflowRunner(),
        data_converter=converter,
        runtime=Runtime(telemetry=TelemetryConfig(logging=None)),  # else each break is written to standard output too
    )
    under_way: list[Sampled] = []
    unknown: list[Replayed] = []

    async def known() -> AsyncGenerator[WorkflowHistory, None]:
        async for sampled in histories:
            if sampled.workflow_type in NAMES:
                under_way.append(sampled)
                yield sampled.history
            else:
                unknown.append(_replayed(sampled, f"This release has no workflow {sampled.workflow_type!r}."))

    async with aclosing(known()) as source, replayer.workflow_replay_iterator(source) as results:
        async for result in results:
            failure = result.replay_failure
            yield _replayed(under_way.pop(), None if failure is None else _sentence(failure))
    for replayed in unknown:
        yield replayed


def _sentence(failure: Exception) -> str:
    found = _MESSAGE.search(str(failure))
    return found.group(1) if found else str(failure)


def _replayed(sampled: Sampled, problem: str | None) -> Replayed:
    event = _EVENT.search(problem or "")
    return Replayed(
        workflow_id=sampled.history.workflow_id,
        run_id=sampled.history.run_id,
        workflow_type=sampled.workflow_type,
        kind=sampled.kind,
        events=len(sampled.history.events),
        problem=problem,
        event=int(event.group(1)) if event else None,
    )


def problems(results: Sequence[Replayed]) -> Sequence[Replayed]:
    """Return those that this release cannot go on with."""
    return [result for result in results if result.problem is not None]
