"""What the processes log while they are busy, and what they never log."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from lockstitch.dev import DevOptions, DevStack
from lockstitch.tests.command_line import lockstitch

SECRETS = {
    "message": "secretmessage",
    "instructions": "secretinstructions",
    "answer": "secretanswer",
    "argument": "secretargument",
    "output": "secretoutput",
    "file": "secretcontent",
    "wrong key": "sk-secretwrongkey",
    "token": "secrettoken",
    "model key": "sk-secretmodelkey",
}
SCRIPT = [
    {"when": "weather", "round": 0, "call": [{"name": "get_weather", "arguments": {"city": SECRETS["argument"]}}]},
    {"when": "weather", "round": 1, "say": f"Cold. {SECRETS['answer']}"},
]
BETA = {"openai-beta": "assistants=v2"}


@pytest.fixture
async def stack(tmp_path):
    """Processes that log everything there is to log."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps(SCRIPT))
    settings = {
        "LOCKSTITCH_MODEL_SCRIPT": str(script),
        "LOCKSTITCH_MODEL": "offline",
        "LOCKSTITCH_LOG_LEVEL": "debug",
        "LOCKSTITCH_LOG_FORMAT": "json",
        "LOCKSTITCH_TOOLS": "",
        "OPENAI_API_KEY": SECRETS["model key"],
    }
    options = DevOptions(tmp_path, port=0, temporal_port=0, ui_port=0, metrics_port=0, environment=settings, quiet=True)
    async with DevStack(options) as started:
        yield started


@pytest.fixture
async def key(stack, asked_for) -> str:
    """A key, made as people make one."""
    store = {"LOCKSTITCH_DATABASE_URL": f"sqlite:///{stack.data_dir / 'lockstitch.db'}"}
    _, out, _ = await lockstitch("keys", "create", "--project", "acme", "--json", **store)
    return str(await asked_for(stack, json.loads(out)["key"]))


async def busy_run(stack: DevStack, key: str) -> Any:
    """One round of tool calls, streamed and answered by the client."""
    tool = {"type": "function", "function": {"name": "get_weather"}}
    async with openai.AsyncOpenAI(base_url=f"{stack.server_url}/v1", api_key=key, max_retries=0) as sdk:
        await sdk.files.create(file=("a.txt", SECRETS["file"].encode()), purpose="assistants")
        assistant = await sdk.beta.assistants.create(model="script", tools=[tool], instructions=SECRETS["instructions"])
        run = await sdk.beta.threads.create_and_run_poll(
            assistant_id=assistant.id,
            thread={"messages": [{"role": "user", "content": f"The weather? {SECRETS['message']}"}]},
            poll_interval_ms=50,
        )
        calls = run.required_action.submit_tool_outputs.tool_calls
        return await sdk.beta.threads.runs.submit_tool_outputs_and_poll(
            run_id=run.id,
            thread_id=run.thread_id,
            tool_outputs=[{"tool_call_id": call.id, "output": SECRETS["output"]} for call in calls],
            poll_interval_ms=50,
        )


async def trouble(stack: DevStack, key: str) -> list[int]:
    """Requests that go wrong in every way, the last because the store lost a table."""
    given = BETA | {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(base_url=stack.server_url, headers=given, trust_env=False) as http:
        answers = [
            await http.get("/v1/assistants", headers={"authorization": f"Bearer {SECRETS['wrong key']}"}),
            await http.get("/v1/assistants", headers={"authorization": f"Basic {SECRETS['wrong key']}"}),
            await http.post("/v1/threads", content=f'{{"metadata": "{SECRETS["message"]}'.encode()),
            await http.post("/v1/threads", json={SECRETS["message"]: 1}),
            await http.get(f"/decisions/{SECRETS['token']}"),
            await http.get("/v1/assistants", headers={"x": SECRETS["wrong key"] * 3000}),
        ]
        await asyncio.to_thread(lose_a_table, stack.data_dir / "lockstitch.db")
        message = {"role": "user", "content": SECRETS["message"]}
        answers.append(await http.post("/v1/threads", json={"messages": [message]}))
    return [answer.status_code for answer in answers]


def lose_a_table(database: Path) -> None:
    import sqlite3

    with sqlite3.connect(database, timeout=30) as connection:
        connection.execute("ALTER TABLE messages RENAME TO gone")


async def test_nothing_secret_is_logged_however_busy_the_processes_are_and_whatever_goes_wrong(stack, key):
    run = await busy_run(stack, key)
    statuses = await trouble(stack, key)
    logs = {name: (stack.data_dir / f"{name}.log").read_text() for name in ("server", "worker")}

    assert (run.status, statuses) == ("completed", [401, 401, 400, 400, 404, 431, 503])
    assert run.id in logs["worker"]
    assert "store_unavailable" in logs["server"]
    for name, text in logs.items():
        found = [what for what, secret in {**SECRETS, "key": key[:20]}.items() if secret in text]
        assert found == [], name
        assert "authorization" not in text.lower(), name
