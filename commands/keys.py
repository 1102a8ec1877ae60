"""``lockstitch keys``: create, list and revoke the keys with which clients use the HTTP server."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from lockstitch import run_view
from lockstitch.commands.handler_names import HandlerNames, parse_handlers
from lockstitch.commands.invocation import AsJson, console, reading, writing
from lockstitch.commands.project_names import ProjectName, checked_project

if TYPE_CHECKING:  # loaded where it is needed: most commands have nothing to do with the store
    from sqlalchemy import Connection

Row = Mapping[str, Any]

app = typer.Typer(help="Create, list and revoke the keys of clients.", no_args_is_help=True)

MOST_PER_MINUTE = 1_000_000


@app.command("create")
def create_key(
    project: ProjectName,
    name: Annotated[str, typer.Option(help="What people call the key.")] = "",
    handlers: HandlerNames = None,
    rate_limit: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_PER_MINUTE, help="Requests per minute; without it, there is no limit."),
    ] = None,
    operator: Annotated[
        bool, typer.Option("--operator", help="Open the page /console too, which shows the runs of every project.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it, once: it is stored as a hash, and nobody can read it again."""
    from lockstitch.assistants.store import keys, projects

    new, now = keys.NewKey(checked_project(project), name, rate_limit, operator), int(time.time())
    wanted = None if handlers is None else (parse_handlers(handlers),)

    def create(connection: "Connection") -> tuple[Row, str]:
        projects.create(connection, new.project, now)
        for names in wanted or ():
            projects.allow(connection, new.project, names)
        return keys.create(connection, new, now)

    row, secret = writing(create)
    if as_json:
        run_view.print_json({**_object(row), "key": secret})
    else:
        console.print(secret, highlight=False, soft_wrap=True)
        console.print(f"[dim]{row['id']} of the project {escape(new.project)}; keep it, it is not shown again.[/]")


@app.command("list")
def list_keys(
    project: Annotated[str | None, typer.Option(help="Only keys of this project.")] = None, as_json: AsJson = False
) -> None:
    """List the keys, those that were revoked too; of each, only how it begins."""
    from lockstitch.assistants.store import keys

    found: Sequence[Row] = reading(lambda connection: keys.listed(connection, project))
    if as_json:
        for row in found:
            run_view.print_json(_object(row))
    elif found:
        console.print(_table(found))
    else:
        console.print("There are no keys.")


@app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The id of a key: key_...")], as_json: AsJson = False
) -> None:
    """Let a key be refused, for ever; servers know it within seconds."""
    from lockstitch.assistants.store import keys

    row: Row = writing(lambda connection: keys.revoke(connection, key_id, int(time.time())))
    if as_json:
        run_view.print_json(_object(row))
    else:
        console.print(f"{key_id} is revoked.")


def _object(row: Row) -> dict[str, object]:
    shown = {name: value for name, value in row.items() if name not in ("seq", "secret_hash")}
    return {**shown, "operator": bool(row["operator"])}


def _table(found: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    columns = ("key", "begins with", "project", "name", "per minute", "operator", "created", "last used", "revoked")
    for column in columns:
        width = {"key": 28, "begins with": 18}.get(column)
        table.add_column(column, overflow="fold", no_wrap=width is not None, min_width=width)
    for row in found:
        style = "dim" if row["revoked_at"] else "cyan"
        limit = "" if row["rate_limit"] is None else str(row["rate_limit"])
        days = (_day(row[column]) for column in ("created_at", "last_used_at", "revoked_at"))
        names = (escape(row[column]) for column in ("prefix", "project_id", "name"))
        table.add_row(f"[{style}]{row['id']}[/]", *names, limit, "yes" if row["operator"] else "", *days)
    return table


def _day(seconds: int | None) -> str:
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
