"""The Temporal workers of one process: they begin and stop together, and have the same version."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError
from temporalio.worker import Worker, WorkerDeploymentConfig

from lockstitch import telemetry
from lockstitch.deployments import Deployment

FIRST_VERSION_PAUSE_SECONDS = 0.5
"""How often a worker looks whether Temporal knows its version yet, which it does once the worker has polled."""

REFUSED_PAUSE_SECONDS = 15.0
"""How long it waits where Temporal refuses to say, or is away."""


def version_options(deployment_name: str, build_id: str) -> dict[str, Any]:
    """Return what a `Worker` is told about its version; without a deployment's name it is told its build only.

    Left to itself, the SDK would make a build id out of every module that is loaded.
    """
    if not deployment_name:
        return {"build_id": build_id}
    config = WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment_name, build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.PINNED,
    )
    return {"deployment_config": config}


@asynccontextmanager
async def running(workers: Sequence[Worker]) -> AsyncIterator[None]:
    """Run the workers while the body runs, and stop them at the same time.

    So none takes on work while another finishes what it has, and one time of grace is enough for all.
    """
    async with AsyncExitStack() as stack:
        for worker in workers:
            await stack.enter_async_context(worker)
        try:
            yield
        finally:
            await asyncio.gather(*(worker.shutdown() for worker in workers))


@asynccontextmanager
async def becoming_first_version(client: Client, deployment_name: str, build_id: str) -> AsyncIterator[None]:
    """While the body runs, make this version the current one of a deployment that never had one.

    Without it, the runs of a first installation would wait until somebody names a version. Where anybody has named one
    before, be it to take it back, nothing is done: which version new runs get is an operator's decision from then on.
    """
    task = asyncio.create_task(_become_first(Deployment(client, deployment_name), build_id), name="first-version")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _become_first(deployment: Deployment, build_id: str) -> None:
    done: bool | None = None
    while done is None:
        pause = FIRST_VERSION_PAUSE_SECONDS
        try:
            done = await deployment.make_first(build_id)
        except RPCError as error:
            telemetry.log.warning("version_not_made_current", build_id=build_id, error=error.message)
            pause = REFUSED_PAUSE_SECONDS
        if done is None:
            await asyncio.sleep(pause)
    if done:
        telemetry.log.info("version_made_current", deployment=deployment.name, build_id=build_id)
