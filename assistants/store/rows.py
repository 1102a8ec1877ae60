"""Reading and writing rows, as every table needs it."""

from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)

from lockstitch.assistants.store.prepared import Prepared, Row

__all__ = ["Page", "PageCursor", "Row"]


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
    row = _insert(table, tuple(values)).one(connection, values)
    assert row is not None  # noqa: S101 - what was inserted is returned
    return row


def put(connection: Connection, table: Table, *values: Row) -> None:
    """Insert rows that have the same columns."""
    _put(table, tuple(values[0])).each(connection, values)


def get(connection: Connection, table: Table, **where: Any) -> Row | None:
    """Return the one row that ``where`` describes, as `change` does."""
    return _select(table, _conditions(where)).one(connection, _values(where))


def locked(connection: Connection, table: Table, **where: Any) -> Row | None:
    """Return the one row that ``where`` describes, as `get` does; nobody else changes it until the transaction ends.

    Rows that refer to it can be added meanwhile. In SQLite whoever writes is alone anyway.
    """
    return _select(table, _conditions(where), lock=True).one(connection, _values(where))


def writes_alone(connection: Connection) -> bool:
    """Tell whether nobody else can write before the transaction ends, so that there is nothing to lock."""
    return connection.dialect.name == "sqlite"


def add_last(connection: Connection, table: Table, values: Row) -> Row:
    """Insert a row at the end of a list that all transactions add to, and return it whole.

    Whoever reads the list page by page would miss a row with a smaller ``seq`` that shows up later; so the
    transactions that add to lists take turns, from here to their ends: one turn for all lists, because a transaction
    may add to several.
    """
    if not writes_alone(connection):
        _TAKE_TURN.value(connection, {})
    return add(connection, table, values)


def move_last(connection: Connection, table: Table, row: Row) -> Row:
    """Do for a row that this transaction has inserted what `add_last` does, and return it as it is then.

    It is for transactions that take long: others wait for the end of this one, not for the whole of it.
    """
    if writes_alone(connection):
        return row
    _TAKE_TURN.value(connection, {})
    moved = _move_last(table).one(connection, {"row": row["id"]})
    assert moved is not None  # noqa: S101 - it was inserted
    return moved


def find(connection: Connection, table: Table, order: str, **where: Any) -> list[Row]:
    """Return the rows that ``where`` describes, as `change` does, ordered by the column ``order``."""
    return _select(table, _conditions(where), order).all(connection, _values(where))


def fetch(connection: Connection, query: Select[Any], values: Row | None = None) -> list[Row]:
    """Return all rows of a query that is not worth preparing."""
    return [row._asdict() for row in connection.execute(query, values)]


def change(connection: Connection, table: Table, where: Row, values: Row) -> Row | None:
    """Change the one row that ``where`` describes and return it whole; ``None`` where there is none.

    ``where`` gives columns their values; ``None`` means that the column has none, and a set that it has one of these.
    """
    statement = _update(table, _conditions(where), tuple(values))
    return statement.one(connection, {**_values(where), **values})


def overwrite(connection: Connection, table: Table, where: Row, values: Row) -> bool:
    """Do what `change` does and tell whether there was such a row, without reading it."""
    statement = _overwrite(table, _conditions(where), tuple(values))
    return statement.count(connection, {**_values(where), **values}) > 0


def remove(connection: Connection, table: Table, **where: Any) -> bool:
    """Delete the rows that ``where`` describes, as `change` does, and tell whether there were any."""
    return _delete(table, _conditions(where)).count(connection, _values(where)) > 0


_TAKE_TURN = Prepared(select(func.pg_advisory_xact_lock(literal_column("7202608270"))))

# Statements are prepared once for each shape: preparing one costs more than SQLite needs to carry it out.

_Condition = tuple[str, int]
"""A column, and how many values it may have; none means that it is null."""


def _conditions(where: Row) -> tuple[_Condition, ...]:
    return tuple((name, len(_options(value))) for name, value in where.items())


def _values(where: Row) -> dict[str, Any]:
    return {_bound(name, i): option for name, value in where.items() for i, option in enumerate(_options(value))}


def _options(value: Any) -> Collection[Any]:
    if value is None:
        return ()
    return value if isinstance(value, set | frozenset) else (value,)


def _bound(name: str, position: int) -> str:
    return f"where_{name}_{position}"


def _clauses(table: Table, conditions: tuple[_Condition, ...]) -> Iterator[ColumnElement[bool]]:
    for name, count in conditions:
        column, bound = table.c[name], [bindparam(_bound(name, i), type_=table.c[name].type) for i in range(count)]
        yield column.in_(bound) if count else column.is_(None)


@cache
def _insert(table: Table, columns: tuple[str, ...]) -> Prepared:
    return Prepared(insert(table).returning(table), columns)


@cache
def _move_last(table: Table) -> Prepared:
    moved = update(table).where(table.c.id == bindparam("row", type_=table.c.id.type)).values(seq=text("DEFAULT"))
    return Prepared(moved.returning(table))


@cache
def _put(table: Table, columns: tuple[str, ...]) -> Prepared:
    return Prepared(insert(table), columns)


@cache
def _select(
    table: Table, conditions: tuple[_Condition, ...], order: str | None = None, *, lock: bool = False
) -> Prepared:
    query = select(table).where(*_clauses(table, conditions))
    if lock:
        query = query.with_for_update(key_share=True)
    return Prepared(query if order is None else query.order_by(table.c[order]))


@cache
def _overwrite(table: Table, conditions: tuple[_Condition, ...], columns: tuple[str, ...]) -> Prepared:
    return Prepared(update(table).where(*_clauses(table, conditions)), columns)


@cache
def _update(table: Table, conditions: tuple[_Condition, ...], columns: tuple[str, ...]) -> Prepared:
    return Prepared(update(table).where(*_clauses(table, conditions)).returning(table), columns)


@cache
def _delete(table: Table, conditions: tuple[_Condition, ...]) -> Prepared:
    return Prepared(delete(table).where(*_clauses(table, conditions)))


def of_project(project: str | None) -> dict[str, str]:
    """Return the condition that a row belongs to the project; ``None`` stands for every project."""
    return {} if project is None else {"project_id": project}


def page(
    connection: Connection,
    table: Table,
    cursor: PageCursor,
    of: Collection[ColumnElement[bool]] = (),
    only: Iterable[ColumnElement[bool]] = (),
) -> Page:
    """Return the rows that ``cursor`` asks for, of the list whose rows ``of`` describes, and ``only`` such.

    The cursor's ids are places in the order of creation (``seq``), so rows that are added meanwhile move
    nothing. An id that is not in the list leads to an empty page.
    """
    query = select(table).where(*of, *only)
    for anchor, newer in ((cursor.after, not cursor.descending), (cursor.before, cursor.descending)):
        if anchor is not None:
            place = select(table.c.seq).where(table.c.id == anchor, *of).scalar_subquery()
            query = query.where(table.c.seq > place if newer else table.c.seq < place)
    # Going backwards from `before`, the page is the one that ends there, not the first of all.
    backwards = cursor.before is not None and cursor.after is None
    descending = cursor.descending != backwards
    query = query.order_by(table.c.seq.desc() if descending else table.c.seq).limit(cursor.limit + 1)
    rows = fetch(connection, query)
    has_more, rows = len(rows) > cursor.limit, rows[: cursor.limit]
    return Page(rows[::-1] if backwards else rows, has_more)
