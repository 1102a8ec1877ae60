"""The server as a process: it is commanded over HTTP, and what it answered survives kill -9."""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

OUTPUTS = [{"tool_call_id": "call_a", "output": "found"}]
SCRIPT = [{"round": 0, "call": [{"name": "find", "call_id": "call_a"}]}, {"round": 1, "say": "Found."}]
PACKAGE = Path(__file__).parents[2] / ".typecheck"


@asynccontextmanager
async def server(folder, *options):
    """Start the server and wait until it listens."""
    ready = folder / "origin"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "lockstitch.testing.assistants_upstream", "--ready-file", str(ready), *options]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, env=environment)
    try:
        async with asyncio.timeout(60):
            while not ready.exists() and process.returncode is None:
                await asyncio.sleep(0.02)
        headers = {"openai-beta": "assistants=v2"}
        async with httpx2.AsyncClient(base_url=ready.read_text(), headers=headers, trust_env=False) as http:
            yield http, process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def told(http, run_id, status):
    """Wait until a run has a status, and return what is told of it."""
    async with asyncio.timeout(20):
        while (answer := (await http.get(f"/control/runs/{run_id}")).json())["run"]["status"] != status:
            await asyncio.sleep(0.02)
    return answer


async def create_run(http):
    assistant = (await http.post("/v1/assistants", json={"model": "test"})).json()
    body = {"assistant_id": assistant["id"], "instructions": "Hi", "metadata": {"ticket": "17"}}
    with pytest.raises(httpx2.TransportError):
        await http.post("/v1/threads/runs", json=body)
    [run] = (await http.get("/control/runs", params={"ticket": "17"})).json()
    return run


async def test_what_was_answered_survives_a_killed_server_and_faults_that_happened_do_not_return(tmp_path):
    (tmp_path / "script.json").write_text(json.dumps(SCRIPT))
    faults = [{"fault": "LoseAnswer", "on": "create_run"}, {"fault": "StayQueued", "on": "submit_tool_outputs"}]
    (tmp_path / "faults.json").write_text(json.dumps(faults))
    options = ["--script", "script.json", "--faults", "faults.json", "--state-file", "state.db"]
    async with server(tmp_path, *options) as (http, process):
        run = await create_run(http)
        await told(http, run["id"], "requires_action")
        path = f"/v1/threads/{run['thread_id']}/runs/{run['id']}/submit_tool_outputs"
        assert (await http.post(path, json={"tool_outputs": OUTPUTS})).json()["status"] == "queued"
        process.kill()
        await process.wait()

    async with server(tmp_path, *options) as (http, _):
        held = (await http.get(f"/control/runs/{run['id']}")).json()
        journal = (await http.get("/control/journal")).json()
        planned = (await http.get("/control/faults")).json()
        await http.post(f"/control/runs/{run['id']}/resume")
        await told(http, run["id"], "completed")
        messages = (await http.get(f"/openai/threads/{run['thread_id']}/messages?api-version=v1")).json()

    assert (held["run"]["status"], held["accepted"]) == ("queued", {"call_a": 1})
    assert [(entry["number"], entry["operation"]) for entry in journal] == [
        (1, "create_assistant"),
        (2, "create_run"),
        (3, "submit_tool_outputs"),
    ]
    assert [entry["happened"] for entry in planned] == [1, 1]
    assert messages["data"][0]["content"][0]["text"]["value"] == "Found."


async def test_a_server_is_commanded_over_http(tmp_path):
    async with server(tmp_path) as (http, _):
        assert (await http.post("/control/faults", json={"fault": "LoseAnswer", "on": "create_run"})).status_code == 200
        assert (await http.post("/control/faults", json={"fault": "Explode"})).status_code == 400
        await http.post("/control/faults", json=[{"fault": "StayQueued"}])
        run = await create_run(http)
        expired = (await http.post(f"/control/runs/{run['id']}/expire")).json()
        unknown = await http.post("/control/runs/run_unknown/expire")
        wrong = await http.post(f"/control/runs/{run['id']}/explode")
        cleared = (await http.delete("/control/faults")).json()
        assert (await http.post("/control/release_answers")).status_code == 200

    assert expired["run"]["status"] == "expired"
    assert (unknown.status_code, wrong.status_code, cleared) == (404, 404, [])
