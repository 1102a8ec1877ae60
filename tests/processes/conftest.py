"""The whole stack in processes of its own, as `lockstitch dev` starts it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from lockstitch.dev import DevOptions, DevStack
from lockstitch.starter.client import Starter

HANDLERS = Path(__file__).parent / "handlers"

SCRIPT: list[dict[str, Any]] = [
    {"when": "two steps", "round": 0, "call": [{"name": "first_step", "arguments": {}}]},
    {"when": "two steps", "round": 1, "call": [{"name": "second_step", "arguments": {}}]},
    {"when": "two steps", "round": 2, "say": "Both steps are done."},
    {"when": "long story", "say_words": 60, "delta_delay_seconds": 0.05},
    {"when": "weather", "round": 0, "call": [
        {"name": "get_weather", "arguments": {"city": "Oslo"}}, {"name": "get_weather", "arguments": {"city": "Rome"}},
    ]},
    {"when": "weather", "round": 1, "say": "Cold in Oslo, warm in Rome."},
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
        **environment,
    }
    options = DevOptions(folder, port=0, temporal_port=0, ui_port=0, metrics_port=0, environment=settings, quiet=True)
    async with DevStack(options) as stack:
        yield stack


@pytest.fixture(scope="package")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevStack]:
    """One stack for the tests of this folder."""
    async with started_stack(tmp_path_factory.mktemp("stack")) as started:
        yield started


@pytest.fixture
async def starter(stack: DevStack) -> AsyncIterator[Starter]:
    """A starter as a backend service has it."""
    async with await Starter.connect(stack.temporal_address, server_url=stack.server_url) as connected:
        yield connected


@pytest.fixture
async def client(stack: DevStack) -> AsyncIterator[openai.AsyncOpenAI]:
    """The stock SDK; nothing is set but its environment's two values."""
    async with openai.AsyncOpenAI(base_url=f"{stack.server_url}/v1", api_key="anything") as stock:
        yield stock
