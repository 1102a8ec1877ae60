"""A process whose tables take long to upgrade is alive, not ready, and not killed for it."""

import os
import sqlite3
from contextlib import AsyncExitStack, closing

import httpx2
import pytest

from lockstitch.tests.processes.test_several_processes import free_port, is_ready, started

PROBLEM = "its tables are being opened, and upgraded where they are older than this release"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("word", ["serve", "worker"])
async def test_a_process_answers_probes_while_its_tables_are_upgraded(word, temporal, tmp_path, eventually):
    port, path = free_port(), tmp_path / "lockstitch.db"
    settings = {
        **os.environ,
        "LOCKSTITCH_TEMPORAL_ADDRESS": temporal.service_client.config.target_host,
        "LOCKSTITCH_TASK_QUEUE": f"slow-{word}",
        "LOCKSTITCH_DATABASE_URL": f"sqlite:///{path}",
        "LOCKSTITCH_PORT": str(port),
        "LOCKSTITCH_METRICS_PORT": str(port),
    }
    url = f"http://127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=url, trust_env=False))
        upgrading = stack.enter_context(closing(sqlite3.connect(path)))
        upgrading.execute("PRAGMA journal_mode = WAL")
        upgrading.execute("BEGIN IMMEDIATE")  # as whoever upgrades: others wait
        await started(word, settings, stack)

        async def answers() -> httpx2.Response | None:
            try:
                return await http.get("/healthz")
            except httpx2.TransportError:
                return None

        alive = await eventually(answers, 60)
        ready = await http.get("/readyz")
        asked = await http.get("/v1/assistants", headers={"openai-beta": "assistants=v2"})
        upgrading.rollback()
        await eventually(lambda: is_ready(url), 60)
        served = await http.get("/v1/assistants", headers={"openai-beta": "assistants=v2"})

    assert alive.status_code == 200
    assert (ready.status_code, ready.json()["problems"]["database"]) == (503, PROBLEM)
    if word == "serve":
        assert (asked.status_code, asked.headers["retry-after"]) == (503, "1")
        assert asked.json()["error"]["message"] == "The server is starting. Please try again later."
        assert served.status_code == 200
