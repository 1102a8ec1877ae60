"""Payloads that are too large for Temporal stay outside, on a folder and on a server with S3's API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstitch.errors import PayloadStoreUnavailable, PayloadTooLarge
from lockstitch.starter.client import Starter, connect_temporal
from lockstitch.starter.contract import NewMessage
from lockstitch.starter.payload_store import payload_store_at
from lockstitch.starter.payloads import PayloadSettings
from lockstitch.starter.temporal_server import TemporalServer
from lockstitch.tests.s3_server import BUCKET, started_s3
from lockstitch.tools import tool

KEY = "k1:" + "A" * 43 + "="
MEBIBYTE = 1024 * 1024
LONG = "All of it. " + "x" * 240_000


@pytest.fixture
def bucket() -> Iterator[str]:
    """The URL of a bucket on a server with the API of S3."""
    with started_s3():
        yield f"s3://{BUCKET}/lockstitch"


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    return (tmp_path / "payloads").as_uri() if request.param == "folder" else request.getfixturevalue("bucket")


@tool
async def write_report() -> str:
    """Write a report of 1 MiB."""
    return "r" * MEBIBYTE


async def test_a_run_with_megabytes_of_messages_and_outputs_goes_through(engine, temporal, store):
    """Its history is small, a worker that starts anew reads what the first one stored, and a purge leaves nothing."""
    settings = PayloadSettings(keys=(KEY,), store=store)
    server = TemporalServer(temporal.service_client.config.target_host, payloads=settings)
    long_messages = [NewMessage(role="user", content=LONG) for _ in range(11)]
    async with engine([write_report], client=await connect_temporal(server), workers=False) as lockstitch:
        request = await lockstitch.request("Write the report.")
        request = request.model_copy(update={"messages": [*long_messages, *request.messages]})
        run_id = await lockstitch.starter.start(request)
    async with engine([write_report], client=await connect_temporal(server), task_queue=lockstitch.task_queue) as again:
        result = await again.starter.result(run_id)
        history = await again.temporal.get_workflow_handle(run_id).fetch_history()

    assert sum(len(message.content) for message in request.messages) > 2.5 * MEBIBYTE
    assert (result.status, [call.outcome for call in result.tool_calls]) == ("completed", ["succeeded"])
    assert sum(event.ByteSize() for event in history.events) < 100_000
    payloads = payload_store_at(store)
    assert payloads is not None
    assert await payloads.delete_of("default", run_id) > 0
    assert await payloads.delete_of("default", run_id) == 0


async def test_without_a_store_temporal_refuses_what_is_too_large(engine, temporal):
    """What the store is for: the limit is the Temporal server's, and nothing is started."""
    async with engine([], workers=False) as lockstitch:
        request = await lockstitch.request("Hello.")
        messages = [NewMessage(role="user", content=LONG) for _ in range(11)]
        with pytest.raises(PayloadTooLarge, match="or set LOCKSTITCH_PAYLOAD_STORE"):
            await lockstitch.starter.start(request.model_copy(update={"messages": messages}))


async def test_a_store_that_cannot_be_used_is_told_before_anybody_connects(temporal, tmp_path):
    (tmp_path / "file").touch()
    settings = PayloadSettings(store=(tmp_path / "file" / "below").as_uri())

    with pytest.raises(PayloadStoreUnavailable, match=r"^LOCKSTITCH_PAYLOAD_STORE: file://"):
        await Starter.connect(TemporalServer(temporal.service_client.config.target_host, payloads=settings))
