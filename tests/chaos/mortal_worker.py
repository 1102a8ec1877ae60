"""A worker that dies in the middle of activities: between any two writes to the store, or in a handler."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Connection
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from lockstitch.assistants.store.database import Database
from lockstitch.tests.chaos.schedule import Crash


class Died(BaseException):
    """The worker was killed here; no exception, so nothing that catches those may go on."""

    def __init__(self, *, silent: bool = False) -> None:
        super().__init__()
        self.silent = silent


class _Doom:
    """The crashes that are meant for one execution of an activity."""

    def __init__(self, crashes: Sequence[Crash]) -> None:
        self._crashes = crashes
        self._writes = 0
        self._dead: Died | None = None

    def meet(self, *, after: bool) -> None:
        if self._dead is not None:  # what a dead worker had begun in another task ends too
            raise self._dead
        self._writes += not after
        for crash in self._crashes:
            if (crash.write, crash.after) == (self._writes, after):
                self._dead = Died(silent=crash.silent)
                raise self._dead


_doom: ContextVar[_Doom | None] = ContextVar("doom", default=None)


class MortalDatabase(Database):
    """Writes to a database until the activity that writes is doomed."""

    def __init__(self, database: Database) -> None:  # it is open already
        self._lasting = database
        self.url = database.url

    async def write(self, unit: Callable[[Connection], Any], *, long: bool = False) -> Any:
        """Write, and die before or after it where that is planned."""
        doom = _doom.get()
        if doom is not None:
            doom.meet(after=False)
        written = await self._lasting.write(unit, long=long)
        if doom is not None:
            doom.meet(after=True)
        return written

    async def read(self, unit: Callable[[Connection], Any]) -> Any:
        """Read."""
        return await self._lasting.read(unit)


class Mortality(Interceptor):
    """Lets activities die as a schedule says; ``deaths`` counts them by activity."""

    def __init__(self, crashes: Sequence[Crash]) -> None:
        self._crashes = crashes
        self._executions: Counter[str] = Counter()
        self.deaths: Counter[str] = Counter()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - theirs
        """Wrap every activity."""
        return _MortalActivity(next, self)

    def doom(self, name: str) -> _Doom:
        """Return what happens to the next execution of an activity."""
        self._executions[name] += 1
        nth = self._executions[name]
        return _Doom([crash for crash in self._crashes if (crash.activity, crash.nth) == (name, nth)])


class _MortalActivity(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, mortality: Mortality) -> None:
        super().__init__(inner)
        self._mortality = mortality

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - theirs
        name = activity.info().activity_type.partition(".")[0]
        _doom.set(self._mortality.doom(name))
        try:
            return await super().execute_activity(input)
        except Died as death:
            self._mortality.deaths[name] += 1
            if death.silent and not _is_cancelled():
                await asyncio.Event().wait()  # a dead worker says nothing, ever
            raise ApplicationError("The worker was killed.", type="killed") from death


def _is_cancelled() -> bool:
    """Tell whether the activity was cancelled before it died: that comes once, and would be waited for in vain."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
