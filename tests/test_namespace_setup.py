"""What a worker makes in a namespace, and what it says where it cannot."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from lockstitch.errors import SearchAttributesMissing
from lockstitch.namespace_setup import ensure_namespace
from lockstitch.starter.client import connect_temporal
from lockstitch.starter.search_attributes import WANTED, missing_in_queries
from lockstitch.starter.temporal_server import TemporalServer

MOST_KEYWORDS = 10
"""How many search attributes of this type a namespace on SQLite may have."""


@pytest.fixture
async def namespace(temporal, eventually) -> Client:
    """A namespace of its own."""
    name = f"test-{uuid4()}"
    retention = Duration(seconds=86_400)
    await temporal.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=retention)
    )
    client = await connect_temporal(TemporalServer(temporal.service_client.config.target_host, name))

    async def is_there() -> bool:
        try:
            await client.count_workflows()
        except RPCError:
            return False
        return True

    await eventually(is_there)
    return client


async def attributes(client: Client) -> set[str]:
    request = ListSearchAttributesRequest(namespace=client.namespace)
    return set((await client.operator_service.list_search_attributes(request)).custom_attributes)


async def ensured(client: Client, eventually: Callable[..., Awaitable[object]]) -> None:
    """Ensure the namespace, as soon as every part of the server knows it."""

    async def known() -> bool:
        try:
            await ensure_namespace(client, "queue")
        except RPCError:
            return False
        return True

    await eventually(known)


async def test_an_empty_namespace_gets_what_runs_need(namespace, eventually):
    assert await missing_in_queries(namespace) == WANTED
    await ensured(namespace, eventually)

    async def all_are_in_queries() -> bool:  # the server reads their names anew in its own time
        return not await missing_in_queries(namespace)

    await eventually(all_are_in_queries)
    assert WANTED.keys() <= await attributes(namespace)
    for schedule in ("housekeeping-queue", "adoption-queue"):
        assert (await namespace.get_schedule_handle(schedule).describe()).schedule.spec.intervals


async def test_search_attributes_that_cannot_be_added_are_named_with_the_command_that_adds_them(namespace, eventually):
    taken = {f"Taken{number}": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD for number in range(MOST_KEYWORDS)}
    free = [name for name in await attributes(namespace) if name.startswith("CustomKeyword")]
    request = AddSearchAttributesRequest(
        namespace=namespace.namespace, search_attributes=dict(list(taken.items())[len(free) :])
    )
    await namespace.operator_service.add_search_attributes(request)

    with pytest.raises(SearchAttributesMissing) as refused:
        await ensured(namespace, eventually)
    assert "--name LockstitchStatus --type Keyword" in str(refused.value)
    assert "--name LockstitchNeedsAttention --type Bool" in str(refused.value)
    assert f"search-attribute create --namespace {namespace.namespace} " in str(refused.value)
    assert "\n" not in str(refused.value)
