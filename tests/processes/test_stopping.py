"""A worker that is told to stop says so at once, lets what is under way finish, and is gone in time."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from lockstitch.dev import DevStack
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, ThreadRunRequest
from lockstitch.tests.command_line import LOCKSTITCH
from lockstitch.tests.processes.conftest import HANDLERS, until_ready
from lockstitch.tests.processes.test_several_processes import free_port, is_ready
from lockstitch.worker import STOP_MARGIN

STEPS = ("slow_step", "endless_step", "deaf_step")
SCRIPT = [{"when": name, "round": 0, "call": [{"name": name, "arguments": {}}]} for name in STEPS]
SCRIPT += [{"say": "Done."}]


@dataclass
class Worker:
    """A worker of its own beside the stack's, with its own task queue."""

    process: asyncio.subprocess.Process
    url: str
    starter: Starter
    begun: Path
    assistant_id: str

    async def call(self, name: str, eventually) -> str:
        """Start a run and wait until its handler runs."""
        message = NewMessage(role="user", content=name)
        run_id = await self.starter.start(ThreadRunRequest(assistant_id=self.assistant_id, messages=[message]))
        await eventually(lambda: asyncio.to_thread(self.begun.exists))
        return run_id

    def tell(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def seconds_to_the_end(self) -> float:
        began = time.monotonic()
        await asyncio.wait_for(self.process.wait(), 60)
        return time.monotonic() - began


@pytest.fixture
def own_worker(stack: DevStack, client, tmp_path, eventually):
    """Start a worker with a time of grace."""

    @asynccontextmanager
    async def start(grace: int) -> AsyncIterator[Worker]:
        script, begun, port, queue = tmp_path / "script.json", tmp_path / "begun", free_port(), f"stopping-{uuid4()}"
        script.write_text(json.dumps(SCRIPT))
        environment = {
            **os.environ,
            "PYTHONPATH": str(HANDLERS),
            "BEGUN_FILE": str(begun),
            "LOCKSTITCH_TOOLS": "stubborn",
            "LOCKSTITCH_MODEL_SCRIPT": str(script),
            "LOCKSTITCH_TEMPORAL_ADDRESS": stack.temporal_address,
            "LOCKSTITCH_DATABASE_URL": f"sqlite:///{stack.data_dir / 'lockstitch.db'}",
            "LOCKSTITCH_TASK_QUEUE": queue,
            "LOCKSTITCH_METRICS_PORT": str(port),
            "LOCKSTITCH_SHUTDOWN_GRACE_SECONDS": str(grace),
        }
        command = [*LOCKSTITCH, "worker"]
        process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}"
        tools = [{"type": "function", "function": {"name": name}} for name in STEPS]
        assistant = await client.beta.assistants.create(model="script", tools=tools)
        try:
            await until_ready(url)
            async with await Starter.connect(stack.temporal_address, task_queue=queue) as starter:
                yield Worker(process, url, starter, begun, assistant.id)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    return start


async def test_a_worker_that_stops_is_not_ready_and_lets_a_handler_finish(own_worker, eventually):
    async with own_worker(grace=20) as worker:
        run_id = await worker.call("slow_step", eventually)
        worker.tell()

        async def unready() -> httpx2.Response | None:
            async with httpx2.AsyncClient(trust_env=False) as http:
                answer = await http.get(f"{worker.url}/readyz")
                return answer if answer.status_code == 503 else None

        answer = await eventually(unready, timeout=1)
        assert answer.json()["problems"]["worker"] == "it is stopping"
        assert await worker.seconds_to_the_end() < 20  # no longer than it needs
        assert worker.process.returncode == 0
        history = await worker.starter.temporal.get_workflow_handle(run_id).fetch_history()
        done = [event for event in history.events if event.HasField("activity_task_completed_event_attributes")]
        assert len(done) == 2  # the turn and the handler, and nothing was begun after it


async def test_a_handler_that_never_ends_is_given_back_after_the_grace(own_worker, eventually):
    async with own_worker(grace=2) as worker:
        await worker.call("endless_step", eventually)
        worker.tell()

        assert 1.5 < await worker.seconds_to_the_end() < 2 + STOP_MARGIN.total_seconds()
        assert worker.process.returncode == 0


async def test_a_handler_that_heeds_nothing_does_not_keep_the_process(own_worker, eventually):
    async with own_worker(grace=1) as worker:
        await worker.call("deaf_step", eventually)
        worker.tell()

        assert await worker.seconds_to_the_end() < 1 + STOP_MARGIN.total_seconds() + 1
        assert worker.process.returncode == 1


async def test_a_second_signal_ends_a_worker_at_once(own_worker, eventually):
    async with own_worker(grace=60) as worker:
        await worker.call("endless_step", eventually)
        worker.tell()
        await eventually(lambda: is_unready(worker.url))
        worker.tell()

        assert await worker.seconds_to_the_end() < 5


async def is_unready(url: str) -> bool:
    return not await is_ready(url)
