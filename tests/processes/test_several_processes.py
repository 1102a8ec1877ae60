"""Two HTTP servers and two workers on one PostgreSQL: whoever writes, everybody sees it, and nobody is needed."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta

import httpx2
import openai
import pytest

from lockstitch.assistants.store import event_log
from lockstitch.assistants.store.database import Database
from lockstitch.dev import DevStack
from lockstitch.probes import listen
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, RunEvent, RunPolicy, ThreadRunRequest
from lockstitch.tests.command_line import LOCKSTITCH
from lockstitch.tests.postgresql_server import PostgresqlServer
from lockstitch.tests.processes.conftest import started_stack

RUNS = 6
QUICK = RunPolicy(heartbeat_timeout=timedelta(seconds=2))

Process = asyncio.subprocess.Process


@dataclass
class Fleet:
    """A stack, and beside it another server and another worker, which nobody starts again when they die."""

    stack: DevStack
    database_url: str
    server: Process
    server_url: str
    worker: Process
    here: Starter
    there: Starter


@pytest.fixture
def database_url(postgresql: PostgresqlServer) -> Iterator[str]:
    with postgresql.new_database(empty=True) as url:
        yield url


@pytest.fixture
async def fleet(tmp_path, database_url, eventually) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(started_stack(tmp_path, LOCKSTITCH_DATABASE_URL=database_url))
        port, metrics_port = free_port(), free_port()
        settings = {
            **os.environ,
            "LOCKSTITCH_TEMPORAL_ADDRESS": first.temporal_address,
            "LOCKSTITCH_DATABASE_URL": database_url,
            "LOCKSTITCH_MODEL_SCRIPT": str(tmp_path / "script.json"),
            "LOCKSTITCH_PORT": str(port),
            "LOCKSTITCH_METRICS_PORT": str(metrics_port),
        }
        server, worker = [await started(word, settings, stack) for word in ("serve", "worker")]
        urls = [f"http://127.0.0.1:{it}" for it in (port, metrics_port)]
        for url in urls:
            await eventually(lambda url=url: is_ready(url), timeout=60)
        here, there = [
            await stack.enter_async_context(await Starter.connect(first.temporal_address, server_url=url))
            for url in (first.server_url, urls[0])
        ]
        yield Fleet(first, database_url, server, urls[0], worker, here, there)


def free_port() -> int:
    with listen("127.0.0.1", 0, purpose="a test", option="nothing") as listener:
        return int(listener.getsockname()[1])


async def started(word: str, settings: dict[str, str], stack: AsyncExitStack) -> Process:
    process = await asyncio.create_subprocess_exec(*LOCKSTITCH, word, env=settings, stderr=asyncio.subprocess.DEVNULL)

    async def end() -> None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    stack.push_async_callback(end)
    return process


async def is_ready(url: str) -> bool:
    async with httpx2.AsyncClient(trust_env=False) as http:
        with suppress(httpx2.TransportError):
            return (await http.get(f"{url}/readyz")).status_code == 200
    return False


async def until_it_tells(starter: Starter, run_id: str) -> list[RunEvent]:
    """Watch a run until its story is under way."""
    seen = []
    async for event in starter.stream(run_id):
        seen.append(event)
        if len([it for it in seen if it.event == "thread.message.delta"]) == 5:
            return seen
    raise AssertionError("it ended before anybody could do anything")


async def to_the_end(starter: Starter, run_id: str, seen: list[RunEvent]) -> list[RunEvent]:
    return [*seen, *[event async for event in starter.stream(run_id, after=seen[-1].seq)]]


@pytest.mark.long
async def test_whoever_dies_the_others_carry_on_and_watchers_miss_nothing(fleet):
    async with openai.AsyncOpenAI(base_url=f"{fleet.server_url}/v1", api_key="anything") as client:
        assistant = await client.beta.assistants.create(model="script")
    request = ThreadRunRequest(
        assistant_id=assistant.id, messages=[NewMessage(role="user", content="Tell a long story.")], policy=QUICK
    )
    run_ids = [await fleet.there.start(request) for _ in range(RUNS)]
    # Some of them are carried by one worker and some by the other; both servers show all.
    begun = await asyncio.gather(*(until_it_tells(fleet.there, run_id) for run_id in run_ids))
    fleet.worker.kill()
    fleet.server.kill()
    stories = await asyncio.gather(
        *(to_the_end(fleet.here, run_id, seen) for run_id, seen in zip(run_ids, begun, strict=True))
    )

    async with Database(fleet.database_url) as database:
        for run_id, story in zip(run_ids, stories, strict=True):
            assert story[-1].event == "thread.run.completed"
            assert [event.seq for event in story] == list(range(1, len(story) + 1))
            assert (await fleet.here.result(run_id)).status == "completed"
            last = await database.read(lambda connection, it=run_id: event_log.last_seq(connection, it))
            assert last == len(story)
