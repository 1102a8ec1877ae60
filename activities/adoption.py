"""Find runs that nobody carries, and take them over."""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol, runtime_checkable

from pydantic import BaseModel, Field
from sqlalchemy import Connection
from temporalio import activity

from lockstitch import telemetry
from lockstitch.activities.heartbeats import heartbeats
from lockstitch.assistants.store import commands, runs
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.rows import Row
from lockstitch.errors import LockstitchError
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import RunPolicy

_NO_TIME = timedelta(milliseconds=1)


class Sweep(BaseModel):
    """A sweep for stranded runs."""

    grace: timedelta = timedelta(seconds=30)
    """How old a run must be before it can count as left behind: whoever created it may be about to go on."""


class Swept(BaseModel):
    """What one sweep found: ids of runs, under which they go on."""

    adopted: list[str] = Field(default_factory=list)
    problems: list[str] = Field(default_factory=list)
    """Sentences about what could not be looked at or taken over; the next sweep tries again."""


@runtime_checkable
class StrandedRuns(Protocol):
    """A backend that can tell which runs of a thread wait for somebody who may be gone."""

    async def stranded_runs(self, thread_id: str, grace: timedelta) -> Sequence[str]:
        """Return the ids of the thread's runs that have waited for outputs for longer than ``grace``."""
        ...


class AdoptionActivities:
    """Sweeps for stranded runs: all of our own store, and those on ``threads`` of remote servers.

    A run of ours is stranded where its workflow is gone: it was terminated, or never started by a process that died.
    """

    def __init__(
        self,
        database: Database,
        starter: Starter,
        remote: Sequence[StrandedRuns] = (),
        threads: Sequence[str] = (),
    ) -> None:
        self._database = database
        self._starter = starter
        self._remote = remote
        self._threads = threads

    @activity.defn(name="adopt_stranded_runs")
    async def adopt_stranded_runs(self, sweep: Sweep) -> Swept:
        """Take over every run that nobody carries."""
        found = Swept(adopted=[], problems=[])  # set, for what was left alone does not travel
        with heartbeats():
            for row in await self._stranded_rows(sweep.grace):
                await self._adopt_own(row, found)
            for backend in self._remote:
                for thread_id in self._threads:
                    await self._adopt_on(backend, thread_id, found, sweep.grace)
        if found.adopted or found.problems:
            telemetry.log.warning("runs_adopted", run_ids=found.adopted, problems=found.problems)
        return found

    async def _stranded_rows(self, grace: timedelta) -> Sequence[Row]:
        before = int(time.time() - grace.total_seconds())
        rows = await self._database.read(lambda connection: _open_and_delivered(connection, before))
        if not rows:
            return []
        carried = await self._starter.carried_run_ids()
        # The server's search lags behind, so it is asked again about each that it did not name.
        return [row for row in rows if row["id"] not in carried and not await self._starter.is_carried(row["id"])]

    async def _adopt_own(self, row: Row, found: Swept) -> None:
        left = timedelta(seconds=row["expires_at"] - time.time()) if row["expires_at"] else RunPolicy().deadline
        # Whoever started it may still be its client, so its calls wait for outputs; its deadline stays what it was.
        policy = RunPolicy(on_missing_handler="wait", deadline=max(left, _NO_TIME))
        adopted = self._starter.adopt(
            row["thread_id"], row["id"], backend="local", assistant_id=row["assistant_id"], policy=policy
        )
        try:
            found.adopted.append(await adopted)
        except LockstitchError as error:
            found.problems.append(f"{row['id']}: {error}")

    async def _adopt_on(self, remote: StrandedRuns, thread_id: str, found: Swept, grace: timedelta) -> None:
        try:
            for run_id in await remote.stranded_runs(thread_id, grace):
                found.adopted.append(await self._starter.adopt(thread_id, run_id))
        except LockstitchError as error:
            found.problems.append(f"{thread_id}: {error}")


def _open_and_delivered(connection: Connection, before: int) -> list[Row]:
    """Return the open runs of the store that the Temporal server must know, created before a time."""
    return [row for row in runs.open_runs(connection, before) if not commands.start_waits(connection, row["id"])]
