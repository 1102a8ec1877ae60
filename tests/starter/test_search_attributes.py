"""What a namespace has to have before runs are carried in it."""

from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, RemoveSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from lockstitch.dev import temporal_binary
from lockstitch.errors import SearchAttributesMissing, SettingsInvalid
from lockstitch.starter.search_attributes import (
    WANTED,
    ensure_search_attributes,
    missing_in_queries,
    missing_search_attributes,
)


@pytest.fixture(scope="module")
async def bare_server():
    """A Temporal server whose namespaces have no search attributes of ours."""
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=temporal_binary(), dev_server_extra_args=["--log-level", "never"]
    )
    async with environment:
        yield environment.client


async def in_new_namespace(client: Client) -> Client:
    name = f"test-{uuid4()}"
    kept = Duration(seconds=86_400)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=kept)
    )
    return Client(client.service_client, namespace=name)


async def test_what_a_namespace_lacks_is_registered_once(bare_server):
    client = await in_new_namespace(bare_server)
    assert await missing_search_attributes(client) == WANTED

    await ensure_search_attributes(client)
    await ensure_search_attributes(client)

    assert await missing_search_attributes(client) == {}


def test_what_cannot_be_registered_is_named_with_the_command_that_does_it():
    error = SearchAttributesMissing("prod", {"LockstitchStatus": "Keyword", "LockstitchDone": "Bool"}, "not allowed")

    assert "create --namespace prod --name LockstitchStatus --type Keyword --name LockstitchDone --type Bool" in str(
        error
    )
    assert error.missing == {"LockstitchStatus": "Keyword", "LockstitchDone": "Bool"}


async def test_one_that_is_missing_is_found_among_those_that_are_there(bare_server):
    client = await in_new_namespace(bare_server)
    await ensure_search_attributes(client)
    await client.operator_service.remove_search_attributes(
        RemoveSearchAttributesRequest(namespace=client.namespace, search_attributes=["LockstitchThread"])
    )

    assert set(await missing_search_attributes(client)) == {"LockstitchThread"}
    assert set(await missing_in_queries(client)) == {"LockstitchThread"}


async def test_one_of_another_type_is_no_use(bare_server):
    client = await in_new_namespace(bare_server)
    number = IndexedValueType.INDEXED_VALUE_TYPE_INT
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace=client.namespace, search_attributes={"LockstitchStatus": number})
    )

    with pytest.raises(SearchAttributesMissing, match="of another type") as refused:
        await ensure_search_attributes(client)

    assert refused.value.missing == {"LockstitchStatus": "Keyword"}


async def test_a_namespace_that_does_not_exist_is_named(bare_server):
    client = Client(bare_server.service_client, namespace="nowhere")

    with pytest.raises(SettingsInvalid, match=r"LOCKSTITCH_TEMPORAL_NAMESPACE: .* no namespace 'nowhere'"):
        await ensure_search_attributes(client)
