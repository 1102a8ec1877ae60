"""Workers with versions: a run ends on the version on which it began, and new ones go to the current one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import VersioningBehavior

from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.assistants.store.database import Database
from lockstitch.config import Config
from lockstitch.deployments import UNVERSIONED, Deployment, Version
from lockstitch.errors import DeploymentNotFound, RunFinished, RunNotFound, VersionRefused
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, RunPolicy, ThreadRunRequest, ToolOutput
from lockstitch.starter.ingestion import Ingestion
from lockstitch.tests.conftest import Engine
from lockstitch.tools import ToolRegistry
from lockstitch.worker import build_worker, build_workers
from lockstitch.worker_group import becoming_first_version, running
from lockstitch.workflows.registered import VERSIONED_WORKFLOWS, WORKFLOWS

WAITS = RunPolicy(on_missing_handler="wait")
ASKS = {"type": "function", "function": {"name": "approve_refund", "parameters": {"type": "object"}}}


@dataclass
class Fleet:
    """Workers of several versions on one task queue."""

    temporal: Client
    database: Database
    runner: Any
    queue: str
    deployment: Deployment
    starter: Starter

    def config(self, build_id: str, **settings: Any) -> Config:
        name = self.deployment.name if build_id else ""
        return Config(task_queue=self.queue, deployment_name=name, build_id=build_id, **settings)

    @asynccontextmanager
    async def workers(self, build_id: str, **settings: Any) -> AsyncIterator[None]:
        config = self.config(build_id, **settings)
        parts = (self.temporal, config, self.database, OfflineModel(), ToolRegistry([]))
        async with running(build_workers(*parts, workflow_runner=self.runner)):
            if build_id:
                await self.until_known(build_id)
            yield

    async def until_known(self, build_id: str) -> None:
        async with asyncio.timeout(20):
            while True:
                try:
                    await self.deployment.version(build_id)
                    return
                except (DeploymentNotFound, VersionRefused):
                    await asyncio.sleep(0.05)

    async def begin(self, text: str = 'Approve the refund of "17".') -> str:
        engine = Engine(self.starter, self.database, self.temporal, ToolRegistry([]), self.queue)
        return await self.starter.start(
            ThreadRunRequest(
                assistant_id=await engine.assistant(tools=[ASKS]),
                messages=[NewMessage(role="user", content=text)],
                policy=WAITS,
            )
        )

    async def finish(self, run_id: str) -> str:
        pending = (await self.starter.snapshot(run_id)).pending_calls
        await self.starter.answer(run_id, [ToolOutput(tool_call_id=it.call_id, output="yes") for it in pending])
        return (await self.starter.result(run_id)).status

    async def version_of(self, run_id: str) -> str:
        description = await self.temporal.get_workflow_handle(run_id).describe()
        return description.raw_description.workflow_execution_info.versioning_info.deployment_version.build_id


@pytest.fixture
async def fleet(temporal, database, workflow_sandbox) -> AsyncIterator[Fleet]:
    queue = f"test-{uuid4()}"
    async with Starter(temporal, task_queue=queue) as starter:
        yield Fleet(temporal, database, workflow_sandbox, queue, Deployment(temporal, f"runs-{uuid4()}"), starter)


@pytest.fixture
def waiting(fleet, eventually):
    """Start a run and wait until it waits for an output."""

    async def begin() -> str:
        run_id = await fleet.begin()

        async def pending():
            return (await fleet.starter.snapshot(run_id)).pending_calls

        await eventually(pending)
        return run_id

    return begin


async def test_a_run_ends_on_the_version_on_which_it_began_and_new_ones_go_to_the_current_one(
    fleet, waiting, eventually
):
    async with fleet.workers("1"):
        await fleet.deployment.set_current("1")
        first = await waiting()
        async with fleet.workers("2"):
            await fleet.deployment.set_current("2")
            second = await waiting()

            async def counted():
                found = {it.build_id: (it.role, it.open_runs) for it in await fleet.deployment.versions()}
                return found == {"1": ("retired", 1), "2": ("current", 1)}

            await eventually(counted)
            assert [await fleet.finish(first), await fleet.finish(second)] == ["completed", "completed"]

    assert [await fleet.version_of(first), await fleet.version_of(second)] == ["1", "2"]


async def test_without_a_deployment_workers_have_no_version(fleet, waiting):
    async with fleet.workers(""):
        run_id = await waiting()
        assert await fleet.finish(run_id) == "completed"

    assert await fleet.version_of(run_id) == ""
    with pytest.raises(DeploymentNotFound, match="start a worker with LOCKSTITCH_DEPLOYMENT_NAME="):
        await fleet.deployment.versions()


async def test_of_two_first_versions_that_start_at_the_same_time_one_becomes_current(fleet, eventually):
    async with AsyncExitStack() as stack:
        for build_id in ("1", "2"):
            await stack.enter_async_context(fleet.workers(build_id))
        for build_id in ("1", "2"):
            first = becoming_first_version(fleet.temporal, fleet.deployment.name, build_id)
            await stack.enter_async_context(first)

        async def roles():
            found = [it.role for it in await fleet.deployment.versions()]
            return sorted(found) == ["current", "unused"]

        await eventually(roles)
        assert await fleet.starter.result(await fleet.begin("Hello."))


async def test_a_worker_that_comes_later_does_not_make_its_version_current(fleet):
    async with fleet.workers("1"), fleet.workers("2"):
        assert await fleet.deployment.make_first("1")
        assert await fleet.deployment.make_first("2") is False
        await fleet.deployment.set_current(UNVERSIONED)

        assert await fleet.deployment.make_first("2") is False
        assert {it.role for it in await fleet.deployment.versions()} == {"retired", "unused"}


async def test_a_version_of_which_no_worker_has_polled_is_not_the_first(fleet):
    assert await fleet.deployment.make_first("1") is None
    async with fleet.workers("1"):
        assert await fleet.deployment.make_first("2") is None


async def test_a_share_of_new_runs_goes_to_a_version_that_ramps(fleet):
    async with fleet.workers("1"), fleet.workers("2"):
        await fleet.deployment.set_current("1")
        await fleet.deployment.ramp("2", 100)
        run_id = await fleet.begin("Hello.")
        await fleet.starter.result(run_id)
        ramped = {it.build_id: (it.role, it.percent) for it in await fleet.deployment.versions()}
        await fleet.deployment.ramp("2", 0)
        after = {it.build_id: (it.role, it.percent) for it in await fleet.deployment.versions()}

    assert await fleet.version_of(run_id) == "2"
    assert ramped == {"1": ("current", 0), "2": ("ramping", 100)}
    assert after == {"1": ("current", 100), "2": ("retired", 0)}


async def test_a_version_without_workers_for_a_task_queue_of_the_current_one_is_refused(fleet, eventually):
    async with fleet.workers("1"), fleet.workers("2", worker_serves=("runs",)):
        await fleet.deployment.set_current("1")

        impatient = Deployment(fleet.temporal, fleet.deployment.name, patience=timedelta(0))

        async def refused():
            try:
                await impatient.set_current("2")
            except VersionRefused as error:
                return str(error)

        problem = await eventually(refused)
        assert f"has no workers for {fleet.queue}-files, which the current version '1' takes" in problem
        await fleet.deployment.set_current("2", despite_missing_queues=True)
        assert (await fleet.deployment.version("2")).role == "current"


async def test_a_version_that_nobody_runs_is_refused(fleet):
    async with fleet.workers("1"):
        impatient = Deployment(fleet.temporal, fleet.deployment.name, patience=timedelta(0))
        with pytest.raises(VersionRefused, match="'9' is none of the deployment"):
            await impatient.set_current("9")
        with pytest.raises(VersionRefused, match="'9' is none of the deployment"):
            await impatient.ramp("9", 10)


async def test_a_run_whose_version_has_no_workers_any_more_waits_and_goes_on_on_another_when_it_is_moved(
    fleet, waiting, eventually
):
    async with fleet.workers("1"):
        await fleet.deployment.set_current("1")
        run_id = await waiting()
    async with fleet.workers("2"):
        await fleet.deployment.set_current("2")

        async def found():
            return await fleet.deployment.open_run_ids("1")

        assert await eventually(found) == [run_id]
        await fleet.deployment.move(run_id, "2")

        assert await fleet.finish(run_id) == "completed"
        with pytest.raises(RunFinished, match="completed"):
            await fleet.deployment.move(run_id, "2")
        with pytest.raises(RunNotFound):
            await fleet.deployment.move("run_unknown", "2")

    async def gone():
        return not await fleet.deployment.open_run_ids("1")

    await eventually(gone)


def test_workers_with_and_without_a_version_carry_the_same_workflows():
    plain, versioned = (
        {it.name: it.versioning_behavior for it in map(workflow._Definition.must_from_class, kinds)}
        for kinds in (WORKFLOWS, VERSIONED_WORKFLOWS)
    )

    assert plain.keys() == versioned.keys()
    assert set(plain.values()) == {VersioningBehavior.UNSPECIFIED}
    assert {name for name, it in versioned.items() if it is not VersioningBehavior.AUTO_UPGRADE} == {"ThreadRun"}


async def test_what_is_no_run_moves_to_the_current_version(fleet, eventually):
    """An ingestion that began on a version whose workers are gone goes on; nobody has to move it."""
    ingestion = Ingestion(ingestion_id=f"ingestion_{uuid4()}", vector_store_id="vs_1", files=1)
    handle = fleet.temporal.get_workflow_handle(ingestion.ingestion_id)
    async with fleet.workers("1", worker_serves=("runs",)):  # nobody takes its activity
        await fleet.deployment.set_current("1")
        await fleet.starter.ingest(ingestion)

        async def begun():
            return await fleet.version_of(handle.id) == "1"

        await eventually(begun)
    async with fleet.workers("2"):
        await fleet.deployment.set_current("2")
        await handle.result()

    assert await fleet.version_of(handle.id) == "2"


@workflow.defn(name="AskAround", versioning_behavior=VersioningBehavior.PINNED, sandboxed=False)
class AskAround:
    """Asks the workers of several task queues which version they are."""

    def __init__(self) -> None:
        self._may_go_on = False

    @workflow.signal
    def go_on(self) -> None:
        self._may_go_on = True

    @workflow.run
    async def run(self, queues: list[str]) -> list[str]:
        await workflow.wait_condition(lambda: self._may_go_on)
        limit = timedelta(seconds=10)
        return [
            await workflow.execute_activity("who", task_queue=queue, schedule_to_close_timeout=limit)
            for queue in queues
        ]


def who(build_id: str) -> list[Any]:
    @activity.defn(name="who")
    async def answer() -> str:
        return build_id

    return [answer]


async def test_an_activity_goes_to_its_own_version_where_that_takes_the_task_queue_else_to_the_current_one(fleet):
    """So code and files may have workers of their own, and one that has no version serves every version."""
    both, new_only, neither = (f"{fleet.queue}-{name}" for name in ("both", "new", "neither"))

    def worker(build_id: str, queue: str, workflows: Any = (), *, versioned: bool = True) -> Any:
        parts = (fleet.temporal, fleet.config(build_id), queue, who(build_id if versioned else "none"), workflows)
        return build_worker(*parts, fleet.runner, versioned=versioned)

    old = [worker("1", fleet.queue, [AskAround]), worker("1", both), worker("1", neither, versioned=False)]
    new = [worker("2", fleet.queue, [AskAround]), worker("2", both), worker("2", new_only)]
    async with running(old):
        await fleet.until_known("1")
        await fleet.deployment.set_current("1")
        asking = await fleet.temporal.start_workflow(
            "AskAround", [both, new_only, neither], id=f"ask-{uuid4()}", task_queue=fleet.queue
        )
        await asking.query("__stack_trace")  # its first step is done
        async with running(new):
            await fleet.until_known("2")
            await fleet.deployment.set_current("2")
            await asking.signal("go_on")

            assert await asking.result() == ["1", "2", "none"]


NOW = datetime(2026, 11, 27, tzinfo=UTC)
LONG_AGO = NOW - timedelta(minutes=1)


@pytest.mark.parametrize(
    ("role", "open_runs", "retired_at", "drained"),
    [
        ("current", 0, None, False),
        ("ramping", 0, LONG_AGO, False),
        ("retired", 1, LONG_AGO, False),
        ("retired", 0, LONG_AGO, True),
        ("retired", 0, NOW, False),  # a first step may be under way
        ("unused", 0, None, True),
    ],
)
def test_a_version_is_drained_when_it_gets_no_new_runs_and_has_no_open_ones(role, open_runs, retired_at, drained):
    version = Version("1", role, 0, open_runs, None, retired_at)

    assert version.is_drained(NOW) is drained
