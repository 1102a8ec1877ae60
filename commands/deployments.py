"""``lockstitch deployments``: which versions of the workers there are, which one gets new runs, which has open ones."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from temporalio.service import RPCError

from lockstitch import deployments
from lockstitch.commands.invocation import AsJson, console, settings, with_starter
from lockstitch.deployments import Deployment, Version
from lockstitch.errors import LockstitchError, SettingsInvalid
from lockstitch.run_view import print_json
from lockstitch.starter.client import Starter

app = typer.Typer(
    help="See the versions of the workers, decide which gets new runs, and learn which may be stopped.",
    no_args_is_help=True,
)

Name = Annotated[
    str | None,
    typer.Option("--deployment", help="Its name; LOCKSTITCH_DEPLOYMENT_NAME where it is left out.", show_default=False),
]
BuildId = Annotated[str, typer.Argument(help="The version: LOCKSTITCH_BUILD_ID of its workers.")]

POLL_SECONDS = 2.0


@app.command("list")
def list_deployments(as_json: AsJson = False) -> None:
    """List the deployments of the namespace."""
    names: Sequence[str] = with_starter(lambda starter: deployments.names(starter.temporal))
    for name in names:
        if as_json:
            print_json({"deployment": name})
        else:
            console.print(name, highlight=False)
    if not names and not as_json:
        console.print("No worker of this namespace has a version.")


@app.command("show")
def show_deployment(name: Name = None, as_json: AsJson = False) -> None:
    """Show the versions of a deployment, newest first, and how many open runs each has."""
    _show(_with_deployment(name, lambda it: it.versions()), as_json)


@app.command("set-current")
def set_current(
    build_id: BuildId,
    ramp: Annotated[
        float | None, typer.Option(min=0, max=100, help="Only this share of new runs, in percent; 0 takes it back.")
    ] = None,
    despite_missing_queues: Annotated[
        bool, typer.Option(help="Even if it has no workers for a task queue that the current version takes.")
    ] = False,
    name: Name = None,
) -> None:
    """Give new runs to a version; runs that are open stay where they are.

    The version __unversioned__ gives them to workers without one.
    """

    async def give(deployment: Deployment) -> None:
        if ramp is None:
            await deployment.set_current(build_id, despite_missing_queues=despite_missing_queues)
        else:
            await deployment.ramp(build_id, ramp, despite_missing_queues=despite_missing_queues)

    _with_deployment(name, give)
    share = "New runs go" if ramp is None else f"{ramp:g} % of new runs go"
    console.print(f"{share} to {build_id}.", highlight=False)


@app.command("drained")
def drained(
    build_id: Annotated[
        str | None, typer.Argument(help="The version; all that once had runs and get none now, where it is left out.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is so.")] = False,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether versions have no open runs any more, so that their workers may be stopped; else exit with 1."""
    asked = _with_deployment(name, lambda it: _drained(it, build_id, wait))
    now = datetime.now(UTC)
    _show(asked, as_json)
    if not all(version.is_drained(now) for version in asked):
        raise typer.Exit(1)


async def _drained(deployment: Deployment, build_id: str | None, wait: bool) -> Sequence[Version]:
    while True:
        if build_id is None:
            asked = [version for version in await deployment.versions() if version.role == "retired"]
        else:
            asked = [await deployment.version(build_id)]
        now = datetime.now(UTC)
        if not wait or all(version.is_drained(now) for version in asked):
            return asked
        await asyncio.sleep(POLL_SECONDS)


def _with_deployment(name: str | None, action: Any) -> Any:
    chosen = name or settings().deployment_name
    if not chosen:
        problem = "it is not set; set it to the name that your workers have, or say --deployment."
        raise SettingsInvalid("LOCKSTITCH_DEPLOYMENT_NAME", problem)

    async def act(starter: Starter) -> Any:
        try:
            return await action(Deployment(starter.temporal, chosen))
        except RPCError as error:
            raise LockstitchError(f"The Temporal server refused this: {error.message}.") from error

    return with_starter(act)


def _show(versions: Sequence[Version], as_json: bool) -> None:
    now = datetime.now(UTC)
    if as_json:
        for version in versions:
            told = {name: it.isoformat() if isinstance(it, datetime) else it for name, it in asdict(version).items()}
            print_json({**told, "drained": version.is_drained(now)})
        return
    table = Table("version", "role", "of new runs", "open runs", "drained")
    for version in versions:
        done = "yes" if version.is_drained(now) else "no"
        table.add_row(version.build_id, version.role, f"{version.percent:g} %", str(version.open_runs), done)
    console.print(table if versions else "No version is waiting for its runs to end.")
