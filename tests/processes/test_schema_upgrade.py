"""The tables are upgraded under processes of the release before, which go on, and start again where that only added."""

import os
import signal
import sqlite3
from contextlib import closing

import httpx2
import openai
import pytest

NEXT_VERSION = """
    ALTER TABLE threads ADD COLUMN colour TEXT;
    ALTER TABLE runs ADD COLUMN weight INTEGER NOT NULL DEFAULT 1;
    CREATE TABLE weights (id TEXT PRIMARY KEY, weight INTEGER NOT NULL);
    CREATE INDEX ix_threads_colour ON threads (colour);
    UPDATE alembic_version SET version_num = '9999';
"""


@pytest.mark.long
async def test_processes_go_on_and_come_back_while_a_newer_release_upgrades_the_tables(own_stack):
    async with own_stack() as stack, openai.AsyncOpenAI(base_url=f"{stack.server_url}/v1", api_key="any") as client:
        assistant = await client.beta.assistants.create(model="script")
        thread = {"messages": [{"role": "user", "content": "Hello."}]}
        before = await client.beta.threads.create_and_run_poll(assistant_id=assistant.id, thread=thread)
        database = stack.data_dir / "lockstitch.db"
        with closing(sqlite3.connect(database)) as connection:
            connection.executescript(NEXT_VERSION)

        after = await client.beta.threads.create_and_run_poll(assistant_id=assistant.id, thread=thread)
        messages = await client.beta.threads.messages.list(after.thread_id)
        os.kill(stack.pid("worker"), signal.SIGKILL)  # the stack starts it again, on the newer tables
        again = await client.beta.threads.create_and_run_poll(assistant_id=assistant.id, thread=thread)
        async with httpx2.AsyncClient(trust_env=False) as http:
            ready = await http.get(f"{stack.server_url}/readyz")

    assert (before.status, after.status, again.status) == ("completed", "completed", "completed")
    assert ready.status_code == 200
    assert messages.data[0].content[0].text.value == "Hello there."
