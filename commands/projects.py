"""``lockstitch projects``: see which projects there are, and which handlers their runs may use."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from lockstitch import run_view
from lockstitch.commands.handler_names import parse_handlers, written
from lockstitch.commands.invocation import AsJson, console, reading, writing

Row = Mapping[str, Any]

app = typer.Typer(help="See projects, and say which handlers their runs may use.", no_args_is_help=True)


@app.command("list")
def list_projects(as_json: AsJson = False) -> None:
    """List the projects; each begins with its first key."""
    from lockstitch.assistants.store import projects

    found: Sequence[Row] = reading(projects.listed)
    if as_json:
        for row in found:
            run_view.print_json(_object(row))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("project", "handlers"):
        table.add_column(column, overflow="fold")
    for row in found:
        table.add_row(escape(row["id"]), written(row["handlers"]))
    console.print(table)


@app.command("allow")
def allow_handlers(
    project: Annotated[str, typer.Argument(help="The name of a project.")],
    handlers: Annotated[str, typer.Argument(help="all, none, or names of handlers, separated by commas.")],
    as_json: AsJson = False,
) -> None:
    """Say which registered handlers the project's runs may use, from the next run on."""
    from lockstitch.assistants.store import projects

    names = parse_handlers(handlers)
    row: Row = writing(lambda connection: projects.allow(connection, project, names))
    if as_json:
        run_view.print_json(_object(row))
    else:
        console.print(f"Runs of {escape(project)} may use {written(names)}.", highlight=False, soft_wrap=True)


def _object(row: Row) -> dict[str, object]:
    return {**row, "handlers": written(row["handlers"])}
