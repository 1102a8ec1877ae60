"""Carries out one schedule on a real Temporal server, and writes down everything that happened."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Literal

import httpx2
from sqlalchemy import Connection
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from lockstitch.activities.backends.assistants.api import AssistantsApi
from lockstitch.activities.backends.assistants.backend import AssistantsBackend
from lockstitch.activities.backends.local import LocalBackend
from lockstitch.activities.escalations import NotificationActivities
from lockstitch.activities.runs import RunActivities
from lockstitch.activities.tool_calls import ToolActivities
from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.assistants.store import assistants, event_log, rows, runs
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import LoggedEvent
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.schema import tool_calls, upstream_runs
from lockstitch.dev import SERVER_SETTINGS, temporal_binary
from lockstitch.errors import AnswerRefused, DecisionRefused, NoWorker, RunFinished
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import (
    SEARCH_ATTRIBUTES,
    NewMessage,
    RunPolicy,
    RunSnapshot,
    ThreadRunRequest,
    ThreadRunResult,
    ToolOutput,
)
from lockstitch.starter.escalations import Decision, Escalation
from lockstitch.starter.payloads import data_converter
from lockstitch.testing.assistants_upstream import AssistantsUpstream
from lockstitch.tests.chaos.mortal_worker import Died, MortalDatabase, Mortality
from lockstitch.tests.chaos.schedule import Behaviour, Happening, Schedule, ToolPlan, Work
from lockstitch.tools import NOT_DONE, Tool, ToolContext, ToolRegistry
from lockstitch.workflows.notification import DeliverNotification
from lockstitch.workflows.thread_run import ThreadRun

HANDLER_SECONDS = 0.2
"""The timeout of handlers; one that hangs costs so much."""

HEARTBEAT = timedelta(seconds=2)
STUCK_SECONDS = 100
"""No schedule takes so long, on a slow machine either: deadlines are a few seconds."""

_QUEUES = count(1)


LEFT_BEHIND_AFTER = 10.0
"""Seconds after which nobody waits any longer for a worker to stop."""


class Stuck(AssertionError):
    """A run that neither ended nor waits for anything that will end."""


@dataclass
class Execution:
    """One time that a handler was called."""

    number: int
    call_id: str
    key: str
    attempt: int
    recorded_before: bool
    """Whether its result had been recorded: then it must not have been called."""
    ended: Literal["returned", "raised", "unknown"] = "unknown"


@dataclass
class Outcome:
    """What became of a run, and every trace that it left."""

    schedule: Schedule
    run_id: str = ""
    result: ThreadRunResult | None = None
    snapshot: RunSnapshot | None = None
    seen: list[RunSnapshot] = field(default_factory=list)
    """While it was open."""
    events: Sequence[LoggedEvent] = ()
    store_run: Row | None = None
    calls: Sequence[Row] = ()
    carriers: Sequence[Row] = ()
    executions: list[Execution] = field(default_factory=list)
    effects: list[int] = field(default_factory=list)
    reconciled: list[tuple[int, bool]] = field(default_factory=list)
    """What reconcile told: of which work, and whether it was done."""
    time_without_worker: timedelta = timedelta(0)
    deaths: int = 0
    restarts: int = 0
    left_behind: int = 0
    """Workers that did not stop in time."""
    upstream: AssistantsUpstream | None = None

    def work(self, number: int) -> Work:
        """Return a piece of the schedule's work."""
        return next(work for calls in self.schedule.rounds for work in calls if work.number == number)

    def plan(self, number: int) -> ToolPlan:
        """Return the policy of the tool that does it."""
        return self.schedule.tools[self.work(number).tool or 0]


class Handlers:
    """The tools of a schedule; they do what it says."""

    def __init__(self, outcome: Outcome, database: Database) -> None:
        self._outcome = outcome
        self._database = database
        self._attempts = {work.number: iter(work.behaves) for calls in outcome.schedule.rounds for work in calls}
        self._answers = {work.number: iter(work.reconciles) for calls in outcome.schedule.rounds for work in calls}
        self.wants_restart = asyncio.Event()

    def registry(self) -> ToolRegistry:
        """Return the tools."""
        return ToolRegistry([self._tool(place, plan) for place, plan in enumerate(self._outcome.schedule.tools)])

    def _tool(self, place: int, plan: ToolPlan) -> Tool:
        async def handler(number: int, context: ToolContext) -> str:
            """Do a piece of work."""
            return await self._execute(number, context)

        async def reconcile(number: int, context: ToolContext) -> Any:
            return self._reconcile(number)

        return Tool.from_function(
            handler,
            name=f"tool_{place}",
            timeout=timedelta(seconds=HANDLER_SECONDS),
            retry_safe=plan.retry_safe,
            reconcile=reconcile if plan.reconcile else None,
            approval=plan.approval,
            on_failure=plan.on_failure,
            max_attempts=plan.max_attempts,
            initial_interval=timedelta(milliseconds=50),
            non_retryable=(PermissionError,),
        )

    async def _execute(self, number: int, context: ToolContext) -> str:
        recorded = await self._database.read(lambda connection: _has_result(connection, context, number))
        execution = Execution(number, context.call_id, context.idempotency_key, context.attempt, recorded)
        self._outcome.executions.append(execution)
        behaviour: Behaviour = next(self._attempts[number], "return")
        match behaviour:
            case "raise" | "raise_for_good":
                execution.ended = "raised"
                raise ConnectionError("no answer") if behaviour == "raise" else PermissionError("never")
            case "slow":
                await asyncio.sleep(HANDLER_SECONDS / 10)
        if behaviour in ("return", "slow") or behaviour.endswith("after_effect"):
            self._outcome.effects.append(number)
        if behaviour.startswith("die"):
            raise Died
        if behaviour.startswith("restart"):
            self.wants_restart.set()
        if behaviour.startswith(("restart", "hang")):
            await asyncio.Event().wait()
        execution.ended = "returned"
        return _result_of(number)

    def _reconcile(self, number: int) -> Any:
        if next(self._answers[number], "tell") == "fail":
            raise ConnectionError("nobody knows")
        done = number in self._outcome.effects
        self._outcome.reconciled.append((number, done))
        return _result_of(number) if done else NOT_DONE


def _result_of(number: int) -> str:
    return f"work {number} is done"


def _has_result(connection: Connection, context: ToolContext, number: int) -> bool:
    calls = rows.find(connection, tool_calls, "position", run_id=context.run_id)
    same = [call for call in calls if call["name"] == context.tool and f'"number": {number}}}' in call["arguments"]]
    return any(call["outcome"] in ("succeeded", "answered", "reused") for call in same)


class FastTime:
    """The time of the backend's patience, twenty times as fast as it is: a run that hangs does so for a moment."""

    FASTER = 20

    def clock(self) -> float:
        """Return seconds that only grow."""
        return time.monotonic() * self.FASTER

    async def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        await asyncio.sleep(seconds / self.FASTER)


@dataclass
class Universe:
    """What schedules share: a Temporal server and a database."""

    client: Client
    database: Database

    async def carry_out(self, schedule: Schedule) -> Outcome:
        """Let everything happen that the schedule says, and return what became of the run."""
        async with AsyncExitStack() as stack:
            course = await _Course.begin(self, schedule, stack)
            try:
                async with asyncio.timeout(STUCK_SECONDS):
                    await course.run()
            except TimeoutError as error:
                raise Stuck(await course.describe()) from error
            return course.outcome


@asynccontextmanager
async def universe(folder: Path) -> AsyncIterator[Universe]:
    """Start what schedules share."""
    dynamic = [word for setting in SERVER_SETTINGS for word in ("--dynamic-config-value", setting)]
    environment = await WorkflowEnvironment.start_local(
        data_converter=data_converter,
        dev_server_existing_path=temporal_binary(),
        dev_server_extra_args=[*dynamic, "--log-level", "never"],
        search_attributes=SEARCH_ATTRIBUTES,
    )
    async with environment, Database(f"sqlite:///{folder / 'chaos.db'}") as database:
        yield Universe(environment.client, database)


class _Course:
    """One schedule as it takes its course."""

    def __init__(self, shared: Universe, schedule: Schedule) -> None:
        self._shared = shared
        self._schedule = schedule
        self.outcome = Outcome(schedule)
        self._queue = f"chaos-{next(_QUEUES)}"
        self._mortality = Mortality(schedule.crashes)
        self._database = MortalDatabase(shared.database)
        self._handlers = Handlers(self.outcome, shared.database)
        self._tools = self._handlers.registry()
        self._running: asyncio.Task[None] | None = None
        self._changing_worker = asyncio.Lock()
        self._down_since: float | None = None
        self._backend: Any = None
        self._starter = Starter(shared.client, task_queue=self._queue)

    @classmethod
    async def begin(cls, shared: Universe, schedule: Schedule, stack: AsyncExitStack) -> "_Course":
        """Start what this schedule has for itself."""
        course = cls(shared, schedule)
        stack.push_async_callback(course._starter.aclose)
        model = ScriptedModel(_script(schedule))
        if schedule.backend == "assistants":
            course.outcome.upstream = await stack.enter_async_context(
                AssistantsUpstream(model, faults=schedule.faults, poll_after=timedelta(seconds=1))
            )
            api = AssistantsApi(base_url=course.outcome.upstream.base_url, api_key="any")
            fast = FastTime()
            course._backend = AssistantsBackend(
                course._database, api, course._tools, clock=fast.clock, sleep=fast.sleep
            )
            stack.push_async_callback(course._backend.aclose)
        else:
            course._backend = LocalBackend(course._database, model, course._tools)
        stack.push_async_callback(course._stop_worker)
        return course

    async def run(self) -> None:
        """Start the run, let happen what happens to it, wait until it has ended, and gather its traces."""
        await self._start_worker()
        restarting = asyncio.create_task(self._restart_when_asked())
        try:
            self.outcome.run_id = await self._starter.start(await self._request())
            for happening in self._schedule.happenings:
                await asyncio.sleep(happening.pause)
                if not await self._look():
                    break
                await self._let_happen(happening)
            await self._start_worker()
            self.outcome.result = await self._starter.result(self.outcome.run_id)
        finally:
            restarting.cancel()
            await asyncio.gather(restarting, return_exceptions=True)
        await self._gather()

    async def describe(self) -> str:
        """Say where a run stands that is stuck."""
        description, now = await self._description(), datetime.now(UTC)
        history = await self._shared.client.get_workflow_handle(self.outcome.run_id).fetch_history()
        newest = [
            f"{(now - event.event_time.ToDatetime(UTC)).total_seconds():6.1f} s ago: {EventType.Name(event.event_type)}"
            for event in history.events[-15:]
        ]
        facts = {
            "status": description.typed_search_attributes.get(SEARCH_ATTRIBUTES[0]),
            "worker": "none" if self._running is None else self._running,
            "pending activities": description.raw_description.pending_activities,
            "pending workflow task": description.raw_description.pending_workflow_task,
            "seen": self.outcome.seen[-1:],
            "history": "\n".join(["", *newest]),
        }
        return f"{self.outcome.run_id} is stuck.\n" + "\n".join(f"{name}: {fact}" for name, fact in facts.items())

    # --- the run

    async def _request(self) -> ThreadRunRequest:
        plan = dict(self._schedule.policy)
        times = {
            name: timedelta(seconds=value) for name, value in plan.items() if name.endswith(("deadline", "timeout"))
        }
        policy = RunPolicy(**{**plan, **times}, heartbeat_timeout=HEARTBEAT)
        nobody = Tool.from_function(_nobody, name="nobody")
        offered = [*self._tools.definitions(), nobody.definition()]
        return ThreadRunRequest(
            assistant_id=await self._assistant(offered),
            messages=[NewMessage(role="user", content="Work.")],
            backend=self._schedule.backend,
            tools=offered,
            policy=policy,
        )

    async def _assistant(self, offered: list[Any]) -> str:
        columns = {"model": "test", "tools": offered, "tool_resources": {}, "metadata": {}}
        if self.outcome.upstream is None:
            row = await self._shared.database.write(lambda connection: assistants.create(connection, columns, 0))
            return str(row["id"])
        async with httpx2.AsyncClient(trust_env=False, timeout=60, headers={"OpenAI-Beta": "assistants=v2"}) as client:
            made = await client.post(f"{self.outcome.upstream.base_url}/assistants", json={"model": "test"})
        return str(made.json()["id"])

    async def _look(self) -> bool:
        """Write down how the run looks from outside, and tell whether it is open."""
        snapshot = await self._starter.snapshot(self.outcome.run_id)
        if snapshot.ended_at is None:
            self.outcome.seen.append(snapshot)
        return snapshot.ended_at is None

    async def _gather(self) -> None:
        run_id, database = self.outcome.run_id, self._shared.database
        self.outcome.snapshot = await self._starter.snapshot(run_id)
        self.outcome.deaths = self._mortality.deaths.total()

        def read(connection: Connection) -> None:
            self.outcome.events = event_log.after(connection, run_id, 0, limit=10_000)
            self.outcome.calls = rows.find(connection, tool_calls, "position", run_id=run_id)
            self.outcome.carriers = rows.find(connection, upstream_runs, "number", run_id=run_id)
            self.outcome.store_run = runs.find(connection, run_id)

        await database.read(read)

    async def _description(self) -> WorkflowExecutionDescription:
        return await self._shared.client.get_workflow_handle(self.outcome.run_id).describe()

    # --- what happens from outside

    async def _let_happen(self, happening: Happening) -> None:
        does = {
            "decide": lambda: self._decide(happening),
            "answer": lambda: self._answer(happening.which),
            "cancel": lambda: self._starter.cancel(self.outcome.run_id),
            "restart_worker": self._restart,
            "stop_worker": self._stop_worker,
            "start_worker": self._start_worker,
        }
        for _ in range(happening.times):
            # It may come too late, make no sense, or meet a worker that stops.
            with suppress(RunFinished, DecisionRefused, AnswerRefused, NoWorker):
                await does[happening.what]()

    async def _decide(self, happening: Happening) -> None:
        asked = await self._asked(patiently=happening.makes_sense)
        if not asked or self._running is None:  # without a worker, nobody would take it
            return
        wanted = [it for it in asked if it.is_open] or asked if happening.makes_sense else asked
        one = wanted[-1 - happening.which % len(wanted)]
        action = one.actions[happening.which % len(one.actions)] if happening.makes_sense else happening.action
        output = _result_of(0) if action == "answer" else None
        decision = Decision(escalation_id=one.id, action=action, by="ada", output=output)
        await self._starter.decide(self.outcome.run_id, decision)

    async def _asked(self, *, patiently: bool) -> Sequence[Escalation]:
        """Return the run's escalations; whoever is patient waits a while for one that is open."""
        for _ in range(20 if patiently else 1):
            snapshot = await self._starter.snapshot(self.outcome.run_id)
            if snapshot.ended_at is not None or any(it.is_open for it in snapshot.escalations):
                break
            await asyncio.sleep(0.05)
        return snapshot.escalations

    async def _answer(self, which: int) -> None:
        waiting = (await self._starter.snapshot(self.outcome.run_id)).pending_calls
        if not waiting:
            return
        call = waiting[which % len(waiting)]
        await self._starter.answer(self.outcome.run_id, [ToolOutput(tool_call_id=call.call_id, output="outside")])

    # --- the worker

    async def _start_worker(self) -> None:
        async with self._changing_worker:
            await self._start()

    async def _stop_worker(self) -> None:
        async with self._changing_worker:
            await self._stop()

    async def _restart(self) -> None:
        async with self._changing_worker:
            self.outcome.restarts += 1
            await self._stop()
            await self._start()

    async def _start(self) -> None:
        if self._running is not None:
            return
        database = self._database
        activities = [
            *RunActivities(database, {self._schedule.backend: self._backend}, self._tools).activities(),
            *ToolActivities(database, self._tools).activities(),
            NotificationActivities(database, None, None).deliver_notification,
        ]
        worker = Worker(
            self._shared.client,
            task_queue=self._queue,
            workflows=[ThreadRun, DeliverNotification],
            activities=activities,
            workflow_runner=UnsandboxedWorkflowRunner(),
            interceptors=[self._mortality],
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
            build_id="chaos",
        )
        self._running = asyncio.create_task(worker.run())
        while not worker.is_running:  # one that is cancelled before it runs is never unregistered
            await asyncio.sleep(0)
        if self._down_since is not None:
            self.outcome.time_without_worker += timedelta(seconds=time.monotonic() - self._down_since)
            self._down_since = None

    async def _stop(self) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        self._down_since = time.monotonic()
        running.cancel()  # with no grace: what its activities are doing ends here
        _, pending = await asyncio.wait([running], timeout=LEFT_BEHIND_AFTER)
        # Now and then the SDK's core does not come back from its last step, with nothing of ours under way. A process
        # would be killed then; here, the worker is left behind: it takes nothing more.
        self.outcome.left_behind += len(pending)

    async def _restart_when_asked(self) -> None:
        while True:
            await self._handlers.wants_restart.wait()
            self._handlers.wants_restart.clear()
            await self._restart()


async def _nobody(number: int) -> str:
    """Do a piece of work that no worker can."""
    raise AssertionError(f"work {number} has no handler, and yet it was called")


def _script(schedule: Schedule) -> list[dict[str, Any]]:
    """Return what the model says: its rounds of calls, then a message; and how it fails before."""
    known = {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    entries: list[dict[str, Any]] = []
    for number, works in enumerate(schedule.rounds):
        calls = [
            {"name": "nobody" if work.tool is None else f"tool_{work.tool}", "arguments": {"number": work.number}}
            for work in works
        ]
        entries.append({"round": number, "say": "Let me see." if number == 0 else "", "call": calls, **known})
    entries.append({"round": len(schedule.rounds), "say": "All that could be done is done.", **known})
    for failure in schedule.turn_failures:
        entry = next((entry for entry in entries if entry["round"] == failure.round), None)
        if entry is not None:
            failing = {"status": failure.status, "times": failure.times, "after_deltas": failure.after_deltas}
            entry["fail"] = {name: value for name, value in failing.items() if value is not None}
    return entries
