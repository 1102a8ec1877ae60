"""What one invocation of the command line works with: a console, the settings, a starter."""

import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
import uvloop
from rich.console import Console

from lockstitch.config import Config
from lockstitch.run_view import JsonView, LiveView, RunView
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import ThreadRunResult
from lockstitch.temporal_choice import chosen_temporal

if TYPE_CHECKING:  # loaded where it is needed: most commands have nothing to do with the store
    from sqlalchemy import Connection

T = TypeVar("T")

console = Console()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
RunId = Annotated[str, typer.Argument(help="The id of a run: run_...")]


def settings() -> Config:
    """Read the settings; raises `SettingsInvalid`."""
    return Config.from_environment(os.environ)


def carry_out(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run ``coroutine`` to its end and return what it returns."""
    return uvloop.run(coroutine)


def with_starter(action: Callable[[Starter], Awaitable[Any]]) -> Any:
    """Carry out ``action`` with a starter, as the settings say; raises what `Starter.connect` does."""
    config = settings()

    async def connected() -> Any:
        starter = await Starter.connect(
            chosen_temporal(config),
            task_queue=config.task_queue,
            server_url=config.server_url,
            api_key=config.server_api_key or None,
        )
        async with starter:
            return await action(starter)

    return carry_out(connected())


def reading(unit: "Callable[[Connection], T]") -> T:
    """Carry out ``unit``, which only reads, on the database that the settings name; raises `StoreUnavailable`."""
    from lockstitch.assistants.store.database import Database

    async def read() -> T:
        async with Database(settings().database_url) as database:
            return await database.read(unit)

    result: T = carry_out(read())
    return result


def writing(unit: "Callable[[Connection], T]") -> T:
    """Carry out ``unit`` as one transaction on the database that the settings name; raises `StoreUnavailable`."""
    from lockstitch.assistants.store.database import Database

    async def write() -> T:
        async with Database(settings().database_url) as database:
            return await database.write(unit)

    result: T = carry_out(write())
    return result


def view(as_json: bool) -> RunView:
    """Return where a run is shown."""
    return JsonView() if as_json else LiveView(console)


def say_more_exist(sentence: str) -> None:
    """Say what a list leaves out, beside it: programs read the list itself."""
    typer.echo(sentence, err=True)


def exit_by(results: Sequence[ThreadRunResult]) -> None:
    """Exit with 1 unless every run is completed."""
    if not results or any(result.status != "completed" for result in results):
        raise typer.Exit(1)
