"""A scripted Assistants server, and the stock SDK that talks to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from lockstitch.testing.assistants_upstream import AssistantsUpstream

CALLS = {
    "round": 0,
    "say": "Let me look.",
    "call": [
        {"name": "find", "arguments": {"n": 1}, "call_id": "call_a"},
        {"name": "price", "arguments": {}, "call_id": "call_b"},
    ],
}
ANSWER = {"say": "One two three four.", "usage": {"prompt_tokens": 11, "completion_tokens": 5}}
OUTPUTS = [{"tool_call_id": "call_a", "output": "found"}, {"tool_call_id": "call_b", "output": "9 euros"}]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The SDK says "deprecated" of every method that these tests are about."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning"))


@pytest.fixture
async def upstream() -> AsyncIterator[AssistantsUpstream]:
    """A server whose model calls two functions and then answers."""
    async with AssistantsUpstream([CALLS, {"round": 1, **ANSWER}]) as running:
        yield running


@pytest.fixture(scope="session")
async def sdk() -> AsyncIterator[AsyncOpenAI]:
    """The SDK, made once: that takes longer than a test."""
    async with AsyncOpenAI(base_url="http://127.0.0.1:9", api_key="anything", max_retries=0) as opened:
        yield opened


@dataclass
class Asking:
    """A client, an assistant and a thread on which somebody has asked something."""

    client: AsyncOpenAI
    assistant_id: str
    thread_id: str

    @property
    def runs(self) -> Any:
        return self.client.beta.threads.runs

    async def create(self, **values: Any) -> Any:
        """Create a run."""
        return await self.runs.create(self.thread_id, assistant_id=self.assistant_id, **values)

    async def retrieve(self, run_id: str) -> Any:
        return await self.runs.retrieve(run_id, thread_id=self.thread_id)

    async def cancel(self, run_id: str) -> Any:
        return await self.runs.cancel(run_id, thread_id=self.thread_id)

    async def submit(self, run_id: str, **values: Any) -> Any:
        given = {"tool_outputs": OUTPUTS, **values}
        return await self.runs.submit_tool_outputs(run_id, thread_id=self.thread_id, **given)


@pytest.fixture
def ask(sdk: AsyncOpenAI) -> Callable[[AssistantsUpstream], Awaitable[Asking]]:
    """Ask something on a new thread of a server."""

    async def begin(upstream: AssistantsUpstream) -> Asking:
        client = sdk.with_options(base_url=upstream.base_url)
        tool = {"type": "function", "function": {"name": "find"}}
        assistant = await client.beta.assistants.create(model="test", tools=[tool])
        thread = await client.beta.threads.create(messages=[{"role": "user", "content": "Well?"}])
        return Asking(client, assistant.id, thread.id)

    return begin


@pytest.fixture
async def asking(upstream: AssistantsUpstream, ask: Any) -> Asking:
    return await ask(upstream)


@pytest.fixture
async def background() -> AsyncIterator[Callable[..., asyncio.Task[Any]]]:
    """Do something meanwhile; what is left at the end is cancelled."""
    tasks: list[asyncio.Task[Any]] = []

    def begin(work: Any) -> asyncio.Task[Any]:
        tasks.append(asyncio.create_task(work))
        return tasks[-1]

    yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
