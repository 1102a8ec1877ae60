"""What is measured: a run with one tool on Lockstitch, the same by a bare loop, and Temporal's floor."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count

import openai
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHistory

from lockstitch.assistants.store import assistants
from lockstitch.assistants.store.database import Database
from lockstitch.benchmarks import floor
from lockstitch.benchmarks.bare_loop import run_bare_loop
from lockstitch.benchmarks.model_process import ANSWER
from lockstitch.benchmarks.no_op_tool import look_up_order
from lockstitch.benchmarks.stack import BenchmarkStack
from lockstitch.starter.client import Starter, connect_temporal
from lockstitch.starter.contract import NewMessage, ThreadRunRequest
from lockstitch.starter.temporal_server import TemporalServer
from lockstitch.tools import ToolRegistry


class UnexpectedAnswer(Exception):
    """A run did not end as the script says, so its time means nothing."""


@dataclass(frozen=True, slots=True)
class HistorySize:
    """What one workflow left in Temporal's history."""

    events: int
    bytes: int
    remote_activities: int

    @classmethod
    def of(cls, history: WorkflowHistory) -> "HistorySize":
        """Count a history."""
        kinds = [event.event_type for event in history.events]
        return cls(
            events=len(kinds),
            bytes=sum(event.ByteSize() for event in history.events),
            remote_activities=kinds.count(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED),
        )


class Workloads:
    """One run of each kind, against one stack."""

    def __init__(self, client: Client, starter: Starter, model: openai.AsyncOpenAI, assistant_id: str) -> None:
        self._client = client
        self._starter = starter
        self._model = model
        self._assistant_id = assistant_id
        self._number = count(1)

    async def lockstitch(self, question: str) -> str:
        """Carry one run on a new thread to its end and return its id."""
        request = ThreadRunRequest(
            assistant_id=self._assistant_id, messages=[NewMessage(role="user", content=question)]
        )
        result = await self._starter.run(request)
        _check(result.last_message_text)
        return result.run_id

    async def bare(self, question: str) -> None:
        """Do the same steps without Lockstitch."""
        _check(await run_bare_loop(self._model, question))

    async def floor(self) -> str:
        """Carry one empty workflow to its end and return its id."""
        workflow_id = f"floor-{next(self._number)}"
        await self._client.execute_workflow("Floor", floor.PADDING, id=workflow_id, task_queue=floor.TASK_QUEUE)
        return workflow_id

    async def history_size(self, workflow_id: str) -> HistorySize:
        """Count the history of a workflow that has ended."""
        return HistorySize.of(await self._client.get_workflow_handle(workflow_id).fetch_history())


@asynccontextmanager
async def workloads(stack: BenchmarkStack) -> AsyncIterator[Workloads]:
    """Connect to the stack, with one assistant that has one tool."""
    assistant_id = await _create_assistant(stack.database_url)
    client = await connect_temporal(TemporalServer(stack.temporal_address))
    model = openai.AsyncOpenAI(base_url=stack.model_url, api_key="any", max_retries=0)
    async with model, Starter(client) as starter:
        yield Workloads(client, starter, model, assistant_id)


async def _create_assistant(database_url: str) -> str:
    tools = ToolRegistry([look_up_order]).definitions()
    values = {"model": "scripted", "tools": tools, "tool_resources": {}, "metadata": {}}
    async with Database(database_url) as database:
        row = await database.write(lambda connection: assistants.create(connection, values, int(time.time())))
    return str(row["id"])


def _check(answer: str | None) -> None:
    if answer != ANSWER:
        raise UnexpectedAnswer(f"A run ended with {answer!r}.")
