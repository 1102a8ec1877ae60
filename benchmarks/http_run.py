"""Measure the HTTP server: ``python benchmarks/http_run.py [--quick] [--check]``.

Requests per second and 500 open streams, each beside a bare Starlette route on the same machine as the limit. Prints
tables and writes ``http.json`` and ``http.md`` into ``benchmarks/results``.
"""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from sqlalchemy import Connection as StoreConnection

from lockstitch.assistants.store import assistants, event_log, runs, threads
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.benchmarks import http_load, http_report
from lockstitch.benchmarks.http_load import Exchange, Readers, hammer
from lockstitch.benchmarks.http_report import HttpMeasurements, Requests, Streams
from lockstitch.benchmarks.http_stack import HttpStack
from lockstitch.starter.contract import NewMessage, RunParameters
from lockstitch.starter.identifiers import new_id

RESULTS = Path(__file__).parent / "results"
CONNECTIONS = 16
STREAMS = 500
EVENTS_PER_SECOND = 1
"""On each stream."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    blocks: int
    block_seconds: float
    stream_seconds: float


FULL = Sizes(blocks=6, block_seconds=3, stream_seconds=15)
QUICK = Sizes(blocks=2, block_seconds=1, stream_seconds=4)


async def measure(sizes: Sizes, console: Console) -> HttpMeasurements:
    """Start everything, measure, and end everything."""
    with tempfile.TemporaryDirectory(prefix="lockstitch-benchmark-") as folder:
        console.print("[dim]Starting Temporal, the HTTP server and a bare one ...[/]")
        async with HttpStack(Path(folder)) as stack, Database(stack.database_url) as database:
            run_ids = await _add_runs(database, STREAMS)
            quiet_thread = await database.write(lambda connection: threads.create(connection, {}, _now()))
            run = await database.read(lambda connection: runs.find(connection, run_ids[0]))
            assert run is not None
            api = f"{stack.server_url}/v1"
            message = json.dumps({"role": "user", "content": "Where is order 17?"}).encode()
            get = {
                "lockstitch": Exchange(api, "GET", f"/v1/threads/{run['thread_id']}/runs/{run['id']}"),
                "bare": Exchange(stack.bare_url, "GET", "/object"),
            }
            post = {
                "lockstitch": Exchange(api, "POST", f"/v1/threads/{quiet_thread['id']}/messages", message),
                "bare": Exchange(stack.bare_url, "POST", "/object", message),
            }
            console.print("[dim]Retrieving a run ...[/]")
            retrieve = await _requests(stack, get, sizes)
            console.print("[dim]Creating messages ...[/]")
            create = await _requests(stack, post, sizes)
            console.print(f"[dim]{STREAMS} streams ...[/]")
            streams = {
                "lockstitch": await _streams(stack, "server", *_own_streams(api, database, run_ids), sizes),
                "bare": await _streams(stack, "bare", *_bare_streams(stack.bare_url), sizes),
            }
            return HttpMeasurements(sizes is QUICK, retrieve, create, streams)


def _now() -> int:
    return int(time.time())


async def _add_runs(database: Database, number: int) -> list[str]:
    """Add runs that are queued, each on a thread of its own; nobody carries them on."""

    def add(connection: StoreConnection) -> list[str]:
        columns = {"model": "any", "tools": [], "tool_resources": {}, "metadata": {}, "instructions": "Answer."}
        assistant = assistants.create(connection, columns, _now())
        added = []
        for _ in range(number):
            thread = threads.create(connection, {}, _now())
            threads.add_message(connection, thread["id"], NewMessage(role="user", content="Hello."), _now())
            new = runs.NewRun(new_id("run"), thread["id"], assistant["id"], RunParameters(), _now())
            added.append(str(runs.create(connection, new)["id"]))
        return added

    return await database.write(add, long=True)


async def _requests(stack: HttpStack, exchanges: Mapping[str, Exchange], sizes: Sizes) -> Mapping[str, Requests]:
    """Measure requests in blocks that take turns, after one that does not count."""
    measured = {name: Requests() for name in exchanges}
    processes = {"lockstitch": "server", "bare": "bare"}
    for block in range(sizes.blocks + 1):
        for name in list(exchanges) if block % 2 else reversed(list(exchanges)):
            before = stack.cpu_seconds()
            rate, taken = await hammer(exchanges[name], connections=CONNECTIONS, seconds=sizes.block_seconds)
            used = stack.cpu_seconds()[processes[name]] - before[processes[name]]
            if block:
                measured[name].add(rate, taken, used / len(taken))
    return measured


Send = Callable[[int], Any]
"""Sends an event on the stream of that number."""


def _own_streams(api: str, database: Database, run_ids: Sequence[str]) -> tuple[list[Exchange], Send]:
    async def send(number: int) -> None:
        event = NewEvent("thread.message.delta", {"sent": time.time()})
        await database.write(lambda connection: event_log.append(connection, run_ids[number], [event]))

    return [Exchange(api, "GET", f"/v1/runs/{run_id}/events?after=2") for run_id in run_ids], send


def _bare_streams(origin: str) -> tuple[list[Exchange], Send]:
    opened: list[http_load.Connection] = []

    async def send(number: int) -> None:
        if not opened:
            opened.append(await http_load.Connection.open(origin))
        event = f'event: thread.message.delta\ndata: {{"sent": {time.time()}}}\n\n'.encode()
        await opened[0].exchange(Exchange(origin, "POST", f"/streams/{number}", event).encode())

    return [Exchange(origin, "GET", f"/streams/{number}") for number in range(STREAMS)], send


async def _streams(stack: HttpStack, process: str, requests: Sequence[Exchange], send: Send, sizes: Sizes) -> Streams:
    """Hold streams open, send events on all of them, evenly spread, and measure how long each was under way."""
    async with _open(requests[:20]):  # so that what the first streams load is not counted as memory of all
        await asyncio.sleep(0.2)
    memory, cpu = stack.memory()[process], stack.cpu_seconds()[process]
    async with _open(requests) as readers:
        held = (stack.memory()[process] - memory) / len(requests)
        events = round(len(requests) * EVENTS_PER_SECOND * sizes.stream_seconds)
        began = time.perf_counter()
        for number in range(events):
            due = began + number / (len(requests) * EVENTS_PER_SECOND)
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            await send(number % len(requests))
        async with asyncio.timeout(30):
            await readers.receive(events)
        used = (stack.cpu_seconds()[process] - cpu) / events
        return Streams(len(requests), tuple(readers.delays), held, used)


@asynccontextmanager
async def _open(requests: Sequence[Exchange]) -> AsyncIterator[Readers]:
    readers = Readers()
    try:
        await readers.open(requests)
        yield readers
    finally:
        await readers.aclose()


def main() -> int:
    """Measure, tell, write, and return the exit code."""
    parser = argparse.ArgumentParser(description="Measure the HTTP server.")
    parser.add_argument("--quick", action="store_true", help="measure less, in half a minute")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of http.json and http.md")
    options = parser.parse_args()
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    console = Console()
    measured = uvloop.run(measure(QUICK if options.quick else FULL, console))
    http_report.show(measured, console)
    http_report.write(measured, options.results)
    missed = [target.name for target in measured.targets() if not target.met]
    if missed:
        console.print(f"[red]Missed:[/] {'; '.join(missed)}")
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
