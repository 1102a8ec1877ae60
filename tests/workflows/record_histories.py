"""Records the histories that test_replay.py replays: `make histories`.

Run it when the workflow changes on purpose, and keep the old histories for as long as runs may be open that an older
version began.
"""

import asyncio
import json
import sys
import tempfile
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from lockstitch.activities.ingestion import FILES_AT_ONCE
from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.assistants.store import assistants, files, vector_store_files, vector_stores
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.vector_store_files import AddedFile
from lockstitch.config import Config
from lockstitch.dev import temporal_binary
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import SEARCH_ATTRIBUTES, NewMessage, RunPolicy, ThreadRunRequest, ToolOutput
from lockstitch.starter.ingestion import Ingestion
from lockstitch.starter.payloads import data_converter
from lockstitch.tools import ToolRegistry, tool
from lockstitch.worker import build_workers

FOLDER = Path(__file__).parent / "histories"
_OF_THIS_MACHINE = frozenset({"identity", "stackTrace", "buildId", "binaryChecksum"})


@tool
async def weather(city: str) -> str:
    """The weather."""
    return f"Sunny in {city}"


async def record(temporal: Client, folder: Path) -> None:
    """Record one history of each kind of run, and one of an ingestion."""
    with tempfile.TemporaryDirectory() as data:
        async with Database(f"sqlite:///{data}/lockstitch.db") as database:
            queue = f"histories-{uuid4()}"
            tools = ToolRegistry([weather])
            async with AsyncExitStack() as stack:
                for worker in build_workers(temporal, Config(task_queue=queue), database, OfflineModel(), tools):
                    await stack.enter_async_context(worker)
                starter = await stack.enter_async_context(Starter(temporal, task_queue=queue))
                definitions = [*tools.definitions(), _definition("approve_refund")]
                columns = {"model": "offline", "tools": definitions, "tool_resources": {}, "metadata": {}}
                row = await database.write(lambda connection: assistants.create(connection, columns, 0))
                for name, text in _RUNS.items():
                    await _write(temporal, await _run(starter, row["id"], text), folder / f"{name}.json")
                ingestion = await database.write(_add_files)
                await starter.ingest(ingestion)
                await temporal.get_workflow_handle(ingestion.ingestion_id).result()
                await _write(temporal, ingestion.ingestion_id, folder / "ingestion.json")


async def _write(temporal: Client, workflow_id: str, path: Path) -> None:
    history = await temporal.get_workflow_handle(workflow_id).fetch_history()
    path.write_text(json.dumps(_without_machine(json.loads(history.to_json())), indent=1) + "\n")


def _add_files(connection: Connection) -> Ingestion:
    """Put so many files into a vector store that a lane needs more than one activity."""
    store = vector_stores.create(connection, {"project_id": "default"}, 0)
    values = {"created_at": 0, "purpose": "assistants", "filename": "a.txt", "bytes": 5}
    added = []
    for number in range(2 * FILES_AT_ONCE):
        files.create(connection, {"id": f"file-{number}", **values}, [b"Apple"])
        added.append(AddedFile(f"file-{number}"))
    batch = vector_store_files.add_batch(connection, store["id"], added, 0)
    # Said to be fewer than they are: so there are two lanes.
    return Ingestion(ingestion_id=batch["id"], vector_store_id=store["id"], files=10)


_RUNS = {
    "plain": "Hello.",
    "handled_tool": "The weather in Paris?",
    "answered_from_outside": 'Approve the refund of "17".',
    "mixed_round": 'The weather in Paris, and approve the refund of "17".',
    "cancelled_while_waiting": 'Approve the refund of "18" or cancel.',
    "expired_while_waiting": 'Approve the refund of "19" too late.',
}


async def _run(starter: Starter, assistant_id: str, text: str) -> str:
    deadline = timedelta(seconds=1) if "too late" in text else timedelta(minutes=10)
    request = ThreadRunRequest(
        assistant_id=assistant_id,
        messages=[NewMessage(role="user", content=text)],
        policy=RunPolicy(deadline=deadline),
    )
    run_id = await starter.start(request)
    if "pprove" in text and "too late" not in text:
        while not (pending := (await starter.snapshot(run_id)).pending_calls):
            await asyncio.sleep(0.01)
        if "cancel" in text:
            await starter.cancel(run_id)
        else:
            await starter.answer(run_id, [ToolOutput(tool_call_id=pending[0].call_id, output="approved")])
    await starter.result(run_id)
    return run_id


def _definition(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


def _without_machine(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "" if key in _OF_THIS_MACHINE else _without_machine(item) for key, item in value.items()}
    return [_without_machine(item) for item in value] if isinstance(value, list) else value


async def main(folder: Path) -> None:
    """Record into ``folder``, on a Temporal dev server of its own."""
    environment = await WorkflowEnvironment.start_local(
        data_converter=data_converter,
        dev_server_existing_path=temporal_binary(),
        search_attributes=SEARCH_ATTRIBUTES,
    )
    async with environment:
        await record(environment.client, folder)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
