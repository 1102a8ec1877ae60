"""SQLite: who may write and who waits, and what is said when the file cannot be used."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, make_url, text

from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.sqlite import POLL_SECONDS, SqliteDriver
from lockstitch.assistants.store.sqlite_writer import WRITES_PER_CHECKPOINT
from lockstitch.errors import StoreUnavailable
from lockstitch.tests.store.sentences import one_sentence

pytestmark = pytest.mark.on_database("sqlite")

ADD_A_LOG = text("INSERT INTO run_logs (run_id, last_seq, fence) VALUES (:run_id, 0, 0)")


def add(connection: Connection, run_id: str) -> None:
    connection.execute(ADD_A_LOG, {"run_id": run_id})


def count(connection: Connection) -> int:
    return connection.scalar(text("SELECT count(*) FROM run_logs"))


def pragma(connection: Connection, setting: str) -> None:
    connection.execute(text(f"PRAGMA {setting}"))


async def test_writes_take_turns_so_that_none_sees_another_half_done(database):
    def bump(connection: Connection) -> None:
        before = connection.scalar(text("SELECT last_seq FROM run_logs"))
        connection.execute(text("UPDATE run_logs SET last_seq = :next"), {"next": before + 1})

    await database.write(lambda connection: add(connection, "run_1"))
    async with Database(database.url) as other:
        await asyncio.gather(*(opened.write(bump) for opened in (database, other) * 20))

    assert await database.read(lambda connection: connection.scalar(text("SELECT last_seq FROM run_logs"))) == 40


class CountingDriver(SqliteDriver):
    """A driver that counts how often it is asked whether anybody wrote."""

    polls = 0

    async def version(self) -> int:
        self.polls += 1
        return await super().version()


@pytest.fixture
async def driver(database: Database) -> AsyncIterator[CountingDriver]:
    opened = CountingDriver(make_url(database.url), timedelta(seconds=15))
    yield opened
    await opened.aclose()


async def test_what_another_process_has_written_is_seen_and_changes_the_version(driver, database):
    before = await driver.version()
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()"
    insert = "INSERT INTO run_logs (run_id, last_seq, fence) VALUES ('run_1', 0, 0)"
    path = database.url.removeprefix("sqlite:///")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, path, insert)

    assert await process.wait() == 0
    assert await driver.version() != before
    assert await database.read(count) == 1


async def test_a_version_stays_while_nobody_writes(driver):
    assert await driver.version() == await driver.version()


async def test_nobody_is_asked_whether_anybody_wrote_while_nobody_watches(driver):
    watched = asyncio.Event()
    watched.set()
    async with aclosing(driver.appends(watched)) as appends:
        assert await anext(appends) is None
        assert await anext(appends) == set()
        watched.clear()
        waiting = asyncio.create_task(anext(appends))
        await asyncio.wait([waiting], timeout=20 * POLL_SECONDS)
        assert not waiting.done()
        assert driver.polls == 1
        watched.set()

        assert await waiting is None  # whatever came meanwhile


async def opening(path: Path | str) -> str:
    """Open the database, which fails, and return what is said."""
    with pytest.raises(StoreUnavailable) as refused:
        async with Database(f"sqlite:///{path}"):
            pass
    return one_sentence(refused.value)


async def test_a_missing_folder_is_named(tmp_path):
    said = await opening(tmp_path / "missing" / "a.db")

    assert said.startswith(f"The database sqlite:///{tmp_path}/missing/a.db cannot be used")
    assert "the folder is missing or may not be written" in said


async def test_a_folder_in_place_of_the_file_cannot_be_opened(tmp_path):
    assert "unable to open database file" in await opening(tmp_path)


async def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("Not a database, but a text of more than a hundred bytes. " * 3)

    assert "file is not a database" in await opening(path)
    assert path.read_text().startswith("Not a database")


async def test_a_folder_in_place_of_the_write_ahead_log_stops_the_start(tmp_path):
    (tmp_path / "a.db-wal").mkdir()

    assert "cannot be used" in await opening(tmp_path / "a.db")


async def test_a_full_disk_is_called_full_and_writing_goes_on_when_there_is_room(database):
    def add_much(connection: Connection) -> None:
        connection.execute(
            text("INSERT INTO run_events (run_id, seq, attempt, event, data) VALUES ('run_1', 1, 1, 'e', :data)"),
            {"data": "x" * 1_000_000},
        )

    await database.write(lambda connection: pragma(connection, "max_page_count = 1"))  # as many as there are
    with pytest.raises(StoreUnavailable, match="the disk is full") as refused:
        await database.write(add_much)
    assert one_sentence(refused.value)
    await database.write(lambda connection: pragma(connection, "max_page_count = 1000000"))
    await database.write(add_much)


async def test_a_file_that_may_not_be_written_can_still_be_read(database):
    await database.write(lambda connection: pragma(connection, "query_only = ON"))

    with pytest.raises(StoreUnavailable, match="the file may not be written"):
        await database.write(lambda connection: add(connection, "run_1"))
    assert await database.read(count) == 0


async def test_a_file_that_another_process_holds_is_waited_for_and_then_given_up(database):
    holder = sqlite3.connect(database.url.removeprefix("sqlite:///"), isolation_level=None)
    async with Database(database.url, patience=timedelta(milliseconds=20)) as impatient:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="database is locked"):
            await impatient.write(lambda connection: add(connection, "run_1"))
        patient = asyncio.create_task(database.write(lambda connection: add(connection, "run_1")))
        await asyncio.sleep(0)
        holder.close()  # the lock is free, and who waited has its turn
        await patient
        await impatient.write(lambda connection: add(connection, "run_2"))

    assert await database.read(count) == 2


async def test_the_event_loop_goes_on_while_a_write_waits_for_another_process(database):
    holder = sqlite3.connect(database.url.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    first = asyncio.create_task(database.write(lambda connection: add(connection, "run_1")))
    second = asyncio.create_task(database.write(lambda connection: add(connection, "run_2")))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not first.done()
    assert not second.done()
    holder.close()

    await asyncio.gather(first, second)
    assert await database.read(count) == 2


async def test_the_log_is_moved_into_the_database_as_it_grows(database):
    """A write-ahead log that nobody empties would make every read slower."""
    log = Path(database.url.removeprefix("sqlite:///") + "-wal")
    for number in range(WRITES_PER_CHECKPOINT):
        await database.write(lambda connection, number=number: add(connection, f"run_{number}"))
    await database.write(lambda connection: add(connection, "run_last"), long=True)  # behind the checkpoint
    size = log.stat().st_size
    for number in range(WRITES_PER_CHECKPOINT // 2):
        await database.write(lambda connection, number=number: add(connection, f"run_more_{number}"))

    assert log.stat().st_size == size  # what was moved is written over
