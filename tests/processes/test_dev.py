"""`lockstitch dev` and `lockstitch demo`, which start everything, and what is asked of it with a key."""

import asyncio
import json
import signal

import openai
import psutil
import pytest

from lockstitch.tests.command_line import LOCKSTITCH, lockstitch, lockstitch_anew


async def test_the_demo_prints_one_event_per_line_and_ends_with_the_result():
    code, out, err = await lockstitch_anew("demo", "--json", OPENAI_API_KEY="", OPENAI_BASE_URL="")

    assert (code, err) == (0, "")
    *events, result = map(json.loads, out.splitlines())
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert result["status"] == "completed"
    assert sorted(call["attempts"] for call in result["tool_calls"]) == [1, 2]
    assert result["duration_seconds"] > 0
    finished = 'lockstitch_runs_finished_total{backend="local",status="completed",tenant_class="default"} 1.0'
    assert result["metrics"] == finished
    assert result["run_id"] in result["temporal_ui"]


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_dev_embeds_where_it_can_and_leaves_no_process_behind(number, tmp_path, eventually):
    words = ["dev", "--data-dir", str(tmp_path)]
    words += [word for name in ("port", "temporal-port", "ui-port", "metrics-port") for word in (f"--{name}", "0")]
    process = await asyncio.create_subprocess_exec(*LOCKSTITCH, *words, stdout=asyncio.subprocess.PIPE)
    while b"Ready" not in (line := await process.stdout.readline()):
        assert line, "it ended before it was ready"
    started = psutil.Process(process.pid).children()
    children = psutil.Process(process.pid).children(recursive=True)  # with the sessions of the sandbox
    embedders = [child.environ().get("LOCKSTITCH_EMBEDDER") for child in started]
    process.send_signal(number)
    await process.wait()

    async def gone():
        return not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)

    assert len(started) == 3
    assert embedders.count("minilm") == 2  # of the worker and the server
    await eventually(gone)


@pytest.mark.long
async def test_a_run_is_watched_with_a_key_where_keys_are_asked_for(own_stack, asked_for):
    async with own_stack() as stack:
        store = {"LOCKSTITCH_DATABASE_URL": f"sqlite:///{stack.data_dir / 'lockstitch.db'}"}
        _, made, _ = await lockstitch("keys", "create", "--project", "default", "--json", **store)
        key = await asked_for(stack, json.loads(made)["key"])
        async with openai.AsyncOpenAI(base_url=f"{stack.server_url}/v1", api_key=key) as client:
            assistant = await client.beta.assistants.create(model="script")
        reach = {"LOCKSTITCH_TEMPORAL_ADDRESS": stack.temporal_address, "LOCKSTITCH_SERVER_URL": stack.server_url}
        watch = ("run", "Hello.", "--assistant", assistant.id)
        code, out, _ = await lockstitch(*watch, **reach, LOCKSTITCH_SERVER_API_KEY=key)
        refused, _, err = await lockstitch(*watch, **reach)

    assert code == 0
    assert "Hello there." in out
    assert refused == 1
    assert (
        err == f"lockstitch: The server at {stack.server_url} takes no requests without a key of its own; set "
        "LOCKSTITCH_SERVER_API_KEY, or give the starter an api_key.\n"
    )
