"""The main job in one command: a run with two tools on an embedded stack, from the upload to the metrics."""

import tempfile
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

import httpx2
import openai

from lockstitch.config import Config
from lockstitch.dev import DevOptions, DevStack
from lockstitch.run_view import RunView, show
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, ThreadRunRequest, ThreadRunResult
from lockstitch.starter.temporal_server import TemporalServer
from lockstitch.temporal_choice import chosen_temporal
from lockstitch.tools import ToolRegistry

TOOLS = "lockstitch.examples.sales_tools"
QUESTION = "Add up the sales by month in the file {file_id} and find the best product of the file {file_id}."
INSTRUCTIONS = "You answer questions about sales files. Use the tools, and say the numbers."


@asynccontextmanager
async def demo_stack() -> AsyncIterator[DevStack]:
    """Start everything on free ports, with the demo's tools, in a folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="lockstitch-demo-") as folder:
        options = DevOptions(
            data_dir=Path(folder),
            port=0,
            temporal_port=0,
            ui_port=0,
            metrics_port=0,
            environment={"LOCKSTITCH_TOOLS": TOOLS},
            quiet=True,
        )
        async with DevStack(options) as stack:
            yield stack


async def run_demo(stack: DevStack, config: Config, model: str, view: RunView) -> ThreadRunResult:
    """Upload the sales, create an assistant with two tools, run its thread, and show what happens."""
    assistant_id, file_id = await _prepare(stack, "offline" if config.uses_offline_model else model)
    request = ThreadRunRequest(
        assistant_id=assistant_id, messages=[NewMessage(role="user", content=QUESTION.format(file_id=file_id))]
    )
    temporal = TemporalServer(stack.temporal_address, payloads=chosen_temporal(config).payloads)
    async with await Starter.connect(temporal, server_url=stack.server_url) as starter:
        run_id = await starter.start(request)
        await show(starter.stream(run_id), view)
        result = await starter.result(run_id)
    links = {"metrics": await _metrics_line(stack), "temporal_ui": stack.workflow_url(run_id)}
    view.result(result, links)
    return result


async def _prepare(stack: DevStack, model: str) -> tuple[str, str]:
    client = openai.AsyncOpenAI(base_url=f"{stack.server_url}/v1", api_key="demo")
    csv = resources.files("lockstitch.examples").joinpath("sales.csv").read_bytes()
    definitions = ToolRegistry.load([TOOLS], entry_points=False).definitions()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the API is deprecated at OpenAI, not here
        uploaded = await client.files.create(file=("sales.csv", csv), purpose="assistants")
        assistant = await client.beta.assistants.create(
            model=model,
            name="Sales analyst",
            instructions=INSTRUCTIONS,
            tools=definitions,  # type: ignore[arg-type]  # the SDK types each tool, ours come as JSON
        )
    await client.close()
    return assistant.id, uploaded.id


async def _metrics_line(stack: DevStack) -> str:
    """Return the line that counts the demo's run, of the worker's metrics."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        page = await client.get(f"{stack.metrics_url}/metrics")
    counted = [line for line in page.text.splitlines() if line.startswith("lockstitch_runs_finished_total{")]
    return counted[0] if counted else "no run is counted yet"
