"""What the Temporal server knows of all runs and workers together, asked with few queries however many there are."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    GetSystemInfoRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from lockstitch.errors import TemporalRefused
from lockstitch.starter import contract
from lockstitch.starter.code_queue import code_queue
from lockstitch.starter.contract import RunStatus
from lockstitch.starter.ingestion import ingestion_queue
from lockstitch.starter.temporal_errors import temporal_errors

QueueKind = Literal["workflow", "activity"]

QUEUES: tuple[tuple[str, QueueKind], ...] = (
    ("runs", "workflow"),
    ("runs", "activity"),
    ("files", "activity"),
    ("code", "activity"),
)
"""The task queues that every fleet has, by what they carry. Those that single tools ask for are not looked at."""

PAGE = 100
"""Runs that one query reads."""

QUERIES = 20
"""Queries that the search for the oldest run takes at most. Each of the last ones halves what is unknown, so the age is
right to a hundredth where more than a page of runs has the status, and exact where there are fewer."""

POLL_SECONDS = 75.0
"""A worker that has not asked for work for so long is gone; Temporal itself shows it for five minutes."""

CHECK_PATIENCE = timedelta(seconds=2)
"""How long the server may take to say that it is there."""

LATE_SECONDS = 60.0
"""So long after its deadline a run counts as overdue, and so long after its start a notification as undelivered."""

_OPEN_RUN = f"WorkflowType = '{contract.THREAD_RUN}' AND ExecutionStatus = 'Running'"
_NOTIFICATION = "WorkflowType = 'DeliverNotification' AND ExecutionStatus = 'Running'"


@dataclass(frozen=True, slots=True)
class QueueState:
    """Workers that ask a task queue for work, and what waits in it; ``None`` where the server does not tell."""

    pollers: int
    backlog: int | None
    backlog_age: timedelta | None


class Fleet:
    """Asks the Temporal server; its methods raise `TemporalUnreachable`. ``page`` is how many runs a query reads."""

    def __init__(self, client: Client, task_queue: str, *, page: int = PAGE) -> None:
        self._client = client
        self._page = page
        self.name = f"fleet {client.namespace} {task_queue}"
        """What the processes of this fleet call it among themselves."""
        self._queues = {"runs": task_queue, "files": ingestion_queue(task_queue), "code": code_queue(task_queue)}

    async def check(self) -> None:
        """Raise `TemporalUnreachable`, or `TemporalRefused`, unless the server answers.

        What is asked is in no namespace and counts towards no quota of one, however many processes ask.
        """
        try:
            with temporal_errors(self._client, ""):
                await self._client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=CHECK_PATIENCE)
        except RPCError as error:
            if error.status is RPCStatusCode.RESOURCE_EXHAUSTED:
                return  # it answers, and has much to do; who leaves now only leaves more to the others
            raise TemporalRefused(self._client.service_client.config.target_host, error.message) from error

    async def oldest(self, status: RunStatus) -> datetime | None:
        """Return since when the oldest open run has ``status``; ``None`` where none has it.

        Runs that an earlier release gave their status are not seen.
        """
        now = datetime.now(UTC)
        span = _Span(now)
        bound = now + timedelta(minutes=1)  # whoever started a run may have another clock
        for _ in range(QUERIES):
            page = await self._since(status, bound)
            if page:
                span.latest = min(page) if span.latest is None else min(span.latest, *page)
            if page and len(page) < self._page:
                return span.latest  # no run is older than this page
            if not page:
                span.floor = bound
            if span.latest is None or span.is_narrow:
                return span.latest
            bound = span.next_bound()
        return span.latest

    async def overdue(self) -> int:
        """Return how many open runs have passed their deadline by more than `LATE_SECONDS`."""
        return await self._count(f"{_OPEN_RUN} AND {contract.DEADLINE.name} < {_time(LATE_SECONDS)}")

    async def undelivered_notifications(self) -> int:
        """Return how many notifications have been tried for longer than `LATE_SECONDS`."""
        return await self._count(f"{_NOTIFICATION} AND StartTime < {_time(LATE_SECONDS)}")

    async def queue(self, name: str, kind: QueueKind) -> QueueState:
        """Return who asks one of the `QUEUES` for work, and what waits in it."""
        types = {"workflow": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, "activity": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY}
        asked = DescribeTaskQueueRequest(
            namespace=self._client.namespace,
            task_queue=TaskQueue(name=self._queues[name]),
            task_queue_type=types[kind],
            report_stats=True,
        )
        with temporal_errors(self._client, ""):
            return _state(await self._client.workflow_service.describe_task_queue(asked))

    async def _since(self, status: RunStatus, bound: datetime) -> list[datetime]:
        """Return since when runs have ``status``, of up to a page of those that have had it since before ``bound``."""
        since = contract.STATUS_SINCE
        query = f"{_OPEN_RUN} AND {contract.STATUS.name} = '{status}' AND {since.name} < '{bound.isoformat()}'"
        with temporal_errors(self._client, ""):
            found = self._client.list_workflows(query, limit=self._page, page_size=self._page)
            known = [run.typed_search_attributes.get(since) async for run in found]
        return [when for when in known if when is not None]

    async def _count(self, query: str) -> int:
        with temporal_errors(self._client, ""):
            return (await self._client.count_workflows(query)).count


@dataclass(slots=True)
class _Span:
    """Where the oldest run is: it has its status since ``latest`` or earlier, and not since before ``floor``."""

    now: datetime
    latest: datetime | None = None
    floor: datetime | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether the span tells the age to a hundredth, or to a second."""
        if self.latest is None or self.floor is None:
            return False
        return self.latest - self.floor <= max((self.now - self.latest) / 100, timedelta(seconds=1))

    def next_bound(self) -> datetime:
        """Return where to look next: the middle of the span, or at twice the age where it has no floor yet."""
        assert self.latest is not None  # noqa: S101 - a run was found
        if self.floor is not None:
            return self.floor + (self.latest - self.floor) / 2
        age = max(self.now - self.latest, timedelta(seconds=1))
        return max(self.now - 2 * age, datetime.fromtimestamp(0, UTC))


def _state(described: DescribeTaskQueueResponse) -> QueueState:
    now = datetime.now(UTC)
    asking = [
        poller
        for poller in described.pollers
        if (now - poller.last_access_time.ToDatetime(UTC)).total_seconds() < POLL_SECONDS
    ]
    told = described.HasField("stats")
    return QueueState(
        pollers=len(asking),
        backlog=described.stats.approximate_backlog_count if told else None,
        backlog_age=described.stats.approximate_backlog_age.ToTimedelta() if told else None,
    )


def _time(seconds_ago: float) -> str:
    return f"'{(datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat()}'"
