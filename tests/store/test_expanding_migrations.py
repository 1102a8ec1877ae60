"""Migrations only add, so that processes of the release before them go on while the tables are upgraded under them.

What has to be taken away, or to become stricter, is left for a major version: first a release that does without it,
then one that takes it away.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from lockstitch.assistants.store import migrations
from lockstitch.assistants.store.database import Database

FIRST = "0008"
"""The newest version of tables that was ever released; before it, tables changed as they liked."""

TAKEN_AWAY: Mapping[str, str] = {}
"""Revisions that do not only add, and why they may: they belong to a major version."""

OLDEST = sa.text("SELECT oldest_version FROM compatibility")

SPECIAL = ("alembic_version", "vector_store_words", "vector_store_vectors", "sqlite_")
"""Tables of kinds that SQLAlchemy does not know; no migration after the first ones touches them."""

_one_at_a_time = threading.Lock()  # Alembic keeps what it works on in a global variable


def config_of(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    return config


def steps() -> Iterator[tuple[str, str]]:
    """Yield each revision after the first with the one before it, oldest first."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = list(ScriptDirectory.from_config(config).walk_revisions(FIRST, migrations.NEWEST))
    for script in reversed(scripts):
        if script.revision != FIRST:
            yield str(script.down_revision), script.revision


def bring_to(revision: str) -> Callable[[Connection], None]:
    def upgrade(connection: Connection) -> None:
        with _one_at_a_time:
            command.upgrade(config_of(connection), revision)

    return upgrade


@dataclass(frozen=True)
class Table:
    """What an old process relies on of one table."""

    columns: Mapping[str, tuple[str, bool, bool]]
    """Type, whether it may be NULL, and whether it has a value of its own, by name."""
    demands: frozenset[str]
    """What a row has to fulfil: unique columns, references, checks."""


def tables(connection: Connection) -> dict[str, Table]:
    inspector = sa.inspect(connection)
    names = [name for name in inspector.get_table_names() if not name.startswith(SPECIAL)]
    return {name: _table(inspector, name) for name in names}


def _table(inspector: sa.Inspector, name: str) -> Table:
    columns = {
        column["name"]: (
            str(column["type"]), column["nullable"], column["default"] is not None or "computed" in column,
        )
        for column in inspector.get_columns(name)
    }  # fmt: skip
    unique = [it for it in inspector.get_indexes(name) if it["unique"]] + inspector.get_unique_constraints(name)
    demands = {f"unique {it['name']} {it['column_names']}" for it in unique}
    demands |= {f"reference {it['constrained_columns']}" for it in inspector.get_foreign_keys(name)}
    demands |= {f"check {it['sqltext']}" for it in inspector.get_check_constraints(name)}
    demands |= {f"key {inspector.get_pk_constraint(name)['constrained_columns']}"}
    return Table(columns, frozenset(demands))


def narrowed(before: dict[str, Table], after: dict[str, Table]) -> list[str]:
    """Return what an old process would trip over."""
    found = [f"the table {name} is gone" for name in before.keys() - after.keys()]
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        found += [f"{name}.{column} is gone" for column in old.columns.keys() - new.columns.keys()]
        found += [f"{name} has a new demand: {demand}" for demand in new.demands - old.demands]
        for column, (kind, nullable, has_default) in new.columns.items():
            if column not in old.columns and not (nullable or has_default):
                found.append(f"{name}.{column} is new and has to be given")
            if column in old.columns and old.columns[column] != (kind, nullable, has_default):
                found.append(f"{name}.{column} was {old.columns[column]} and is {(kind, nullable, has_default)}")
    return sorted(found)


def statements(connection: Connection) -> list[sa.Table]:
    """Return the tables as an old process knows them, in an order in which they can be filled."""
    metadata = sa.MetaData()
    names = [name for name in sa.inspect(connection).get_table_names() if not name.startswith(SPECIAL)]
    metadata.reflect(connection, only=names)
    return list(metadata.sorted_tables)


def fill(known: list[sa.Table], text: str, number: int) -> Callable[[Connection], None]:
    """Write one row into each table. Keys have the same value everywhere, so references fit."""

    def write(connection: Connection) -> None:
        for table in known:
            given = {
                column.name: _value(column, text, number)
                for column in table.columns
                if not column.nullable and column.server_default is None and column.computed is None
            }
            connection.execute(table.insert().values(given))
            connection.execute(table.update().values(given).where(sa.false()))

    return write


def _value(column: "sa.Column[Any]", text: str, number: int) -> Any:
    kind: type | None = None
    with suppress(NotImplementedError):
        kind = column.type.python_type
    if kind is str:
        return text
    if kind is bytes:
        return b"x"
    return {int: number, float: 1.0, bool: True}.get(kind or dict, {})


def count(known: list[sa.Table]) -> Callable[[Connection], dict[str, int]]:
    return lambda connection: {
        table.name: len(connection.execute(table.select()).all()) for table in known  # every column by its name
    }  # fmt: skip


@pytest.fixture
async def at_first(empty_database_url) -> Any:
    """A database with the tables of the first version."""
    database = Database(empty_database_url)  # not entered: that would bring the tables to their newest form
    try:
        await database.write(bring_to(FIRST), long=True)
        yield database
    finally:
        await database.aclose()


async def test_every_migration_only_adds_and_old_processes_go_on_on_its_tables(at_first):
    """Each is applied to tables with rows, which are then written as the release before it does."""
    for number, (before, revision) in enumerate(steps(), start=1):
        known = await at_first.read(statements)
        await at_first.write(fill(known, f"a{number}", 2 * number))
        old, rows = await at_first.read(tables), await at_first.read(count(known))
        await at_first.write(bring_to(revision), long=True)

        problems = narrowed(old, await at_first.read(tables))
        assert problems == [] or revision in TAKEN_AWAY, f"{before} -> {revision}"
        assert await at_first.read(count(known)) == rows
        await at_first.write(fill(known, f"b{number}", 2 * number + 1))
        assert await at_first.read(count(known)) == {name: rows[name] + 1 for name in rows}
    assert await at_first.read(migrations.revision) == migrations.NEWEST
    oldest = await at_first.read(
        lambda connection: connection.scalar(sa.text("SELECT oldest_version FROM compatibility"))
    )
    assert oldest == max(TAKEN_AWAY, default=FIRST)  # what processes ask that start on newer tables


BREAKS = {
    "threads.metadata is gone": lambda op: op.drop_column("threads", "metadata"),
    "the table code_files is gone": lambda op: op.drop_table("code_files"),
    "threads.colour is new and has to be given": lambda op: _batch(
        op, lambda it: it.add_column(sa.Column("colour", sa.Text(), nullable=False))
    ),
    "files has a new demand: unique uq_files_filename ['filename']": lambda op: op.create_index(
        "uq_files_filename", "files", ["filename"], unique=True
    ),
    "assistants.name was": lambda op: _batch(
        op, lambda it: it.alter_column("name", existing_type=sa.Text(), nullable=False), "assistants"
    ),
}


def _batch(op: Operations, change: Callable[[Any], None], table: str = "threads") -> None:
    with op.batch_alter_table(table) as batch:
        change(batch)


@pytest.mark.parametrize("problem", BREAKS)
async def test_a_migration_that_old_processes_would_trip_over_is_noticed(at_first, problem):
    before = await at_first.read(tables)

    def change(connection: Connection) -> None:
        with _one_at_a_time, Operations.context(MigrationContext.configure(connection)) as operations:
            BREAKS[problem](operations)

    await at_first.write(change)

    assert any(found.startswith(problem) for found in narrowed(before, await at_first.read(tables)))


async def test_tables_and_columns_that_may_be_left_alone_are_no_problem(at_first):
    before = await at_first.read(tables)
    known = await at_first.read(statements)

    def change(connection: Connection) -> None:
        with _one_at_a_time, Operations.context(MigrationContext.configure(connection)) as op:
            op.add_column("threads", sa.Column("note", sa.Text()))
            op.add_column("runs", sa.Column("weight", sa.Integer(), nullable=False, server_default="1"))
            op.create_table("extras", sa.Column("id", sa.Text(), primary_key=True))
            op.create_index("ix_files_filename", "files", ["filename"])

    rows = await at_first.read(count(known))
    await at_first.write(change)
    await at_first.write(fill(known, "a", 1))

    assert narrowed(before, await at_first.read(tables)) == []
    assert await at_first.read(count(known)) == {name: rows[name] + 1 for name in rows}
