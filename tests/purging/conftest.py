"""A Temporal server that deletes within a second, and ways to look for a word everywhere."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, text
from temporalio.client import Client

from lockstitch.assistants.store.database import Database
from lockstitch.tests.command_line import LOCKSTITCH
from lockstitch.tests.temporal_server import started_temporal

# The server deletes an execution once it has written down how far its queues are, by default every 30 seconds.
SOON = tuple(f'history.{queue}ProcessorUpdateAckInterval="200ms"' for queue in ("transfer", "timer", "visibility"))


@pytest.fixture(scope="session")
async def temporal() -> AsyncIterator[Client]:
    """A Temporal dev server that is quick to delete."""
    async with started_temporal(*SOON) as client:
        yield client


def _tables_with(connection: Connection, word: str) -> set[str]:
    found = set()
    for table in inspect(connection).get_table_names():
        for row in connection.execute(text(f'SELECT * FROM "{table}"')):
            # SQLAlchemy reads JSON as text here, and bytes as they are.
            if any(word in (it.decode(errors="replace") if isinstance(it, bytes) else str(it)) for it in row):
                found.add(table)
    return found


@pytest.fixture
def tables_with(database: Database) -> Callable[[str], Any]:
    """Return the tables of the database in which a word stands, those of its indexes too."""
    return lambda word: database.read(lambda connection: _tables_with(connection, word), long=True)


@pytest.fixture
def workflows_with(temporal: Client) -> Callable[[str], Any]:
    """Return the ids of the workflows in whose history, memo or attributes a word stands."""

    async def look(word: str) -> set[str]:
        found = set()
        async for execution in temporal.list_workflows():
            handle = temporal.get_workflow_handle(execution.id, run_id=execution.run_id)
            described = (await handle.describe()).raw_description.SerializeToString()
            history = (await handle.fetch_history()).events
            if any(word.encode() in it for it in (described, *(event.SerializeToString() for event in history))):
                found.add(execution.id)
        return found

    return look


@pytest.fixture
def command(temporal: Client, database_url: str) -> Callable[..., Any]:
    """Start `lockstitch purge` in a process of its own, on the test's servers and without a terminal."""

    async def start(*words: str) -> asyncio.subprocess.Process:
        environment = {
            "PATH": "/usr/bin:/bin",
            "LOCKSTITCH_TEMPORAL_ADDRESS": temporal.service_client.config.target_host,
            "LOCKSTITCH_DATABASE_URL": database_url,
        }
        return await asyncio.create_subprocess_exec(
            *(*LOCKSTITCH, "purge", "thread", *words),
            cwd=Path(database_url.removeprefix("sqlite:///")).parent if "sqlite" in database_url else None,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    return start


@pytest.fixture
def purge(command: Callable[..., Any]) -> Callable[..., Any]:
    """Run `lockstitch purge thread --yes --json` to its end and return what it printed."""

    async def run(*words: str) -> Any:
        process = await command(*words, "--yes", "--json")
        output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        return json.loads(output)

    return run
