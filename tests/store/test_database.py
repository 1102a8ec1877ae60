"""Transactions: what they keep, and what is said when the database cannot be used."""

import asyncio
import threading

import pytest
from sqlalchemy import Connection, text

from lockstitch.assistants.store import assistants
from lockstitch.assistants.store.database import Database
from lockstitch.errors import SettingsInvalid, StoreUnavailable
from lockstitch.tests.store.sentences import one_sentence

ADD_A_LOG = text("INSERT INTO run_logs (run_id, last_seq, fence) VALUES (:run_id, 0, 0)")


def add(connection: Connection, run_id: str) -> None:
    connection.execute(ADD_A_LOG, {"run_id": run_id})


def count(connection: Connection) -> int:
    return connection.scalar(text("SELECT count(*) FROM run_logs"))


def add_and_fail(connection: Connection) -> None:
    add(connection, "run_1")
    raise ZeroDivisionError


async def test_an_exception_rolls_everything_back_and_the_next_write_works(database):
    with pytest.raises(ZeroDivisionError):
        await database.write(add_and_fail)
    await database.write(lambda connection: add(connection, "run_2"))

    assert await database.read(count) == 1


async def test_a_caller_that_is_cancelled_leaves_its_write_whole(database, eventually):
    writing = asyncio.create_task(database.write(lambda connection: add(connection, "run_1"), long=True))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await database.write(lambda connection: add(connection, "run_2"))

    async def both_are_there() -> bool:
        return await database.read(count) == 2

    assert await eventually(both_are_there)


async def test_closing_twice_finishes_what_was_begun_and_is_fine(database_url):
    database = Database(database_url)
    await database.write(lambda connection: None)
    await database.aclose()
    await database.aclose()


async def test_a_table_that_is_gone_is_said_in_one_sentence(database):
    await database.write(lambda connection: connection.execute(text("DROP TABLE run_logs")))

    with pytest.raises(StoreUnavailable, match="run_logs") as refused:
        await database.read(count)
    assert one_sentence(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "lockstitch.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///a.db?timeout=soon",
        "sqlite:///file:a.db?uri=true",
        "sqlite+aiosqlite:///a.db",
        "sqlite+nonsense:///a.db",
        "postgresql+asyncpg://somebody:secret@db/lockstitch",
        "postgresql://somebody:secret@db:port/lockstitch",
        "mysql://somebody:secret@db/lockstitch",
        "mysql://db/lockstitch?user=somebody&password=secret",
        "nonsense:///a.db",
    ],
)
def test_a_wrong_url_is_refused_without_telling_its_password(url):
    with pytest.raises(SettingsInvalid, match=r"LOCKSTITCH_DATABASE_URL: .*use a file, such as sqlite:///") as refused:
        Database(url)

    assert "secret" not in one_sentence(refused.value)


async def test_the_event_loop_goes_on_during_a_long_read(database):
    """The read waits for something that only the event loop can do."""
    begun, done = threading.Event(), threading.Event()

    def wait(connection: Connection) -> int:
        begun.set()
        assert done.wait(timeout=30)
        return connection.scalar(text("SELECT 7")) or 0

    reading = asyncio.create_task(database.read(wait, long=True))
    while not begun.is_set():
        await asyncio.sleep(0)
    assert await database.read(lambda connection: connection.scalar(text("SELECT 1"))) == 1
    done.set()

    assert await reading == 7


def test_a_database_never_shows_its_password():
    assert repr(Database("postgresql://somebody:secret@db/a")) == "Database('postgresql://somebody:***@db/a')"


async def test_text_may_have_every_character(store):
    """PostgreSQL itself has no character with the number 0."""
    awkward = "a\x00b\x1a0\x1a\U0001f9f5"
    assistant_id = await store.assistant(name=awkward, metadata={"key": awkward})

    assistant = await store.read(assistants.get, assistant_id)
    assert (assistant["name"], assistant["metadata"]) == (awkward, {"key": awkward})
