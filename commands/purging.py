"""``lockstitch purge``: remove a thread for good, from the store, from the Temporal server, and from its files."""

import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lockstitch.commands.invocation import AsJson, carry_out, console, settings
from lockstitch.errors import ConfirmationMissing
from lockstitch.run_view import print_json
from lockstitch.starter.client import connect_temporal
from lockstitch.starter.payload_store import payload_store_at
from lockstitch.starter.thread_traces import ThreadTraces
from lockstitch.temporal_choice import chosen_temporal

if TYPE_CHECKING:  # loaded where it is needed: most commands have nothing to do with the store
    from lockstitch.assistants.purging import ThreadPurge
    from lockstitch.assistants.store.database import Database

app = typer.Typer(help="Remove what is stored, for good.", no_args_is_help=True)


@app.callback()
def purge() -> None:
    """Remove what is stored, for good."""


@app.command("thread")
def purge_thread(
    thread_id: Annotated[str, typer.Argument(help="The id of a thread: thread_...")],
    with_files: Annotated[
        bool,
        typer.Option("--files", help="Also files that were uploaded for this thread alone, and its vector stores."),
    ] = False,
    cancel_open: Annotated[
        bool, typer.Option(help="Cancel runs that are open, and wait until they have ended.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")] = False,
    rewrite: Annotated[
        bool, typer.Option(help="Write a SQLite file anew afterwards, so that nothing deleted is left in it.")
    ] = True,
    seconds: Annotated[
        int, typer.Option(min=1, help="How long to wait for runs to end and for Temporal to delete.")
    ] = 120,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a thread from the store, from Temporal, and the files that code made in it. It cannot be undone.

    Again is harmless: it removes what is left after an interruption. A thread of another server stays there.
    """

    async def look(purge: "ThreadPurge", _: "Database") -> dict[str, int]:
        return (await purge.look(thread_id)).counts

    async def remove(purge: "ThreadPurge", database: "Database") -> tuple[dict[str, int], bool]:
        removed = await purge.remove(thread_id, cancel_open=cancel_open)
        return removed, rewrite and await database.rewrite()

    if dry_run:
        found = _with_purge(look, with_files, seconds)
        _show({"thread_id": thread_id, "dry_run": True, "found": found}, found, "would be removed", as_json)
        return
    _confirm(thread_id, yes)
    removed, rewritten = _with_purge(remove, with_files, seconds)
    told = {"thread_id": thread_id, "removed": removed, "database_rewritten": rewritten}
    _show(told, removed, "removed", as_json)
    if not rewritten and not as_json:
        console.print("[dim]What was deleted may still be read in the database's files, see docs/security.md.[/]")


def _confirm(thread_id: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfirmationMissing
    typer.confirm(f"Remove {thread_id} for good?", abort=True)


def _with_purge(action: "Callable[[ThreadPurge, Database], Awaitable[Any]]", with_files: bool, seconds: int) -> Any:
    from lockstitch.assistants.purging import ThreadPurge
    from lockstitch.assistants.store.database import Database

    config = settings()

    async def connected() -> Any:
        server = chosen_temporal(config)
        client = await connect_temporal(server)
        async with Database(config.database_url, upgrades=config.database_auto_upgrade) as database:
            traces = ThreadTraces(client, timedelta(seconds=seconds), payload_store_at(server.payloads.store))
            return await action(ThreadPurge(database, traces, with_files=with_files), database)

    return carry_out(connected())


def _show(told: Mapping[str, Any], counts: Mapping[str, int], what: str, as_json: bool) -> None:
    if as_json:
        print_json(dict(told))
        return
    there = {name: count for name, count in counts.items() if count}
    for name, count in there.items():
        console.print(f"{count:>8}  {name.replace('_', ' ')} {what}", highlight=False)
    if not there:
        console.print(f"Nothing of {told['thread_id']} is here.", highlight=False)
