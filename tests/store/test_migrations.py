"""The migrations make exactly the tables that the queries expect."""

import asyncio
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, inspect, text

from lockstitch.assistants.store import migrations, threads
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.migrations.versions import (
    v0001_first_tables,
    v0002_webhook_deliveries,
    v0003_replaced_runs,
    v0004_projects_and_keys,
    v0005_vector_stores,
    v0006_wide_columns,
    v0007_vectors,
    v0008_built_in_tools,
    v0009_recorded_events,
    v0010_operator_keys,
    v0011_compatibility,
    v0012_leases,
)
from lockstitch.assistants.store.schema import metadata
from lockstitch.errors import StoreUnavailable

OPEN_AND_WRITE = """
import asyncio, sys
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store import threads

async def main():
    sys.stdin.readline()
    async with Database(sys.argv[1]) as database:
        await database.write(lambda connection: threads.create(connection, {}, 0))

asyncio.run(main())
"""


def is_read(name: str | None, _kind: str, _parents: object) -> bool:
    """The table of vectors has a column of a type that SQLAlchemy does not know either, and warns of."""
    return name != "vector_store_vectors"


def is_ours(_object: object, name: str, *_rest: object) -> bool:
    """The indexes of words and vectors are of kinds that SQLAlchemy does not know: on SQLite, tables of their own."""
    return not name.startswith(("vector_store_words", "ix_vector_store_chunks_words", "vector_store_vectors"))


def differences(connection: Connection) -> list[object]:
    opts = {
        "compare_type": True, "compare_server_default": True, "include_object": is_ours, "include_name": is_read,
    }  # fmt: skip
    context = MigrationContext.configure(connection, opts=opts)
    return compare_metadata(context, metadata)


def revision(connection: Connection) -> list[str]:
    return list(connection.scalars(text("SELECT version_num FROM alembic_version")))


async def test_an_upgraded_empty_database_has_exactly_the_tables_of_the_schema(database):
    assert await database.read(differences) == []
    assert await database.read(revision) == [migrations.NEWEST]


async def test_an_upgraded_database_has_the_partial_indexes_of_the_schema(database, database_kind):
    """Alembic compares the columns of an index, not the condition under which a row is in it."""

    def conditions(connection: Connection) -> dict[str, list[str]]:
        """Return the statuses that stand in the condition of each index."""
        indexes = inspect(connection).get_indexes("runs")
        found = {index["name"]: index.get("dialect_options", {}).get(f"{database_kind}_where") for index in indexes}
        return {name: re.findall(r"'(\w+)'", str(where)) for name, where in found.items() if where is not None}

    active = ["queued", "in_progress", "requires_action", "cancelling"]
    assert await database.read(conditions) == {"uq_runs_one_active_per_thread": active, "ix_runs_active": active}


async def test_upgrading_twice_changes_nothing(database):
    await database.write(migrations.upgrade)
    async with Database(database.url):
        pass

    assert await database.read(differences) == []
    assert await database.read(revision) == [migrations.NEWEST]


async def test_downgrading_takes_every_table_away(database):
    def downgrade(connection: Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            v0012_leases.downgrade()
            v0011_compatibility.downgrade()
            v0010_operator_keys.downgrade()
            v0009_recorded_events.downgrade()
            v0008_built_in_tools.downgrade()
            v0007_vectors.downgrade()
            v0006_wide_columns.downgrade()
            v0005_vector_stores.downgrade()
            v0004_projects_and_keys.downgrade()
            v0003_replaced_runs.downgrade()
            v0002_webhook_deliveries.downgrade()
            v0001_first_tables.downgrade()

    await database.write(downgrade)

    assert await database.read(lambda connection: inspect(connection).get_table_names()) == ["alembic_version"]


def upgraded_by_a_newer_release(oldest_version: str) -> Callable[[Connection], None]:
    def upgrade(connection: Connection) -> None:
        connection.execute(text("UPDATE alembic_version SET version_num='9999'"))
        connection.execute(text("UPDATE compatibility SET oldest_version=:oldest"), {"oldest": oldest_version})

    return upgrade


@pytest.mark.parametrize("upgrades", [True, False])
async def test_a_database_to_which_a_newer_release_only_added_is_used_and_left_as_it_is(database, upgrades):
    await database.write(upgraded_by_a_newer_release(migrations.NEWEST))

    async with Database(database.url, upgrades=upgrades) as opened:
        await opened.write(lambda connection: threads.create(connection, {}, 0))

    assert await database.read(revision) == ["9999"]


@pytest.mark.parametrize("upgrades", [True, False])
async def test_a_database_from_which_a_newer_release_took_something_is_refused_and_left_as_it_is(database, upgrades):
    await database.write(upgraded_by_a_newer_release("9998"))

    with pytest.raises(StoreUnavailable, match="newer") as refused:
        async with Database(database.url, upgrades=upgrades):
            pass
    assert "\n" not in str(refused.value)
    assert await database.read(revision) == ["9999"]


async def test_databases_can_be_made_at_the_same_time_in_one_process(make_database):
    with ExitStack() as urls:
        await open_at_the_same_time([urls.enter_context(make_database(empty=True)) for _ in range(6)])


async def open_at_the_same_time(urls: list[str]) -> None:
    opened = [Database(url) for url in urls]
    try:
        await asyncio.gather(*(database.__aenter__() for database in opened))
        assert [await database.read(differences) for database in opened] == [[]] * 6
    finally:
        await asyncio.gather(*(database.aclose() for database in opened))


async def test_processes_that_open_one_new_database_at_the_same_time_all_succeed(empty_database_url, tmp_path):
    url = empty_database_url
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", OPEN_AND_WRITE, url, stdin=pipe, stderr=pipe, cwd=tmp_path
        )
        for _ in range(2)
    ]
    ended = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))

    assert [(process.returncode, said) for process, (_, said) in zip(processes, ended, strict=True)] == [(0, b"")] * 2
    async with Database(url) as database:
        assert await database.read(lambda connection: connection.scalar(text("SELECT count(*) FROM threads"))) == 2


async def test_a_process_that_may_not_upgrade_says_what_has_to_be_done_and_changes_nothing(empty_database_url):
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"it has no tables, .* run `lockstitch db upgrade`"):
            async with Database(empty_database_url, upgrades=False):
                pass


async def test_a_process_that_may_not_upgrade_works_with_tables_that_it_knows(database):
    async with Database(database.url, upgrades=False) as opened:
        assert await opened.read(revision) == [migrations.NEWEST]


async def test_tables_of_an_older_release_are_named_by_their_version(database):
    await database.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num='0001'")))

    with pytest.raises(StoreUnavailable, match="its tables are of version 0001, and this release needs version"):
        async with Database(database.url, upgrades=False):
            pass
