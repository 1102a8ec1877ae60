"""Reads what concerns the whole fleet from where it is known: the Temporal server and the store.

One process at a time reads, for what the Temporal server answers to a namespace has a quota. It may be a server as well
as a worker, so that a fleet that is down still shows; where it dies, another takes its place. Each reading is bounded:
it counts, or reads a few pages. One that fails takes its gauges away, for an old value is worse than none.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self, get_args

from lockstitch import telemetry
from lockstitch.assistants.lease import Lease
from lockstitch.assistants.store import commands, vector_store_files
from lockstitch.assistants.store.database import Database
from lockstitch.errors import LockstitchError
from lockstitch.metrics import fleet_gauges
from lockstitch.metrics.vanishing_gauges import GaugeName
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import OPEN_STATUSES
from lockstitch.starter.escalations import Escalation, Reason
from lockstitch.starter.fleet import QUEUES, QueueState

COUNT_SECONDS = 5.0
"""How often open runs are counted."""

READ_SECONDS = 15.0
"""How often everything else is read."""

LOOK_SECONDS = 3.0
"""How often a process looks whether it is the one that reads."""

PATIENCE_SECONDS = 10.0
"""How long one reading may take."""

MOST_ESCALATIONS = 4000
"""Escalations that are in the gauges at most; of more, those that were asked first."""

DUE_SOON = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Reading:
    """One question and the gauges that show its answer."""

    name: str
    gauges: tuple[GaugeName, ...]
    read: Callable[[], Awaitable[None]]
    every: float = READ_SECONDS


class FleetReader:
    """Keeps the gauges of the fleet up to date for as long as the ``async with`` lasts.

    Of all readers that share a database and a task queue one has the lease and reads; the others show nothing.
    ``looks_every`` so many seconds each looks whether it is the one.
    """

    def __init__(self, starter: Starter, database: Database, *, looks_every: float = LOOK_SECONDS) -> None:
        self._looks_every = looks_every
        self._starter = starter
        self._database = database
        self._failing: set[str] = set()
        self._lease = Lease(database, starter.fleet.name)
        self._look = Reading("lease", (), self._look_at_the_lease)
        self._task: asyncio.Task[None] | None = None
        self.readings: dict[str, Reading] = {reading.name: reading for reading in self._readings()}

    def __repr__(self) -> str:
        return f"FleetReader(failing={sorted(self._failing)})"

    @property
    def reads(self) -> bool:
        """Whether this is the process that reads."""
        return self._lease.is_held

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._look_on(), name="fleet-reader")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._task is not None:
            await _cancelled(self._task)
        with suppress(LockstitchError):  # it lapses by itself
            await self._lease.give_up()

    async def read(self, *names: str) -> None:
        """Take these readings now, or all; none raises."""
        for name in names or self.readings:
            await self._take(self.readings[name])

    async def _look_on(self) -> None:
        """Read for as long as the lease is here."""
        reading: asyncio.Task[None] | None = None
        try:
            while True:
                await self._take(self._look)
                if self._lease.is_held and reading is None:
                    reading = asyncio.create_task(self._read_on(), name="fleet-readings")
                elif not self._lease.is_held and reading is not None:
                    await _cancelled(reading)
                    reading = None
                await asyncio.sleep(self._looks_every)
        finally:
            if reading is not None:
                await _cancelled(reading)

    async def _look_at_the_lease(self) -> None:
        # Perhaps another process reaches the Temporal server. Until it reads, this one does what it can.
        await self._lease.look(renews="open_runs" not in self._failing)

    async def _read_on(self) -> None:
        """Take each reading when it is due; the gauges go with the task, for another process shows them next."""
        try:
            await self._read_when_due()
        finally:
            telemetry.FLEET.hide(*fleet_gauges.ALL)

    async def _read_when_due(self) -> None:
        due = dict.fromkeys(self.readings, 0.0)
        while True:
            now = time.monotonic()
            for name in [name for name, when in due.items() if when <= now]:
                due[name] = now + self.readings[name].every
                await self._take(self.readings[name])
            await asyncio.sleep(max(min(due.values()) - time.monotonic(), 0.1))

    async def _take(self, reading: Reading) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await reading.read()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other readings go on, and the metric tells
            telemetry.FLEET.hide(*reading.gauges)
            telemetry.FLEET_READINGS.labels(reading.name, "failed").inc()
            if reading.name not in self._failing:
                self._failing.add(reading.name)
                telemetry.log.warning(
                    "fleet_reading_failed", reading=reading.name, error=str(error) or type(error).__name__
                )
            return
        telemetry.FLEET_READINGS.labels(reading.name, "done").inc()
        if reading.name in self._failing:
            self._failing.discard(reading.name)
            telemetry.log.info("fleet_reading_resumed", reading=reading.name)

    def _readings(self) -> Iterable[Reading]:
        g = fleet_gauges
        return (
            Reading("open_runs", (g.OPEN_RUNS,), self._open_runs, COUNT_SECONDS),
            Reading("run_ages", (g.OLDEST_RUN_AGE,), self._run_ages),
            Reading("overdue_runs", (g.OVERDUE_RUNS,), self._overdue_runs),
            Reading(
                "escalations",
                (g.OPEN_ESCALATIONS, g.OLDEST_ESCALATION_AGE, g.ESCALATIONS_DUE_SOON),
                self._escalations,
            ),
            Reading("commands", (g.WAITING_COMMANDS, g.OLDEST_COMMAND_AGE), self._commands),
            Reading("notifications", (g.UNDELIVERED_NOTIFICATIONS,), self._notifications),
            Reading("task_queues", (g.QUEUE_POLLERS, g.QUEUE_BACKLOG, g.QUEUE_BACKLOG_AGE), self._task_queues),
            Reading("vector_store_files", (g.VECTOR_STORE_FILES,), self._vector_store_files),
        )

    async def _open_runs(self) -> None:
        counted = {status: await self._starter.count(status) for status in sorted(OPEN_STATUSES)}
        telemetry.FLEET.show(fleet_gauges.OPEN_RUNS, {(status,): count for status, count in counted.items()})

    async def _run_ages(self) -> None:
        fleet = self._starter.fleet
        ages = {status: _age(await fleet.oldest(status)) for status in sorted(OPEN_STATUSES)}
        telemetry.FLEET.show(fleet_gauges.OLDEST_RUN_AGE, {(status,): age for status, age in ages.items()})

    async def _overdue_runs(self) -> None:
        telemetry.FLEET.show(fleet_gauges.OVERDUE_RUNS, await self._starter.fleet.overdue())

    async def _escalations(self) -> None:
        asked = await self._starter.escalations(limit=MOST_ESCALATIONS)
        telemetry.FLEET.show(fleet_gauges.OPEN_ESCALATIONS, _by_reason(asked))
        oldest = min((escalation.opened_at for escalation in asked), default=None)
        telemetry.FLEET.show(fleet_gauges.OLDEST_ESCALATION_AGE, _age(oldest))
        soon = datetime.now(UTC) + DUE_SOON
        telemetry.FLEET.show(fleet_gauges.ESCALATIONS_DUE_SOON, sum(it.deadline <= soon for it in asked))

    async def _commands(self) -> None:
        waiting, oldest = await self._database.read(commands.waiting, one_query=True)
        telemetry.FLEET.show(fleet_gauges.WAITING_COMMANDS, waiting)
        age = 0.0 if oldest is None else max(time.time() - oldest, 0.0)
        telemetry.FLEET.show(fleet_gauges.OLDEST_COMMAND_AGE, age)

    async def _notifications(self) -> None:
        undelivered = await self._starter.fleet.undelivered_notifications()
        telemetry.FLEET.show(fleet_gauges.UNDELIVERED_NOTIFICATIONS, undelivered)

    async def _task_queues(self) -> None:
        states: dict[tuple[str, ...], QueueState] = {
            (name, kind): await self._starter.fleet.queue(name, kind) for name, kind in QUEUES
        }
        pollers = {queue: state.pollers for queue, state in states.items()}
        backlogs = {queue: state.backlog for queue, state in states.items() if state.backlog is not None}
        ages = {
            queue: state.backlog_age.total_seconds() for queue, state in states.items() if state.backlog_age is not None
        }
        telemetry.FLEET.show(fleet_gauges.QUEUE_POLLERS, pollers)
        telemetry.FLEET.show(fleet_gauges.QUEUE_BACKLOG, backlogs)
        telemetry.FLEET.show(fleet_gauges.QUEUE_BACKLOG_AGE, ages)

    async def _vector_store_files(self) -> None:
        waiting = await self._database.read(vector_store_files.count_in_progress, one_query=True)
        telemetry.FLEET.show(fleet_gauges.VECTOR_STORE_FILES, {("in_progress",): waiting})


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _by_reason(asked: Iterable[Escalation]) -> dict[tuple[str, ...], float]:
    counted = Counter(escalation.reason for escalation in asked)
    return {(reason,): counted[reason] for reason in get_args(Reason)}


def _age(since: datetime | None) -> float:
    return 0.0 if since is None else max((datetime.now(UTC) - since).total_seconds(), 0.0)
