"""The tables are upgraded under processes of the release before, which go on; one that starts afterwards does not."""

import sqlite3
from contextlib import closing

import httpx2
import openai

from lockstitch.tests.processes.test_cli import lockstitch

NEXT_VERSION = """
    ALTER TABLE threads ADD COLUMN colour TEXT;
    ALTER TABLE runs ADD COLUMN weight INTEGER NOT NULL DEFAULT 1;
    CREATE TABLE weights (id TEXT PRIMARY KEY, weight INTEGER NOT NULL);
    CREATE INDEX ix_threads_colour ON threads (colour);
    UPDATE alembic_version SET version_num = '9999';
"""


async def test_processes_go_on_while_a_newer_release_upgrades_the_tables(own_stack):
    async with own_stack() as stack, openai.AsyncOpenAI(base_url=f"{stack.server_url}/v1", api_key="any") as client:
        assistant = await client.beta.assistants.create(model="script")
        thread = {"messages": [{"role": "user", "content": "Hello."}]}
        before = await client.beta.threads.create_and_run_poll(assistant_id=assistant.id, thread=thread)
        database = stack.data_dir / "lockstitch.db"
        with closing(sqlite3.connect(database)) as connection:
            connection.executescript(NEXT_VERSION)

        after = await client.beta.threads.create_and_run_poll(assistant_id=assistant.id, thread=thread)
        messages = await client.beta.threads.messages.list(after.thread_id)
        url = f"sqlite:///{database}"
        starts = [await lockstitch(word, LOCKSTITCH_DATABASE_URL=url, LOCKSTITCH_METRICS_PORT="0", LOCKSTITCH_PORT="0")
                  for word in ("worker", "serve")]  # fmt: skip
        async with httpx2.AsyncClient(trust_env=False) as http:
            ready = await http.get(f"{stack.server_url}/readyz")

    assert (before.status, after.status, ready.status_code) == ("completed", "completed", 200)
    assert messages.data[0].content[0].text.value == "Hello there."
    said = (
        f"lockstitch: The database sqlite:///{database} cannot be used: a newer release has upgraded it to version 9999"
    )
    for code, _, err in starts:
        assert code == 1
        assert err.splitlines()[-1].startswith(said)
