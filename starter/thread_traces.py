"""What the Temporal server has of a thread: the workflows of its runs and whatever they started. Finds and deletes it.

Nothing is decoded here, so neither keys nor large payloads are needed.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from lockstitch.errors import TemporalKeeps, TemporalUnreachable
from lockstitch.starter import contract
from lockstitch.starter.payload_store import PayloadStore

IDS_PER_QUERY = 50

LOOK_EVERY_SECONDS = 0.5

_OUT_OF_REACH = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED)


class Execution(NamedTuple):
    """One execution of a workflow; a run that continued as new has several of one ``workflow_id``."""

    workflow_id: str
    run_id: str
    is_root: bool


def in_order(executions: Iterable[Execution]) -> list[Execution]:
    """Return the executions as they are deleted: what a run started before the run, by which it is found."""
    return sorted(executions, key=lambda it: (it.is_root, it))


class ThreadTraces:
    """Finds and deletes workflows of runs; ``patience`` is how long it waits for what the server does by and by.

    ``payloads`` is where what was too large for the server is.
    """

    def __init__(self, client: Client, patience: timedelta, payloads: PayloadStore | None = None) -> None:
        self._payloads = payloads
        self._client = client
        self._seconds = patience.total_seconds()

    def __repr__(self) -> str:
        return f"ThreadTraces(namespace={self._client.namespace!r}, patience={self._seconds:g} s)"

    async def run_ids(self, thread_id: str) -> set[str]:
        """Return the ids of the thread's runs that the server's search knows."""
        if not re.fullmatch(contract.NAME_PATTERN, thread_id):
            return set()  # no run has such a thread, and it might mean something else inside a query
        query = f"WorkflowType = '{contract.THREAD_RUN}' AND {contract.THREAD.name} = '{thread_id}'"
        return {it.workflow_id async for it in self._found(query)}

    async def executions(self, workflow_ids: Collection[str]) -> list[Execution]:
        """Return every execution of these workflows and of those that they started, the started ones first."""
        found = set()
        for named in _named(workflow_ids):
            found |= {it async for it in self._found(f"RootWorkflowId IN ({named})")}
        return in_order(found)

    async def newest(self, workflow_id: str) -> tuple[Execution, bool] | None:
        """Return the newest execution of a workflow and whether it is open, as it is now; `None` where there is none.

        The search learns of it a moment later.
        """
        with _reached(self._client), _unless_gone():
            found = await self._client.get_workflow_handle(workflow_id).describe()
            is_open = found.status is WorkflowExecutionStatus.RUNNING
            return Execution(found.id, found.run_id, found.root_id in (None, found.id)), is_open
        return None

    async def cancel(self, run_ids: Collection[str]) -> None:
        """Cancel runs and wait until they have ended; raises `TemporalKeeps` where one does not."""
        for run_id in run_ids:
            with _reached(self._client), _unless_gone():
                await self._client.get_workflow_handle(run_id).cancel()
        if still_open := await self._left(run_ids, self._open):
            problem = f"{', '.join(sorted(still_open))} did not end within {self._seconds:g} s of the cancellation"
            raise TemporalKeeps(f"{problem}, which needs a worker")

    async def delete_payloads(self, workflow_ids: Collection[str]) -> int:
        """Delete what was kept outside for these workflows, and return how many payloads they were.

        Whoever deletes an execution does this before it: nothing leads to its payloads afterwards.
        """
        if self._payloads is None:
            return 0
        namespace, each = self._client.namespace, sorted(workflow_ids)
        return sum([await self._payloads.delete_of(namespace, workflow_id) for workflow_id in each])

    async def delete(self, executions: Sequence[Execution]) -> None:
        """Delete executions, one that is open too, and wait until the server shows none of them any more.

        Raises `TemporalKeeps` where it still does after the patience; it goes on deleting then.
        """
        for it in executions:
            execution = WorkflowExecution(workflow_id=it.workflow_id, run_id=it.run_id)
            request = DeleteWorkflowExecutionRequest(namespace=self._client.namespace, workflow_execution=execution)
            with _reached(self._client), _unless_gone():
                await self._client.workflow_service.delete_workflow_execution(request)
        if left := await self._left({it.workflow_id for it in executions}, self._shown):
            problem = f"it still shows {len(left)} workflows after {self._seconds:g} s"
            raise TemporalKeeps(f"{problem}, and goes on deleting them")

    async def _left(
        self, workflow_ids: Collection[str], look: Callable[[Collection[str]], Awaitable[set[str]]]
    ) -> set[str]:
        """Look again and again until nothing is left of the workflows; return what is at the end of the patience."""
        give_up_at = time.monotonic() + self._seconds
        left = await look(workflow_ids)
        while left and time.monotonic() < give_up_at:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            left = await look(left)
        return left

    async def _open(self, workflow_ids: Collection[str]) -> set[str]:
        newest = [await self.newest(each) for each in workflow_ids]
        return {it[0].workflow_id for it in newest if it is not None and it[1]}

    async def _shown(self, workflow_ids: Collection[str]) -> set[str]:
        found: set[str] = set()
        for named in _named(workflow_ids):
            found |= {it.workflow_id async for it in self._found(f"WorkflowId IN ({named})")}
        return found

    async def _found(self, query: str) -> AsyncIterator[Execution]:
        with _reached(self._client):
            async for it in self._client.list_workflows(query, page_size=1000):
                yield Execution(it.id, it.run_id, it.root_id in (None, it.id))


def _named(workflow_ids: Collection[str]) -> Iterator[str]:
    """Yield the ids as a query has them, so many at a time as one may have."""
    ids = [f"'{each}'" for each in sorted(workflow_ids)]
    for first in range(0, len(ids), IDS_PER_QUERY):
        yield ", ".join(ids[first : first + IDS_PER_QUERY])


@contextmanager
def _reached(client: Client) -> Iterator[None]:
    try:
        yield
    except RPCError as error:
        if error.status in _OUT_OF_REACH:
            raise TemporalUnreachable(client.service_client.config.target_host, error.message) from error
        raise


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Take no notice of what is not there any more."""
    try:
        yield
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
