"""``lockstitch runs``: look at runs, answer them, cancel them, take them over."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, get_args

import typer

from lockstitch import run_view
from lockstitch.commands import escalation_view
from lockstitch.commands.invocation import (
    AsJson,
    RunId,
    console,
    exit_by,
    say_more_exist,
    settings,
    view,
    with_starter,
)
from lockstitch.deployments import Deployment
from lockstitch.errors import RunBroken, SettingsInvalid
from lockstitch.starter.client import UNKNOWN_ASSISTANT, Starter
from lockstitch.starter.contract import (
    BackendName,
    RunSnapshot,
    RunStatus,
    ThreadRunResult,
    ToolOutput,
    UpstreamAttempt,
)

app = typer.Typer(help="Look at runs, answer them, cancel them, take them over.", no_args_is_help=True)


@app.command("list")
def list_runs(
    status: Annotated[str | None, typer.Option(help="Only runs with this status.")] = None,
    thread: Annotated[str | None, typer.Option(help="Only runs of this thread.")] = None,
    overdue: Annotated[
        bool, typer.Option("--overdue", help="Only open runs whose deadline has passed, the longest overdue first.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List runs: the open ones, newest first, then the others, the last to end first."""
    wanted = _status(status)

    async def read(starter: Starter) -> Sequence[RunSnapshot]:
        if overdue:
            return await starter.overdue(status=wanted, thread_id=thread, limit=limit + 1)
        return await starter.list(status=wanted, thread_id=thread, limit=limit)

    found = with_starter(read)
    if as_json:
        for snapshot in found[:limit]:
            run_view.print_json(snapshot.model_dump(mode="json"))
    else:
        console.print(run_view.runs_table(list(found[:limit]), overdue_at=datetime.now(UTC) if overdue else None))
    if len(found) > limit:
        say_more_exist(f"These are the {limit} longest overdue; others are overdue too. See them with --limit.")


@app.command("show")
def show_run(run_id: RunId, as_json: AsJson = False) -> None:
    """Show one run as it is now, what it asked people, and, once it has ended, every run upstream that carried it."""
    snapshot, attempts = with_starter(lambda starter: _read(starter, run_id))
    if as_json:
        told = [attempt.model_dump(mode="json") for attempt in attempts]
        run_view.print_json({**snapshot.model_dump(mode="json"), "attempts": told})
        return
    for name, value in snapshot.model_dump(exclude={"pending_calls", "escalations"}).items():
        console.print(f"[dim]{name:<16}[/]{'' if value is None else value}", highlight=False)
    for call in snapshot.pending_calls:
        console.print(f"[yellow]waits for[/] {call.name} [dim]{call.call_id}[/]")
    for attempt in attempts:
        console.print(run_view.attempt_line(attempt), highlight=False)
    for escalation in snapshot.escalations:
        console.print(escalation_view.summary(escalation), highlight=False, soft_wrap=True)


@app.command("cancel")
def cancel_run(run_id: RunId) -> None:
    """Ask a run to end as cancelled."""
    with_starter(lambda starter: starter.cancel(run_id))
    console.print(f"{run_id} is being cancelled.")


@app.command("answer")
def answer_run(
    run_id: RunId,
    output: Annotated[
        list[str], typer.Option(help="The output of a call, as CALL_ID=TEXT; once for each call.", show_default=False)
    ],
) -> None:
    """Give a run the outputs of calls that it waits for."""
    outputs = [_tool_output(text) for text in output]
    with_starter(lambda starter: starter.answer(run_id, outputs))
    console.print(f"{run_id} has {len(outputs)} more tool output(s).")


@app.command("adopt")
def adopt_run(
    thread_id: Annotated[str, typer.Argument(help="The id of its thread: thread_...")],
    run_id: Annotated[str, typer.Argument(help="Its id where it was created: run_...")],
    backend: Annotated[BackendName, typer.Option(help="Where it executes.")] = "assistants",
    assistant: Annotated[
        str, typer.Option(help="The id of its assistant, to filter by from the start; it is found out anyway.")
    ] = UNKNOWN_ASSISTANT,
    tenant: Annotated[str, typer.Option(help="For whom it runs.")] = "default",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it has ended, and exit with 1 if it failed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take over a run that another process created and left; it goes on from where it stands."""

    async def adopt(starter: Starter) -> ThreadRunResult | None:
        own_id = await starter.adopt(thread_id, run_id, backend=backend, assistant_id=assistant, tenant=tenant)
        if as_json:
            run_view.print_json({"run_id": own_id, "adopted_run_id": run_id})
        else:
            console.print(f"{own_id} carries {run_id} from here.", highlight=False, soft_wrap=True)
        return await starter.result(own_id) if wait else None

    result = with_starter(adopt)
    if result is not None:
        view(as_json).result(result, {})
        exit_by([result])


@app.command("move")
def move_runs(
    to: Annotated[str, typer.Option("--to", help="The version that carries them from now on.", show_default=False)],
    run_ids: Annotated[list[str] | None, typer.Argument(help="The ids of runs: run_...", show_default=False)] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="All open runs of this version.", show_default=False)
    ] = None,
) -> None:
    """Have runs go on on another version of the workers, where the workers of theirs will not come back.

    Its code must be able to replay what they did so far: `lockstitch replay` with that release tells beforehand.
    """
    name = settings().deployment_name
    if not name:
        problem = "it is not set, and without it workers have no versions."
        raise SettingsInvalid("LOCKSTITCH_DEPLOYMENT_NAME", problem)
    if bool(run_ids) == bool(from_):
        raise typer.BadParameter("either name runs or say --from", param_hint="RUN_IDS")

    async def move(starter: Starter) -> int:
        deployment = Deployment(starter.temporal, name)
        chosen = run_ids or await deployment.open_run_ids(str(from_))
        for run_id in chosen:
            await deployment.move(run_id, to)
            console.print(f"{run_id} goes on on {to}.", highlight=False)
        return len(chosen)

    if not with_starter(move):
        console.print(f"No open run is pinned to {from_}.", highlight=False)


async def _read(starter: Starter, run_id: str) -> tuple[RunSnapshot, list[UpstreamAttempt]]:
    """Return a run, and the runs upstream that carried it; those are known of a run that has ended."""
    snapshot = await starter.snapshot(run_id)
    if snapshot.ended_at is None:
        return snapshot, []
    try:
        return snapshot, (await starter.result(run_id)).attempts
    except RunBroken:  # its workflow was terminated and left nothing behind
        return snapshot, []


def _status(text: str | None) -> RunStatus | None:
    statuses: Sequence[RunStatus] = get_args(RunStatus)
    found = next((status for status in statuses if status == text), None)
    if text is not None and found is None:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(statuses)}", param_hint="--status")
    return found


def _tool_output(text: str) -> ToolOutput:
    call_id, separator, output = text.partition("=")
    if not separator or not call_id:
        raise typer.BadParameter(f"{text!r} is not of the form CALL_ID=TEXT", param_hint="--output")
    return ToolOutput(tool_call_id=call_id, output=output)
