"""The whole stack in processes of its own, as `lockstitch dev` starts it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from lockstitch.dev import DevOptions, DevStack
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, ThreadRunRequest
from lockstitch.starter.decision_links import DecisionLinks
from lockstitch.starter.escalations import Escalation

HANDLERS = Path(__file__).parent / "handlers"

LINK_SECRET = "a secret of these tests that is long enough"

SCRIPT: list[dict[str, Any]] = [
    {"when": "two steps", "round": 0, "call": [{"name": "first_step", "arguments": {}}]},
    {"when": "two steps", "round": 1, "call": [{"name": "second_step", "arguments": {}}]},
    {"when": "two steps", "round": 2, "say": "Both steps are done."},
    {"when": "long story", "say_words": 60, "delta_delay_seconds": 0.05},
    {"when": "weather", "round": 0, "call": [
        {"name": "get_weather", "arguments": {"city": "Oslo"}}, {"name": "get_weather", "arguments": {"city": "Rome"}},
    ]},
    {"when": "weather", "round": 1, "say": "Cold in Oslo, warm in Rome."},
    {"when": "refund", "round": 0, "call": [{"name": "refund_order", "arguments": {"order": 17}}]},
    {"when": "refund", "round": 1, "say": "It is refunded."},
    {"say": "Hello there."},
]  # fmt: skip


@asynccontextmanager
async def started_stack(folder: Path, **environment: str) -> AsyncIterator[DevStack]:
    """Start a stack on free ports with the recorded steps and the script."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "script.json"
    script.write_text(json.dumps(SCRIPT))
    settings = {
        "PYTHONPATH": str(HANDLERS),
        "LOCKSTITCH_TOOLS": "recorded_steps",
        "LOCKSTITCH_MODEL_SCRIPT": str(script),
        "RECORDED_STEPS_FOLDER": str(folder),
        "LOCKSTITCH_LINK_SECRETS": LINK_SECRET,
        "LOCKSTITCH_EMBEDDER": "static",  # what is ingested here is not about the quality of vectors
        "LOCKSTITCH_SANDBOX": "none",
        **environment,
    }
    options = DevOptions(folder, port=0, temporal_port=0, ui_port=0, metrics_port=0, environment=settings, quiet=True)
    async with DevStack(options) as stack:
        yield stack


async def until_ready(url: str, seconds: float = 90) -> None:
    """Wait until a process answers 200 on ``/readyz``."""
    async with asyncio.timeout(seconds), httpx2.AsyncClient(trust_env=False) as http:
        while True:
            with suppress(httpx2.TransportError):
                if (await http.get(f"{url}/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.2)


@pytest.fixture(scope="package")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevStack]:
    """One stack for the tests of this folder."""
    async with started_stack(tmp_path_factory.mktemp("stack")) as started:
        yield started


@pytest.fixture
def own_stack(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[DevStack]]:
    """Start a stack for one test."""
    return lambda **environment: started_stack(tmp_path / "stack", **environment)


@pytest.fixture
def asked_for(eventually) -> Callable[[DevStack, str], Any]:
    """Return a key once the server asks for keys: of the first one, others than its maker learn after seconds."""

    async def wait(stack: DevStack, key: str) -> str:
        async with httpx2.AsyncClient(base_url=stack.server_url, trust_env=False) as http:

            async def is_refused() -> bool:
                return (await http.get("/v1/files")).status_code == 401

            await eventually(is_refused)
        return key

    return wait


@pytest.fixture
async def starter(stack: DevStack) -> AsyncIterator[Starter]:
    """A starter as a backend service has it."""
    async with await Starter.connect(stack.temporal_address, server_url=stack.server_url) as connected:
        yield connected


@pytest.fixture
async def refund(client, starter, eventually) -> Escalation:
    """What a run asks whose call of ``refund_order`` waits for approval."""
    tool = {"type": "function", "function": {"name": "refund_order"}}
    assistant = await client.beta.assistants.create(model="script", tools=[tool])
    message = NewMessage(role="user", content="A refund, please.")
    run_id = await starter.start(ThreadRunRequest(assistant_id=assistant.id, messages=[message]))

    async def first() -> Escalation | None:
        return next(iter(await starter.escalations(run_id)), None)

    return await eventually(first)


@pytest.fixture
def links(stack: DevStack) -> DecisionLinks:
    """Links as the worker makes them."""
    return DecisionLinks([LINK_SECRET], stack.server_url)


@pytest.fixture
async def client(stack: DevStack) -> AsyncIterator[openai.AsyncOpenAI]:
    """The stock SDK; nothing is set but its environment's two values."""
    async with openai.AsyncOpenAI(base_url=f"{stack.server_url}/v1", api_key="anything") as stock:
        yield stock
