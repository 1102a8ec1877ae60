"""Reading and writing rows, as every table needs it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, insert, select, update

Row = Mapping[str, Any]


class Page(NamedTuple):
    """One page of rows, and whether there are more."""

    rows: list[Row]
    has_more: bool


class PageCursor(NamedTuple):
    """Where a page begins and how it runs: the API's ``limit``, ``order``, ``after`` and ``before``."""

    limit: int = 20
    descending: bool = True
    after: str | None = None
    before: str | None = None


def add(connection: Connection, table: Table, values: Row) -> Row:
    """Insert one row and return it whole."""
    return connection.execute(insert(table).values(values).returning(table)).one()._asdict()


def get(connection: Connection, table: Table, *where: ColumnElement[bool]) -> Row | None:
    """Return the one row for which ``where`` holds."""
    row = connection.execute(select(table).where(*where)).one_or_none()
    return None if row is None else row._asdict()


def find(connection: Connection, query: Select[Any]) -> list[Row]:
    """Return all rows of a query."""
    return [row._asdict() for row in connection.execute(query)]


def change(connection: Connection, table: Table, where: Sequence[ColumnElement[bool]], values: Row) -> Row | None:
    """Change the one row for which ``where`` holds and return it whole; ``None`` where there is none."""
    row = connection.execute(update(table).where(*where).values(values).returning(table)).one_or_none()
    return None if row is None else row._asdict()


def remove(connection: Connection, table: Table, *where: ColumnElement[bool]) -> bool:
    """Delete the rows for which ``where`` holds and tell whether there were any."""
    return connection.execute(delete(table).where(*where)).rowcount > 0


def page(connection: Connection, table: Table, cursor: PageCursor, where: Iterable[ColumnElement[bool]] = ()) -> Page:
    """Return the rows that ``cursor`` asks for.

    The cursor's ids are places in the order of creation (``seq``), so rows that are added meanwhile move
    nothing. An id that is not in the table leads to an empty page.
    """
    query = select(table).where(*where)
    for anchor, newer in ((cursor.after, not cursor.descending), (cursor.before, cursor.descending)):
        if anchor is not None:
            place = select(table.c.seq).where(table.c.id == anchor).scalar_subquery()
            query = query.where(table.c.seq > place if newer else table.c.seq < place)
    # Going backwards from `before`, the page is the one that ends there, not the first of all.
    backwards = cursor.before is not None and cursor.after is None
    descending = cursor.descending != backwards
    query = query.order_by(table.c.seq.desc() if descending else table.c.seq).limit(cursor.limit + 1)
    rows = find(connection, query)
    has_more, rows = len(rows) > cursor.limit, rows[: cursor.limit]
    return Page(rows[::-1] if backwards else rows, has_more)
