"""``lockstitch db``: what an operator does with the tables before the processes start."""

import json
from collections.abc import Awaitable, Callable

import pytest

from lockstitch.assistants.store.migrations import NEWEST
from lockstitch.tests.command_line import Ended, lockstitch

Command = Callable[..., Awaitable[Ended]]


@pytest.fixture
def db(empty_database_url: str) -> Command:
    """Run ``lockstitch db`` on a new database; return its exit code and what it said."""

    async def run(*words: str, **environment: str) -> Ended:
        return await lockstitch("db", *words, **{"LOCKSTITCH_DATABASE_URL": empty_database_url, **environment})

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
