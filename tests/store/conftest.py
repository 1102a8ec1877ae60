"""A store with something in it: assistants, threads, and runs in every status."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection

from lockstitch.assistants import objects
from lockstitch.assistants.store import assistants, event_log, runs, steps, threads, tool_calls
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.runs import NewRun
from lockstitch.starter.contract import NewMessage, RunParameters, RunStatus, ToolOutput
from lockstitch.starter.identifiers import new_id

T = TypeVar("T")
NOW = 1_700_000_000


@dataclass
class Store:
    """What a test does with the store, each as one transaction."""

    database: Database

    async def write(self, unit: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Run a query function that writes."""
        return await self.database.write(lambda connection: unit(connection, *arguments, **named))

    async def read(self, unit: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Run a query function that reads."""
        return await self.database.read(lambda connection: unit(connection, *arguments, **named))

    async def assistant(self, **values: Any) -> str:
        """Add an assistant."""
        columns = {"model": "test", "tools": [], "tool_resources": {}, "metadata": {}, **values}
        return (await self.write(assistants.create, columns, NOW))["id"]

    async def thread(self, *texts: str) -> str:
        """Add a thread in which a user said ``texts``."""
        thread_id = (await self.write(threads.create, {}, NOW))["id"]
        for text in texts:
            await self.write(threads.add_message, thread_id, NewMessage(role="user", content=text), NOW)
        return thread_id

    async def new_run(self, thread_id: str | None = None, assistant_id: str | None = None, **values: Any) -> NewRun:
        """Make a run to create, on a thread and with an assistant of its own unless they are given."""
        thread_id = thread_id or await self.thread("Hello.")
        return NewRun(
            new_id("run"), thread_id, assistant_id or await self.assistant(), RunParameters(**values), int(time.time())
        )

    async def run(self, status: RunStatus = "queued", calls: Sequence[str] = ("call_a", "call_b")) -> Row:
        """Create a run and bring it into a status; one that has begun has a tool step with ``calls``."""
        row = await self.write(runs.create, await self.new_run())
        if status == "queued":
            return row
        await self.write(_begin, row, calls)
        if status == "requires_action":
            await self.write(_ask, row["id"])
        elif status == "cancelling":
            await self.write(runs.begin_cancel, row["thread_id"], row["id"])
        elif status != "in_progress":
            await self.write(runs.end, row["id"], status, NOW)
        return await self.find(row)

    async def find(self, run: Row) -> Row:
        """Return the run as it is now."""
        found = await self.read(runs.find, run["id"])
        assert found is not None
        return found

    async def events(self, run: Row) -> list[str]:
        """Return the names of the run's events, checking that they are numbered without a gap."""
        logged = await self.read(event_log.after, run["id"], 0)
        assert [event.seq for event in logged] == list(range(1, len(logged) + 1))
        return [event.event.removeprefix("thread.") for event in logged]


def _begin(connection: Connection, run: Row, calls: Sequence[str]) -> None:
    step = steps.new_step(run, "tool_calls", NOW)
    steps.insert(connection, step)
    owner = {"run_id": run["id"], "thread_id": run["thread_id"], "step_id": step["id"]}
    made = [
        owner | {"call_id": call_id, "position": position, "name": "lookup", "arguments": "{}"}
        for position, call_id in enumerate(calls)
    ]
    tool_calls.add(connection, made)
    runs.change(connection, run["id"], when=["queued"], values={"status": "in_progress", "started_at": NOW})


def _ask(connection: Connection, run_id: str) -> None:
    [step] = steps.open_steps(connection, run_id)
    calls = tool_calls.of_steps(connection, [step["id"]])[step["id"]]
    values = {"status": "requires_action", "required_action": objects.required_action(calls)}
    row = runs.change(connection, run_id, when=["in_progress"], values=values)
    assert row is not None
    event_log.append(connection, run_id, [NewEvent("thread.run.requires_action", objects.run(row))])


@pytest.fixture
def store(database: Database) -> Store:
    """The store on the test's database."""
    return Store(database)


@pytest.fixture
def outputs() -> Callable[..., list[ToolOutput]]:
    """Make an output for each call id."""
    return lambda *call_ids: [ToolOutput(tool_call_id=call_id, output=f"of {call_id}") for call_id in call_ids]
