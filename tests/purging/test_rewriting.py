"""What a database's files still have of what was deleted."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from lockstitch.assistants.store import threads
from lockstitch.assistants.store.database import Database
from lockstitch.errors import StoreUnavailable
from lockstitch.starter.contract import NewMessage

WORD = b"kingfisher"


async def forget_a_thread(database: Database) -> None:
    """Let a thread be, and delete it."""

    def add(connection) -> str:
        thread_id = threads.create(connection, {}, 1)["id"]
        threads.add_message(connection, thread_id, NewMessage(role="user", content=WORD.decode()), 1)
        return thread_id

    thread_id = await database.write(add)
    await database.write(lambda connection: threads.delete(connection, thread_id))


def on_disk(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


@pytest.fixture
def path(database_url) -> Path:
    return Path(database_url.removeprefix("sqlite:///"))


@pytest.mark.on_database("sqlite")
async def test_a_file_that_was_written_anew_has_nothing_that_was_deleted(database, path):
    await forget_a_thread(database)
    assert WORD in on_disk(path)

    assert await database.rewrite() is True
    assert WORD not in on_disk(path)
    assert await database.read(lambda connection: connection.exec_driver_sql("PRAGMA integrity_check").scalar()) == "ok"


@pytest.mark.on_database("sqlite")
async def test_while_somebody_reads_the_log_is_kept_and_that_is_said(database, path):
    await forget_a_thread(database)
    async with Database(f"sqlite:///{path}", patience=timedelta(milliseconds=100)) as impatient:
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM threads").fetchone()
            assert await impatient.rewrite() is False
        assert await impatient.rewrite() is True
    assert WORD not in on_disk(path)


@pytest.mark.on_database("sqlite")
async def test_while_somebody_writes_a_file_is_not_written_anew_and_that_is_an_error(database, path):
    async with Database(f"sqlite:///{path}", patience=timedelta(milliseconds=100)) as impatient:
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                await impatient.rewrite()


@pytest.mark.on_database("postgresql")
async def test_the_files_of_postgresql_are_its_own_business(database):
    assert await database.rewrite() is False
