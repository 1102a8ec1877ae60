"""Sessions to attack: one sandbox of each kind that works here, and sessions in it that several tests share."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from lockstitch.errors import SandboxUnavailable, SessionLost
from lockstitch.sandbox.port import Displayed, Limits, Printed, Raised, RunEvent, Stopped, Value
from lockstitch.sandbox.process_tree import descendants_of, uses_of
from lockstitch.sandbox.sandboxes import KernelSandbox, sandbox_of
from lockstitch.sandbox.session import KernelSession

LIMITS = Limits(
    memory=384 * 1024 * 1024,
    processes=12,
    wall=timedelta(seconds=20),
    disk=24 * 1024 * 1024,
    output=64 * 1024,
    files=5,
    pictures=3,
)


@dataclass
class Outcome:
    """What came of running code."""

    events: list[RunEvent] = field(default_factory=list)
    lost: str | None = None
    """Why the session was lost, if it was."""

    def only(self, kind: type) -> Any:
        """Return the one event of this kind."""
        found = [event for event in self.events if isinstance(event, kind)]
        assert len(found) == 1, self
        return found[0]

    @property
    def value(self) -> str:
        """Return what the last expression came to."""
        return str(self.only(Value).text)

    @property
    def raised(self) -> Raised | None:
        """Return the error, if there was one."""
        return next((event for event in self.events if isinstance(event, Raised)), None)

    @property
    def stopped(self) -> str | None:
        """Return the limit that was reached, if one was."""
        return next((event.limit for event in self.events if isinstance(event, Stopped)), None)

    @property
    def pictures(self) -> list[bytes]:
        """Return what was shown."""
        return [event.png for event in self.events if isinstance(event, Displayed)]

    def printed(self, stream: str = "stdout") -> str:
        """Return what was printed on a stream."""
        return "".join(event.text for event in self.events if isinstance(event, Printed) and event.stream == stream)


async def outcome_of(session: KernelSession, code: str) -> Outcome:
    """Run code to its end, whatever that is."""
    outcome = Outcome()
    try:
        async for event in session.run(code):
            outcome.events.append(event)
    except SessionLost as error:
        outcome.lost = error.reason
    return outcome


Process = tuple[int, int]
"""A pid, and when it started: numbers are given again, soon where many processes are made."""


def processes_from(pid: int) -> set[Process]:
    """Return a process and all below it."""
    return {(use.pid, use.started) for use in uses_of([pid, *descendants_of(pid)])}


def still_there(processes: Collection[Process]) -> set[Process]:
    """Return those that have not ended."""
    uses = uses_of([pid for pid, _started in processes])
    return {(use.pid, use.started) for use in uses if not use.zombie} & set(processes)


Run = Callable[[str], Awaitable[Outcome]]
OpenSession = Callable[..., AbstractAsyncContextManager[KernelSession]]


@pytest.fixture(scope="session", params=["sandlock", "bwrap"])
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[KernelSandbox]:
    """A sandbox that works here. Sandlock has to; where bubblewrap does not, the tests are skipped and say why."""
    made = sandbox_of(request.param, limits=LIMITS)
    assert isinstance(made, KernelSandbox)
    try:
        await made.probe()
    except SandboxUnavailable as error:
        if request.param == "sandlock":
            raise
        pytest.skip(str(error))
    yield made
    await made.aclose()


@pytest.fixture
async def open_session(sandbox: KernelSandbox) -> OpenSession:
    """Open a session with other limits, and check that nothing of it is left afterwards."""

    @asynccontextmanager
    async def opened(**limits: Any) -> AsyncIterator[KernelSession]:
        session = await sandbox.open(replace(LIMITS, **limits))
        processes = processes_from(session.warden)
        try:
            yield session
        finally:
            processes |= processes_from(session.warden)
            await session.aclose()
        assert not session.folder.exists()
        assert not still_there(processes)

    return opened


@pytest.fixture(scope="module")
async def shared(sandbox: KernelSandbox) -> AsyncIterator[KernelSession]:
    """A session for tests that leave it as it was."""
    session = await sandbox.open(LIMITS)
    yield session
    assert not session.is_lost
    await session.aclose()


@pytest.fixture
def run(shared: KernelSession) -> Run:
    """Run code in the shared session."""
    return lambda code: outcome_of(shared, code)
