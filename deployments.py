"""The versions of the workers of one deployment, as Temporal knows them: which is current, and who still has runs.

Temporal limits how often a deployment is asked about, so what may be asked again is.

A run is pinned to the version that took its first step. New runs go to the current version; a share of them goes to
the ramping one, where there is one.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.deployment.v1 import RoutingConfig, WorkerDeploymentInfo, WorkerDeploymentVersion
from temporalio.api.enums.v1 import TaskQueueType, VersioningBehavior
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentResponse,
    DescribeWorkerDeploymentVersionRequest,
    ListWorkerDeploymentsRequest,
    SetWorkerDeploymentCurrentVersionRequest,
    SetWorkerDeploymentRampingVersionRequest,
    UpdateWorkflowExecutionOptionsRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from lockstitch.errors import DeploymentNotFound, RunFinished, RunNotFound, VersionRefused

Role = Literal["current", "ramping", "retired", "unused"]
"""Retired: it was current or ramping once, so runs may be pinned to it. Unused: it never was."""

UNVERSIONED = "__unversioned__"
"""What Temporal calls the workers without a version."""

WORKERS_AWAITED = timedelta(seconds=15)
"""So long may workers that have just started take until Temporal knows their version and all their task queues."""

SETTLED_AFTER = timedelta(seconds=10)
"""So long after a version lost its share of new runs, none is pinned to it any more without being counted: a first
step that one of its workers had begun is done or given up after ten seconds, and visible soon after."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the workers."""

    build_id: str
    role: Role
    percent: float
    """The share of new runs that it gets."""
    open_runs: int
    """Workflows that are pinned to it and have not ended."""
    created_at: datetime | None
    retired_at: datetime | None

    def is_drained(self, now: datetime) -> bool:
        """Tell whether its workers may be stopped for good: it gets no new runs, and has none that is open."""
        if self.role in ("current", "ramping") or self.open_runs:
            return False
        return self.retired_at is None or now - self.retired_at > SETTLED_AFTER


async def names(client: Client) -> Sequence[str]:
    """Return the names of the deployments in the namespace."""
    found: list[str] = []
    token = b""
    while True:
        request = ListWorkerDeploymentsRequest(namespace=client.namespace, next_page_token=token)
        page = await client.workflow_service.list_worker_deployments(request, retry=True)
        found += [summary.name for summary in page.worker_deployments]
        token = page.next_page_token
        if not token:
            return found


class Deployment:
    """One deployment. Its methods raise `DeploymentNotFound` where no versioned worker has polled under its name.

    ``patience`` is how long a version that is to get runs may lack workers before it is refused.
    """

    def __init__(self, client: Client, name: str, *, patience: timedelta = WORKERS_AWAITED) -> None:
        self._client = client
        self._patience = patience
        self.name = name

    def __repr__(self) -> str:
        return f"Deployment({self.name!r})"

    async def versions(self) -> Sequence[Version]:
        """Return its versions, newest first, with their open runs as far as the server's search knows by now."""
        info = (await self._describe()).worker_deployment_info
        return [await self._version(info, summary) for summary in info.version_summaries]

    async def version(self, build_id: str) -> Version:
        """Return one version; raises `VersionRefused` where there is none."""
        for found in await self.versions():
            if found.build_id == build_id:
                return found
        raise VersionRefused(build_id, f"is none of the deployment {self.name!r}: no worker of it has polled.")

    async def set_current(self, build_id: str, *, despite_missing_queues: bool = False) -> None:
        """Give all new runs to a version; `UNVERSIONED` gives them to workers without one.

        Raises `VersionRefused` where the version does not take a task queue that the present one takes.
        """
        await self._check_queues(build_id, despite_missing_queues)
        request = SetWorkerDeploymentCurrentVersionRequest(
            namespace=self._client.namespace,
            deployment_name=self.name,
            build_id="" if build_id == UNVERSIONED else build_id,
            identity=self._client.identity,
            ignore_missing_task_queues=despite_missing_queues,
        )
        try:
            await self._client.workflow_service.set_worker_deployment_current_version(request, retry=True)
        except RPCError as error:
            raise VersionRefused(build_id, f"does not become the current one: {error.message}.") from error

    async def ramp(self, build_id: str, percent: float, *, despite_missing_queues: bool = False) -> None:
        """Give a share of the new runs to a version; 0 takes it away. Raises `VersionRefused` as `set_current`."""
        await self._check_queues(build_id, despite_missing_queues)
        request = SetWorkerDeploymentRampingVersionRequest(
            namespace=self._client.namespace,
            deployment_name=self.name,
            build_id=build_id if percent else "",
            percentage=percent,
            identity=self._client.identity,
            ignore_missing_task_queues=despite_missing_queues,
        )
        try:
            await self._client.workflow_service.set_worker_deployment_ramping_version(request, retry=True)
        except RPCError as error:
            raise VersionRefused(build_id, f"does not ramp: {error.message}.") from error

    async def make_first(self, build_id: str) -> bool | None:
        """Make a version the current one where nobody ever decided which is, and tell whether it was done.

        ``None``: Temporal does not know the version yet; its workers have not polled. Of several that try at the same
        time one succeeds, for each gives the state of the deployment that it has seen.
        """
        try:
            found = await self._describe()
        except DeploymentNotFound:
            return None
        info = found.worker_deployment_info
        if _was_routed(info.routing_config):
            return False
        if all(summary.deployment_version.build_id != build_id for summary in info.version_summaries):
            return None
        request = SetWorkerDeploymentCurrentVersionRequest(
            namespace=self._client.namespace,
            deployment_name=self.name,
            build_id=build_id,
            conflict_token=found.conflict_token,
            identity=self._client.identity,
        )
        try:
            await self._client.workflow_service.set_worker_deployment_current_version(request)
        except RPCError as error:
            if error.status in (RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.ABORTED):
                return False  # another version was faster
            raise
        return True

    async def open_run_ids(self, build_id: str) -> Sequence[str]:
        """Return the ids of the workflows that are pinned to a version and have not ended."""
        return [execution.id async for execution in self._client.list_workflows(self._pinned_to(build_id))]

    async def move(self, run_id: str, build_id: str) -> None:
        """Have a run go on on another version, whose code must be able to replay what the run did so far.

        Raises `VersionRefused`, `RunNotFound`, and `RunFinished`.
        """
        await self.version(build_id)
        description = await self._run(run_id)
        if description:
            raise RunFinished(run_id, description)
        version = WorkerDeploymentVersion(deployment_name=self.name, build_id=build_id)
        pinned = VersioningOverride.PinnedOverride(
            version=version,
            behavior=VersioningOverride.PinnedOverrideBehavior.PINNED_OVERRIDE_BEHAVIOR_PINNED,
        )
        override = VersioningOverride(
            behavior=VersioningBehavior.VERSIONING_BEHAVIOR_PINNED,  # this and the next: what older servers read
            pinned_version=f"{self.name}.{build_id}",
            pinned=pinned,
        )
        request = UpdateWorkflowExecutionOptionsRequest(
            namespace=self._client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=run_id),
            workflow_execution_options=WorkflowExecutionOptions(versioning_override=override),
            update_mask=FieldMask(paths=["versioning_override"]),
            identity=self._client.identity,
        )
        try:
            await self._client.workflow_service.update_workflow_execution_options(request, retry=True)
        except RPCError as error:
            raise VersionRefused(build_id, f"does not take {run_id}: {error.message}.") from error

    async def _run(self, run_id: str) -> str:
        """Return how a run has ended, and nothing where it is open."""
        try:
            description = await self._client.get_workflow_handle(run_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise RunNotFound(run_id) from error
            raise
        ended = description.close_time is not None and description.status is not None
        return description.status.name.lower() if ended and description.status is not None else ""

    async def _describe(self) -> DescribeWorkerDeploymentResponse:
        request = DescribeWorkerDeploymentRequest(namespace=self._client.namespace, deployment_name=self.name)
        try:
            return await self._client.workflow_service.describe_worker_deployment(request, retry=True)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise DeploymentNotFound(self.name) from error
            raise

    async def _version(
        self, info: WorkerDeploymentInfo, summary: WorkerDeploymentInfo.WorkerDeploymentVersionSummary
    ) -> Version:
        build_id = summary.deployment_version.build_id
        role, percent = _share(info.routing_config, build_id)
        if role == "unused" and summary.HasField("first_activation_time"):
            role = "retired"
        return Version(
            build_id=build_id,
            role=role,
            percent=percent,
            open_runs=(await self._client.count_workflows(self._pinned_to(build_id))).count,
            created_at=_time(summary.create_time, summary.HasField("create_time")),
            retired_at=_time(summary.last_deactivation_time, summary.HasField("last_deactivation_time")),
        )

    def _pinned_to(self, build_id: str) -> str:
        return (
            f"TemporalWorkerDeploymentVersion = '{self.name}:{build_id}' "
            "AND TemporalWorkflowVersioningBehavior = 'Pinned' AND ExecutionStatus = 'Running'"
        )

    async def _check_queues(self, build_id: str, despite_missing_queues: bool) -> None:
        """Refuse a version that lacks a task queue of the current one: what is pinned to it would wait for ever."""
        give_up_at = time.monotonic() + self._patience.total_seconds()
        while True:
            try:
                return await self._check_queues_now(build_id, despite_missing_queues)
            except VersionRefused:
                if time.monotonic() > give_up_at:
                    raise
            await asyncio.sleep(0.5)

    async def _check_queues_now(self, build_id: str, despite_missing_queues: bool) -> None:
        if build_id == UNVERSIONED:
            return
        taken = await self._queues(build_id)
        current = (await self._describe()).worker_deployment_info.routing_config.current_deployment_version.build_id
        if despite_missing_queues or not current or current == build_id:
            return
        missing = sorted({name for name, _kind in await self._queues(current) - taken})
        if missing:
            raise VersionRefused(
                build_id,
                f"has no workers for {', '.join(missing)}, which the current version {current!r} takes; start them, or "
                "say --despite-missing-queues.",
            )

    async def _queues(self, build_id: str) -> set[tuple[str, "TaskQueueType.ValueType"]]:
        """Return the task queues that a version takes, by name and kind; raises `VersionRefused`."""
        await self.version(build_id)
        version = WorkerDeploymentVersion(deployment_name=self.name, build_id=build_id)
        request = DescribeWorkerDeploymentVersionRequest(namespace=self._client.namespace, deployment_version=version)
        found = await self._client.workflow_service.describe_worker_deployment_version(request, retry=True)
        return {(queue.name, queue.type) for queue in found.version_task_queues}


def _was_routed(routing: RoutingConfig) -> bool:
    """Tell whether anybody ever said which version gets new runs, be it none."""
    return routing.HasField("current_version_changed_time") or routing.HasField("ramping_version_changed_time")


def _share(routing: RoutingConfig, build_id: str) -> tuple[Role, float]:
    ramping = routing.ramping_deployment_version.build_id
    ramped = routing.ramping_version_percentage if ramping else 0.0
    if build_id == routing.current_deployment_version.build_id:
        return "current", 100 - ramped
    return ("ramping", ramped) if build_id == ramping else ("unused", 0.0)


def _time(timestamp: Timestamp, is_set: bool) -> datetime | None:
    return timestamp.ToDatetime(UTC) if is_set else None
