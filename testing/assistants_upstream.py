"""A scripted Assistants API server on loopback, with faults on demand.

It stands in for OpenAI, Azure or a gateway: the model says what a script says, any answer can be lost, refused or
broken off, and every request is written down::

    async with AssistantsUpstream([{"say": "Hello!"}]) as upstream:
        client = AsyncOpenAI(base_url=upstream.base_url, api_key="anything", max_retries=0)
        upstream.inject(FailRequest(on="create_run", status=429, retry_after=timedelta(seconds=2)))
        ...
        assert upstream.journal.accepted(run.id) == {"call_1": 1}

It may also be entered as ``with``, for code without an event loop: it then runs in a thread of its own, and its
methods may be called from any.

Nothing waits for time to pass and no run expires by itself, so that a test that skips time finds what it left. As
a process of its own: ``python -m lockstitch.testing.assistants_upstream --help``.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from lockstitch.assistants import objects
from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.assistants.model.script import ScriptedModel, ScriptedTurn
from lockstitch.assistants.model.turn import Model
from lockstitch.errors import RunNotFound
from lockstitch.starter.contract import RunStatus
from lockstitch.testing.model_endpoint import serve
from lockstitch.testing.upstream.app import upstream_app
from lockstitch.testing.upstream.connections import Connections
from lockstitch.testing.upstream.control import control_routes
from lockstitch.testing.upstream.faults import (
    BreakConnection,
    DelayAnswer,
    DropStream,
    ExpireRun,
    FailRequest,
    Fault,
    HangInCancelling,
    LoseAnswer,
    LoseRun,
    RepeatEvent,
    StayInProgress,
    StayQueued,
    StreamError,
    WrongThreadLock,
)
from lockstitch.testing.upstream.journal import Journal, ReceivedRequest, Submission
from lockstitch.testing.upstream.lifecycle import Lifecycle
from lockstitch.testing.upstream.operations import Operations
from lockstitch.testing.upstream.reception import Reception
from lockstitch.testing.upstream.state import Row, State

__all__ = [
    "AssistantsUpstream",
    "BreakConnection",
    "DelayAnswer",
    "DropStream",
    "ExpireRun",
    "FailRequest",
    "Fault",
    "HangInCancelling",
    "Journal",
    "LoseAnswer",
    "LoseRun",
    "ReceivedRequest",
    "RepeatEvent",
    "StayInProgress",
    "StayQueued",
    "StreamError",
    "Submission",
    "WrongThreadLock",
]

Result = TypeVar("Result")

Script = Sequence[ScriptedTurn | dict[str, Any]]


class AssistantsUpstream:
    """The server; it listens while it is entered, as ``async with`` or ``with``."""

    def __init__(
        self,
        says: Script | Model | None = None,
        *,
        faults: Sequence[Fault] = (),
        api_key: str | None = None,
        poll_after: timedelta | None = None,
        lifetime: timedelta = timedelta(minutes=10),
        expire_by_clock: bool = False,
        now: Callable[[], float] = time.time,
        state_file: Path | None = None,
        port: int = 0,
    ) -> None:
        """Take what the model says: a script, any `Model`, or nothing for the offline model.

        ``poll_after`` is sent with open runs as ``openai-poll-after-ms``. ``lifetime`` gives runs their
        ``expires_at`` by the clock ``now``, and they expire by it only with ``expire_by_clock``. With a
        ``state_file`` everything that was answered survives the process. With an ``api_key`` others are refused.
        Raises `ModelScriptInvalid` and `StoreUnavailable`.
        """
        self._state = State(state_file)
        is_new = "plan" not in self._state.faults
        self._lifecycle = Lifecycle(self._state, _model(says), lambda: int(now()))
        self._connections = Connections()
        self._reception = Reception(
            self._state, self._lifecycle, self._connections, poll_after=poll_after, expire_by_clock=expire_by_clock
        )
        if is_new:  # else the faults that are left are those of the file
            self._reception.inject(tuple(faults))
        self._operations = Operations(self._state, self._lifecycle, lambda: int(now()), int(lifetime.total_seconds()))
        self._api_key = api_key
        self._port = port
        self._origin: str | None = None
        self._stack = AsyncExitStack()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._left = asyncio.Event()
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        runs, faults = len(self._state.runs), len(self._reception.plan.as_json())
        return f"AssistantsUpstream({self._origin or 'not started'}, runs={runs}, planned_faults={faults})"

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        app = upstream_app(self._reception, self._operations, control_routes(self), self._api_key)
        self._stack.callback(self._state.close)
        self._stack.push_async_callback(self._lifecycle.aclose)
        served = serve(app, port=self._port, protocol=self._connections.protocol())
        self._origin = await self._stack.enter_async_context(served)
        self._lifecycle.take_up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        self._loop = None

    def __enter__(self) -> Self:
        started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)), name="assistants-upstream")
        self._thread.start()
        started.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._do(self._left.set)
            self._thread.join()
            self._thread = None

    async def _run(self, started: Future[None]) -> None:
        try:
            async with self:
                started.set_result(None)
                await self._left.wait()
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)  # whoever enters is told why the server does not listen

    def _do(self, act: Callable[[], Result]) -> Result:
        """Do something where the server runs, whatever thread asks for it."""
        if self._loop is None or self._thread in (None, threading.current_thread()):
            return act()

        async def acted() -> Result:
            return act()

        return asyncio.run_coroutine_threadsafe(acted(), self._loop).result()

    @property
    def origin(self) -> str:
        """Where it listens, ``http://127.0.0.1:<port>``: Azure's endpoint, or the base of ``/control``."""
        if self._origin is None:
            raise RuntimeError("The server is not running; enter it with `async with`.")
        return self._origin

    @property
    def base_url(self) -> str:
        """What ``OPENAI_BASE_URL`` should be."""
        return f"{self.origin}/v1"

    # --- what it does

    def follow_script(self, says: Script | Model) -> None:
        """Let the model say something else from its next turn on; raises `ModelScriptInvalid`."""
        self._lifecycle.model = _model(says)

    def inject(self, *faults: Fault) -> None:
        """Let these happen as well; they count the requests from now on."""
        self._do(lambda: self._reception.inject(faults))

    def clear_faults(self) -> None:
        """Let nothing more happen; runs that are held stay so."""
        self._do(self._reception.clear_faults)

    @property
    def planned_faults(self) -> list[dict[str, Any]]:
        """The faults with how many requests fitted each (``fitted``) and how many it ``happened`` to."""
        return self._do(self._reception.plan.as_json)

    def release_answers(self) -> None:
        """Send the answers that a `DelayAnswer` without a ``delay`` holds."""
        self._do(self._reception.release_answers)

    def set_poll_after(self, poll_after: timedelta | None) -> None:
        """Send another ``openai-poll-after-ms``, or none."""
        self._reception.poll_after = poll_after

    # --- what becomes of a run; each raises `RunNotFound`

    def resume(self, run_id: str) -> None:
        """Let a run go on that is held in ``queued`` or ``in_progress``."""
        self._do(lambda: self._lifecycle.resume(self._row(run_id)))

    def expire(self, run_id: str) -> None:
        """Expire an open run, with its open step and message."""
        self._end(run_id, "expired")

    def cancel_done(self, run_id: str) -> None:
        """Let a run be ``cancelled`` that hangs in ``cancelling``."""
        self._do(lambda: self._lifecycle.cancel_done(self._row(run_id)))

    def complete(self, run_id: str) -> None:
        """Complete an open run, even one that is being cancelled."""
        self._end(run_id, "completed")

    def fail(self, run_id: str, code: str = "server_error", message: str = "Sorry, something went wrong.") -> None:
        """Fail an open run."""
        self._end(run_id, "failed", last_error={"code": code, "message": message})

    def lose(self, run_id: str) -> None:
        """Let a run vanish: it is not found any more."""
        self._do(lambda: self._lifecycle.lose(self._row(run_id)))

    # --- the truth

    @property
    def journal(self) -> Journal:
        """Every request."""
        return self._reception.journal

    def run(self, run_id: str) -> dict[str, Any]:
        """Return a run as the API would, whether or not it was lost; raises `RunNotFound`."""
        return objects.run(self._row(run_id))

    def runs(
        self,
        *,
        status: RunStatus | None = None,
        thread_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the runs, oldest first, with this status, on this thread, and with at least this metadata."""
        return [
            objects.run(run)
            for run in self._do(lambda: list(self._state.runs.values()))
            if status in (None, run["status"])
            and thread_id in (None, run["thread_id"])
            and (metadata or {}).items() <= run["metadata"].items()
        ]

    def steps(self, run_id: str) -> list[dict[str, Any]]:
        """Return a run's steps, oldest first; raises `RunNotFound`."""
        return [objects.run_step(step, step["calls"]) for step in self._state.steps_of(self._row(run_id))]

    def messages(self, thread_id: str) -> list[dict[str, Any]]:
        """Return a thread's messages, oldest first."""
        thread = self._state.threads.get(thread_id)
        return [] if thread is None else [objects.message(row) for row in self._state.messages_of(thread)]

    async def reached(self, run_id: str, *statuses: RunStatus) -> dict[str, Any]:
        """Wait until a run has one of these statuses, and return it; raises `RunNotFound`."""
        row = self._row(run_id)
        await self._lifecycle.changes.until(lambda: row if row["status"] in statuses else None)
        return self.run(run_id)

    def _end(self, run_id: str, status: RunStatus, **values: Any) -> None:
        self._do(lambda: self._lifecycle.end(self._row(run_id), status, **values))

    def _row(self, run_id: str) -> Row:
        if run_id not in self._state.runs:
            raise RunNotFound(run_id)
        return self._state.runs[run_id]


def _model(says: Script | Model | None) -> Model:
    if says is None:
        return OfflineModel()
    return ScriptedModel(says) if isinstance(says, Sequence) else says


if __name__ == "__main__":
    from lockstitch.testing.upstream.process import main

    main()
