"""docs/security.md says of every table what it holds, and of no other."""

import re
from pathlib import Path

import pytest
from sqlalchemy import inspect

from lockstitch.assistants.store import schema

PAGE = (Path(__file__).parents[1] / "docs/security.md").read_text()


def tables_of_the_page() -> list[str]:
    section = PAGE.split("## What the database has")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


@pytest.mark.on_database("sqlite", "postgresql")
async def test_every_table_of_the_database_is_named_once_with_what_it_holds(database):
    found = await database.read(lambda connection: inspect(connection).get_table_names())
    inside = ("vector_store_words_", "alembic_")  # what SQLite's index of words is made of; the version of the tables
    ours = {name for name in found if not name.startswith(inside)} | set(schema.metadata.tables)

    named = tables_of_the_page()
    assert len(named) == len(set(named))
    # On PostgreSQL words are an index and no table, and vectors come with the embedder.
    assert set(named) == ours | {"vector_store_words", "vector_store_vectors"}
