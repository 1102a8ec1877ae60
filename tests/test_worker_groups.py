"""Groups of workers that each do a part: what one of them is for, no other takes, and it needs no more than that."""

import asyncio
import json
import os
import signal
import sys
import sysconfig
from pathlib import Path

from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.config import Config
from lockstitch.tools import tool
from lockstitch.worker import build_workers


@tool(task_queue="vision")
async def lookup_order(number: int) -> dict[str, object]:
    """Look up an order."""
    return {"order": number, "status": "seen"}


async def test_a_tool_with_its_own_task_queue_is_called_by_the_group_that_serves_tools(engine):
    async with engine([lookup_order], workers=False) as lockstitch:

        def group(serves):
            config = Config(task_queue=lockstitch.task_queue, worker_serves=(serves,))
            parts = (lockstitch.temporal, config, lockstitch.database, OfflineModel(), lockstitch.tools)
            return build_workers(*parts)

        [carrier], [caller] = group("runs"), group("tools")
        assert (carrier.task_queue, caller.task_queue) == (lockstitch.task_queue, "vision")
        async with carrier:
            run_id = await lockstitch.starter.start(await lockstitch.request("Look up order 17."))
            async with caller:
                result = await lockstitch.starter.result(run_id)

    assert result.status == "completed"
    assert "seen" in result.last_message_text


def started_worker(temporal, database_url, **settings):
    """Start `lockstitch worker` as a pod would: with these settings and no others."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("LOCKSTITCH_", "OPENAI_"))}
    environment = {
        **own,
        "LOCKSTITCH_TEMPORAL_ADDRESS": temporal.service_client.config.target_host,
        "LOCKSTITCH_DATABASE_URL": database_url,
        "LOCKSTITCH_METRICS_PORT": "0",
        "LOCKSTITCH_LOG_FORMAT": "json",
        **settings,
    }
    program = Path(sysconfig.get_path("scripts")) / "lockstitch"
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.STDOUT}
    return asyncio.create_subprocess_exec(sys.executable, program, "worker", env=environment, **pipes)


async def test_a_worker_of_code_alone_opens_no_model_and_no_embedder(temporal, database_url):
    """The settings name both, and neither can be opened here; nor is the server that they name asked for anything."""
    worker = await started_worker(
        temporal,
        database_url,
        LOCKSTITCH_TASK_QUEUE="code-alone",
        LOCKSTITCH_WORKER_SERVES="code",
        LOCKSTITCH_SANDBOX="sandlock",
        LOCKSTITCH_SANDBOX_WARM_KERNELS="0",
        LOCKSTITCH_MODEL_SCRIPT="/does/not/exist.json",
        LOCKSTITCH_EMBEDDER="endpoint",
        LOCKSTITCH_ASSISTANTS_URL="http://127.0.0.1:9/v1",
    )
    said = []
    async with asyncio.timeout(60):
        while not said or said[-1].get("event") != "worker_started":
            line = await worker.stdout.readline()
            assert line, said
            said.append(json.loads(line))
        worker.send_signal(signal.SIGTERM)
        await worker.stdout.read()
        code = await worker.wait()

    assert (said[-1]["serves"], said[-1]["model"]) == (["code"], None)
    assert code == 0
