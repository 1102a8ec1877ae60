"""``lockstitch import``: take in what was saved from another server that speaks the Assistants API."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lockstitch import run_view
from lockstitch.commands.invocation import AsJson, carry_out, console, settings

if TYPE_CHECKING:  # loaded where it is needed: most commands have nothing to do with the store
    from lockstitch.assistants.imports.reading import Export
    from lockstitch.assistants.imports.writing import Imported


def import_objects(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="JSON lines: assistants, threads, messages, or pages of lists."),
    ],
    project: Annotated[str, typer.Option(help="The project that they shall belong to.")] = "default",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and store nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import saved assistants, threads and messages, with their ids; what is there already stays as it is."""
    from lockstitch.assistants.imports.reading import read_export
    from lockstitch.assistants.imports.writing import write_export
    from lockstitch.assistants.store.database import Database

    export = read_export(files)
    if dry_run:
        _tell_what_was_read(export, as_json)
        return
    database_url = settings().database_url

    async def import_all() -> "Imported":
        async with Database(database_url) as database:
            return await write_export(database, export, project)

    _tell_what_was_done(carry_out(import_all()), as_json)


def _tell_what_was_read(export: "Export", as_json: bool) -> None:
    found = {
        "assistants": len(export.assistants),
        "threads": len(export.threads),
        "messages": sum(len(thread.messages) for thread in export.threads.values()),
    }
    if as_json:
        run_view.print_json({"read": found})
        return
    console.print("Everything can be imported; nothing was stored.")
    for kind, number in found.items():
        console.print(f"{kind:<12}{number:>8}", highlight=False)


def _tell_what_was_done(imported: "Imported", as_json: bool) -> None:
    if as_json:
        run_view.print_json(
            {
                "added": dict(imported.added),
                "there_before": dict(imported.there_before),
                "missing_files": imported.missing_files,
            }
        )
        return
    for kind in ("assistants", "threads", "messages"):
        before = imported.there_before[kind]
        was_there = f"  [dim]{before} were there before[/]" if before else ""
        console.print(f"{kind:<12}{imported.added[kind]:>8}{was_there}", highlight=False)
    if imported.missing_files:
        console.print(
            f"[yellow]{len(imported.missing_files)} file(s) of which messages speak are not here[/], such as "
            f"{imported.missing_files[0]}: upload them anew and attach them, or leave it; the text is complete.",
            highlight=False,
            soft_wrap=True,
        )
