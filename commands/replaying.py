"""``lockstitch replay``: see before an upgrade whether the workflows of this release can go on with runs."""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table
from temporalio.converter import DataConverter
from temporalio.service import RPCError, RPCStatusCode

from lockstitch.commands.invocation import AsJson, carry_out, console, settings, with_starter
from lockstitch.run_view import print_json
from lockstitch.starter.client import Starter
from lockstitch.starter.payload_keys import PayloadKeys
from lockstitch.starter.payload_store import payload_store_at
from lockstitch.starter.payloads import data_converter_with
from lockstitch.temporal_choice import chosen_temporal

if TYPE_CHECKING:  # loaded where it is needed: with the workflows come the activities, and what those need
    from lockstitch.history_replay import Replayed, Sample, Sampled


def replay_histories(
    query: Annotated[str, typer.Option(help="Only workflows of which this is true, as Temporal's search has it.")] = "",
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, help="At most so many of each workflow and each way it ended.")
    ] = 20,
    status: Annotated[
        Literal["open", "closed", "all"], typer.Option(help="Those that are open, or have ended.")
    ] = "all",
    without_pinned: Annotated[
        bool, typer.Option("--without-pinned", help="Leave out what is pinned to a version of the workers.")
    ] = False,
    from_: Annotated[
        Path | None, typer.Option("--from", help="Replay the files of this folder; no server is asked.")
    ] = None,
    save_to: Annotated[Path | None, typer.Option("--save", help="Write what is replayed into this folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Replay real histories against the workflows of this release, and exit with 1 if it cannot go on with one.

    Without options, those are the open workflows of the namespace and the latest of each way to end.
    """
    from lockstitch.history_replay import Sample, from_folder, problems

    if from_ is not None:
        results = carry_out(_replay(from_folder(from_), _converter(), save_to))
    else:
        sample = Sample(status, query, limit, without_pinned)
        results = with_starter(lambda starter: _from_server(starter, sample, save_to))
    if as_json:
        for result in results:
            print_json(asdict(result))
    else:
        _show(results)
    if problems(results):
        raise typer.Exit(1)


def _converter() -> DataConverter:
    """Return what reads payloads with the keys and the store of the settings, without a server."""
    payloads = chosen_temporal(settings()).payloads
    keys, store = PayloadKeys.parse(payloads.keys), payload_store_at(payloads.store)
    return data_converter_with(keys, store, payloads.store_over)


async def _from_server(starter: Starter, sample: "Sample", save_to: Path | None) -> "list[Replayed]":
    from lockstitch.history_replay import from_server

    client = starter.temporal
    try:
        return await _replay(from_server(client, sample), client.data_converter, save_to)
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
        problem = f"Temporal does not understand it: {error.message}"
        raise typer.BadParameter(problem, param_hint="--query") from error


async def _replay(
    histories: "AsyncGenerator[Sampled, None]", converter: DataConverter, save_to: Path | None
) -> "list[Replayed]":
    from lockstitch.history_replay import problems, replay, save

    results: list[Replayed] = []

    async def kept() -> "AsyncGenerator[Sampled, None]":
        async with aclosing(histories):
            async for sampled in histories:
                if save_to is not None:
                    save(sampled.history, save_to)
                yield sampled

    shown = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
        task = progress.add_task("Looking for histories ...", total=None)
        async for result in replay(kept(), converter):
            results.append(result)
            progress.update(task, description=f"{len(results)} histories replayed, {len(problems(results))} broken")
    return results


def _show(results: "list[Replayed]") -> None:
    from lockstitch.history_replay import problems

    counted = Counter((result.workflow_type, result.kind, result.problem is None) for result in results)
    table = Table("workflow", "state", "histories", "events", "broken")
    for workflow_type, kind in dict.fromkeys((result.workflow_type, result.kind) for result in results):
        events = sum(it.events for it in results if (it.workflow_type, it.kind) == (workflow_type, kind))
        fine, broken = counted[workflow_type, kind, True], counted[workflow_type, kind, False]
        table.add_row(workflow_type, kind, str(fine + broken), str(events), f"[red]{broken}[/]" if broken else "0")
    console.print(table if results else "No history was found, so nothing is known.")
    for result in problems(results):
        where = "" if result.event is None else f" at event {result.event}"
        console.print(f"[red]{result.workflow_id}[/] ({result.workflow_type}, {result.kind}) breaks{where}:")
        console.print(f"  {result.problem}", highlight=False, soft_wrap=True, markup=False)
