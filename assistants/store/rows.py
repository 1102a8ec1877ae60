"""Reading and writing rows, as every table needs it."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, Table, bindparam, delete, insert, select, update

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
    return connection.execute(_insert(table), values).one()._asdict()


def put(connection: Connection, table: Table, *values: Row) -> None:
    """Insert rows that have the same columns."""
    connection.execute(_put(table), list(values))


def get(connection: Connection, table: Table, **where: Any) -> Row | None:
    """Return the one row that ``where`` describes, as `change` does."""
    row = connection.execute(_select(table, _conditions(where)), _values(where)).one_or_none()
    return None if row is None else row._asdict()


def find(connection: Connection, table: Table, order: str, **where: Any) -> list[Row]:
    """Return the rows that ``where`` describes, as `change` does, ordered by the column ``order``."""
    return fetch(connection, _select(table, _conditions(where), order), _values(where))


def fetch(connection: Connection, query: Select[Any], values: Row | None = None) -> list[Row]:
    """Return all rows of a query."""
    return [row._asdict() for row in connection.execute(query, values)]


def change(connection: Connection, table: Table, where: Row, values: Row) -> Row | None:
    """Change the one row that ``where`` describes and return it whole; ``None`` where there is none.

    ``where`` gives columns their values; ``None`` means that the column has none, and a set that it has one of these.
    """
    statement = _update(table, _conditions(where), tuple(values))
    row = connection.execute(statement, {**_values(where), **values}).one_or_none()
    return None if row is None else row._asdict()


def overwrite(connection: Connection, table: Table, where: Row, values: Row) -> bool:
    """Do what `change` does and tell whether there was such a row, without reading it."""
    statement = _overwrite(table, _conditions(where), tuple(values))
    return connection.execute(statement, {**_values(where), **values}).rowcount > 0


def remove(connection: Connection, table: Table, **where: Any) -> bool:
    """Delete the rows that ``where`` describes, as `change` does, and tell whether there were any."""
    return connection.execute(_delete(table, _conditions(where)), _values(where)).rowcount > 0


# Statements are built once for each shape and reused: building one costs more than SQLite needs to carry it out.

_Condition = tuple[str, Literal["is", "in", "null"]]


def _conditions(where: Row) -> tuple[_Condition, ...]:
    return tuple((name, _kind(value)) for name, value in where.items())


def _kind(value: Any) -> Literal["is", "in", "null"]:
    if value is None:
        return "null"
    return "in" if isinstance(value, set | frozenset) and len(value) != 1 else "is"


def _values(where: Row) -> dict[str, Any]:
    return {f"where_{name}": _value(value) for name, value in where.items()}


def _value(value: Any) -> Any:
    if not isinstance(value, set | frozenset):
        return value
    return next(iter(value)) if len(value) == 1 else list(value)  # a list has to be written into the statement


def _clauses(table: Table, conditions: tuple[_Condition, ...]) -> Iterator[ColumnElement[bool]]:
    for name, kind in conditions:
        column = table.c[name]
        match kind:
            case "null":
                yield column.is_(None)
            case "in":
                yield column.in_(bindparam(f"where_{name}", expanding=True))
            case "is":
                yield column == bindparam(f"where_{name}")


@cache
def _insert(table: Table) -> Any:
    return insert(table).returning(table)


@cache
def _put(table: Table) -> Any:
    return insert(table)


@cache
def _select(table: Table, conditions: tuple[_Condition, ...], order: str | None = None) -> Any:
    query = select(table).where(*_clauses(table, conditions))
    return query if order is None else query.order_by(table.c[order])


@cache
def _overwrite(table: Table, conditions: tuple[_Condition, ...], columns: tuple[str, ...]) -> Any:
    changed: dict[str, Any] = {name: bindparam(name) for name in columns}
    return update(table).where(*_clauses(table, conditions)).values(changed)


@cache
def _update(table: Table, conditions: tuple[_Condition, ...], columns: tuple[str, ...]) -> Any:
    return _overwrite(table, conditions, columns).returning(table)


@cache
def _delete(table: Table, conditions: tuple[_Condition, ...]) -> Any:
    return delete(table).where(*_clauses(table, conditions))


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
    rows = fetch(connection, query)
    has_more, rows = len(rows) > cursor.limit, rows[: cursor.limit]
    return Page(rows[::-1] if backwards else rows, has_more)
