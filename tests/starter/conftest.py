"""A Temporal server whose lists hold nothing but the runs of one test."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from lockstitch.starter.client import Starter
from lockstitch.tests.temporal_server import started_temporal


@pytest.fixture(scope="module")
async def own_temporal() -> AsyncIterator[Client]:
    """A server without the runs of other tests."""
    async with started_temporal() as client:
        yield client


@pytest.fixture
async def starter(own_temporal: Client) -> AsyncIterator[Starter]:
    """A starter of a task queue of its own; what it started ends with the test."""
    async with Starter(own_temporal, task_queue=f"test-{uuid4()}") as opened:
        yield opened
    async for run in own_temporal.list_workflows("ExecutionStatus = 'Running'"):
        try:
            await own_temporal.get_workflow_handle(run.id).terminate()
        except RPCError as error:  # the list may show for a moment what has ended
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
