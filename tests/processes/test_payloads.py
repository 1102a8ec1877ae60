"""Encrypted and large payloads, with everything in processes of its own: workers die, keys differ, people look."""

import asyncio
import base64
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.async_api import expect

from lockstitch.dev import DevOptions, DevStack, temporal_binary
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, RunPolicy, ThreadRunRequest
from lockstitch.starter.payloads import PayloadSettings
from lockstitch.starter.temporal_server import TemporalServer
from lockstitch.tests.chromium import started_chromium
from lockstitch.tests.command_line import lockstitch
from lockstitch.tools import ToolRegistry

K1, K2 = "k1:" + "A" * 43 + "=", "k2:" + "B" * 43 + "="
ANOTHER_K1 = "k1:" + "C" * 43 + "="
SECRET = "A wish that nobody else may read."
SCRIPT = [
    {"when": "two steps", "round": 0, "call": [{"name": "first_step", "arguments": {}}]},
    {"when": "two steps", "round": 1, "call": [{"name": "second_step", "arguments": {}}]},
    {"say": "Both steps are done."},
]
HANDLERS = Path(__file__).parent / "handlers"


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevStack]:
    """A stack whose payloads are encrypted, and the large ones in a folder."""
    folder = tmp_path_factory.mktemp("private")
    (folder / "script.json").write_text(json.dumps(SCRIPT))
    settings = {
        "PYTHONPATH": str(HANDLERS),
        "LOCKSTITCH_TOOLS": "recorded_steps",
        "RECORDED_STEPS_FOLDER": str(folder),
        "LOCKSTITCH_MODEL_SCRIPT": str(folder / "script.json"),
        "LOCKSTITCH_EMBEDDER": "none",
        "LOCKSTITCH_SANDBOX": "none",
        "LOCKSTITCH_PAYLOAD_KEYS": K1,
        "LOCKSTITCH_PAYLOAD_STORE": (folder / "payloads").as_uri(),
        "LOCKSTITCH_PAYLOAD_STORE_OVER_KIB": "64",
    }
    options = DevOptions(folder, port=0, temporal_port=0, ui_port=0, metrics_port=0, environment=settings, quiet=True)
    async with DevStack(options) as started:
        yield started


@pytest.fixture(scope="module")
def server(stack) -> TemporalServer:
    payloads = PayloadSettings(keys=(K1,), store=(stack.data_dir / "payloads").as_uri(), store_over=64 * 1024)
    return TemporalServer(stack.temporal_address, payloads=payloads)


@pytest.fixture(scope="module")
async def starter(stack, server) -> AsyncIterator[Starter]:
    async with await Starter.connect(server, server_url=stack.server_url) as connected:
        yield connected


@pytest.fixture
async def request_of_two_steps(stack, client, monkeypatch) -> ThreadRunRequest:
    """A request with 1.2 MiB of messages whose second step hangs until its worker dies."""
    monkeypatch.setenv("RECORDED_STEPS_FOLDER", str(stack.data_dir))
    monkeypatch.syspath_prepend(HANDLERS)
    definitions = ToolRegistry.load(["recorded_steps"], entry_points=False).definitions()
    assistant = await client.beta.assistants.create(model="script", tools=definitions)
    texts = [f"Take two steps. {SECRET}", *("x" * 250_000 for _ in range(5)), "Take two steps."]
    messages = [NewMessage(role="user", content=text) for text in texts]
    policy = RunPolicy(heartbeat_timeout=timedelta(seconds=2))
    return ThreadRunRequest(assistant_id=assistant.id, messages=messages, policy=policy)


@pytest.mark.long
async def test_a_worker_killed_in_a_run_with_large_encrypted_messages_loses_nothing(
    stack, starter, request_of_two_steps, eventually
):
    run_id = await starter.start(request_of_two_steps)
    second = stack.data_dir / f"second_step.{run_id}"
    await eventually(lambda: asyncio.to_thread(second.exists))
    os.kill(stack.pid("worker"), signal.SIGKILL)
    result = await starter.result(run_id)

    assert result.status == "completed"
    assert [(call.name, call.attempts) for call in result.tool_calls] == [("first_step", 1), ("second_step", 2)]
    stored = [path for path in (stack.data_dir / "payloads" / "default" / run_id).iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in stored) > 1024 * 1024
    assert not any(SECRET.encode() in path.read_bytes() for path in stored)
    assert SECRET.encode() not in (stack.data_dir / "temporal.db").read_bytes()


@pytest.fixture
async def ended_run(starter, client) -> str:
    assistant = await client.beta.assistants.create(model="script")
    message = NewMessage(role="user", content=SECRET)
    request = ThreadRunRequest(assistant_id=assistant.id, messages=[message])
    run_id = await starter.start(request)
    await starter.result(run_id)
    return run_id


async def test_the_temporal_ui_shows_what_is_encrypted(stack, ended_run):
    async with started_chromium() as browser:
        page = await browser.new_page()
        await page.goto(stack.workflow_url(ended_run))
        await expect(page.get_by_text(SECRET).first).to_be_visible(timeout=60_000)


@pytest.mark.long
async def test_temporals_command_line_shows_what_is_encrypted(stack, ended_run):
    async def show(*options: str) -> bytes:
        process = await asyncio.create_subprocess_exec(
            *(temporal_binary(), "workflow", "show", "--address", stack.temporal_address, "-w", ended_run),
            *("--output", "json", "--no-json-shorthand-payloads", *options),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        started = json.loads(out)["events"][0]["workflowExecutionStartedEventAttributes"]
        return base64.b64decode(started["input"]["payloads"][0]["data"])

    assert SECRET.encode() not in await show()
    assert SECRET.encode() in await show("--codec-endpoint", f"{stack.server_url}/codec")


NO_KEYS = "are encrypted with the key 'k1', and LOCKSTITCH_PAYLOAD_KEYS has none; give this process the same keys"
OTHER_KEYS = "are encrypted with the key 'k1', and LOCKSTITCH_PAYLOAD_KEYS has only k2; give this process the same"
WRONG_KEY = "The key 'k1' of LOCKSTITCH_PAYLOAD_KEYS does not open what was encrypted"


@pytest.mark.parametrize(
    ("words", "keys", "sentence"),
    [
        ("worker", "", NO_KEYS),
        ("worker", ANOTHER_K1, WRONG_KEY),
        ("worker", "k1:short", "LOCKSTITCH_PAYLOAD_KEYS: the key 'k1' is not base64."),
        ("serve", K2, OTHER_KEYS),
        ("runs list", ANOTHER_K1, WRONG_KEY),
    ],
)
async def test_a_process_with_other_keys_does_not_start(stack, tmp_path, words, keys, sentence):
    environment = {
        "LOCKSTITCH_TEMPORAL_ADDRESS": stack.temporal_address,
        "LOCKSTITCH_DATABASE_URL": f"sqlite:///{tmp_path / 'a.db'}",
        "LOCKSTITCH_PAYLOAD_KEYS": keys,
        "LOCKSTITCH_PORT": "0",
        "LOCKSTITCH_METRICS_PORT": "0",
        "LOCKSTITCH_MODEL": "offline",
    }
    ended = await lockstitch(*words.split(), **environment)

    assert ended.code == 1
    lines = [line for line in ended.err.splitlines() if line.startswith("lockstitch: ")]
    assert len(lines) == 1
    assert sentence in lines[0]
    said = ended.out + ended.err
    assert "Traceback" not in said
    assert "worker_started" not in said
    assert "C" * 43 not in said


@pytest.mark.long
@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("LOCKSTITCH_PAYLOAD_STORE", "file:///proc/nowhere", "file:///proc/nowhere cannot be used: "),
        ("LOCKSTITCH_TEMPORAL_API_KEY", "secret-key", "cannot be used: it does not speak TLS"),
        ("LOCKSTITCH_TEMPORAL_TLS_CERT", "/a.pem", "LOCKSTITCH_TEMPORAL_TLS_CERT: a client certificate and its key"),
    ],
)
async def test_a_setting_that_cannot_be_used_is_told_by_every_command(stack, setting, value, sentence):
    environment = {
        "LOCKSTITCH_TEMPORAL_ADDRESS": stack.temporal_address,
        "LOCKSTITCH_PAYLOAD_KEYS": K1,
        setting: value,
    }
    code, out, err = await lockstitch("runs", "list", **environment)

    assert (code, out, err.count("\n")) == (1, "", 1)
    assert sentence in err
    assert "secret-key" not in err


@pytest.mark.long
async def test_the_keys_of_the_stack_show_the_runs(stack, server, ended_run):
    environment = {"LOCKSTITCH_TEMPORAL_ADDRESS": stack.temporal_address, "LOCKSTITCH_PAYLOAD_KEYS": f"{K2},{K1}"}
    code, out, _ = await lockstitch("runs", "show", ended_run, **environment)

    assert (code, ended_run in out) == (0, True)
    rotated = replace(server, payloads=replace(server.payloads, keys=(K2, K1)))
    async with await Starter.connect(rotated) as starter:
        assert (await starter.result(ended_run)).status == "completed"
