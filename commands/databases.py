"""``lockstitch db``: look at the tables of the database and bring them to their newest form."""

import typer

from lockstitch.commands.invocation import AsJson, carry_out, console, settings
from lockstitch.run_view import print_json

app = typer.Typer(help="Look at the database's tables and bring them to their newest form.", no_args_is_help=True)


@app.command("current")
def current(as_json: AsJson = False) -> None:
    """Show the version of the tables and the one that this release needs; exit with 1 unless they are the same."""
    found, needed = carry_out(_versions())
    if as_json:
        print_json({"version": found, "needed": needed})
    else:
        console.print(f"{_tables(found)}; this release needs version {needed}.", highlight=False)
    if found != needed:
        raise typer.Exit(1)


@app.command("upgrade")
def upgrade() -> None:
    """Bring the tables to the form that this release needs; one that is there already is left as it is."""
    before, after = carry_out(_upgraded())
    if before == after:
        console.print(f"The tables are of version {after} already.", highlight=False)
    else:
        console.print(f"{_tables(before, 'were')}; they are of version {after} now.", highlight=False)


def _tables(version: str | None, tense: str = "are") -> str:
    return f"There {tense} no tables" if version is None else f"The tables {tense} of version {version}"


async def _versions() -> tuple[str | None, str]:
    from lockstitch.assistants.store import migrations
    from lockstitch.assistants.store.database import Database

    database = Database(settings().database_url)  # not entered: looking at a database must not upgrade it
    try:
        return await database.read(migrations.revision), migrations.NEWEST
    finally:
        await database.aclose()


async def _upgraded() -> tuple[str | None, str]:
    from lockstitch.assistants.store import migrations
    from lockstitch.assistants.store.database import Database

    chosen = settings()
    database = Database(chosen.database_url)
    try:
        before = await database.read(migrations.revision)
        await database.write(migrations.upgrade, long=True)
        if chosen.embedder != "none":
            from lockstitch.assistants.search.semantics import open_vector_index

            await open_vector_index(database, upgrades=True)
        return before, await database.read(migrations.revision) or ""
    finally:
        await database.aclose()
