"""``lockstitch db``: what an operator does with the tables before the processes start."""

import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, create_subprocess_exec
from collections.abc import Awaitable, Callable

import pytest

from lockstitch.assistants.store.migrations import NEWEST

Command = Callable[..., Awaitable[tuple[int | None, str, str]]]


@pytest.fixture
def db(empty_database_url: str) -> Command:
    """Run ``lockstitch db`` on a new database; return its exit code and what it said."""

    async def run(*words: str, **environment: str) -> tuple[int | None, str, str]:
        settings = {"COLUMNS": "200", "LOCKSTITCH_DATABASE_URL": empty_database_url, **environment}
        command = [sys.executable, "-P", "-m", "lockstitch.cli", "db", *words]
        process = await create_subprocess_exec(
            *command, env={**os.environ, **settings}, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    return run


async def test_a_new_database_is_shown_upgraded_and_then_left_as_it_is(db):
    assert await db("current") == (1, f"There are no tables; this release needs version {NEWEST}.\n", "")
    assert await db("upgrade") == (0, f"There were no tables; they are of version {NEWEST} now.\n", "")
    assert await db("upgrade") == (0, f"The tables are of version {NEWEST} already.\n", "")

    code, out, _ = await db("current", "--json")
    assert (code, json.loads(out)) == (0, {"version": NEWEST, "needed": NEWEST})


async def test_a_database_that_cannot_be_used_is_said_in_one_line(db):
    code, out, err = await db("upgrade", LOCKSTITCH_DATABASE_URL="sqlite:////no/such/folder/a.db")

    assert (code, out) == (1, "")
    assert err.startswith("lockstitch: The database sqlite:////no/such/folder/a.db cannot be used")
    assert err.count("\n") == 1
