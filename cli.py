"""The command line: the processes, a run from the shell; `commands` has the groups of commands."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from temporalio.service import RPCError

from lockstitch import run_view, telemetry
from lockstitch.commands import (
    configuration,
    databases,
    deployments,
    escalations,
    importing,
    keys,
    projects,
    purging,
    replaying,
    runs,
    sandboxes,
)
from lockstitch.commands.invocation import AsJson, carry_out, console, exit_by, settings, view, with_starter
from lockstitch.errors import LockstitchError
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, ThreadRunRequest, ThreadRunResult

app = typer.Typer(
    help="Run assistant threads so that no run is lost or left hanging.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
tools_app = typer.Typer(help="Look at the registered tools.", no_args_is_help=True)
app.add_typer(runs.app, name="runs")
app.add_typer(escalations.app, name="escalations")
app.add_typer(databases.app, name="db")
app.add_typer(configuration.app, name="config")
app.add_typer(deployments.app, name="deployments")
app.add_typer(keys.app, name="keys")
app.add_typer(projects.app, name="projects")
app.add_typer(sandboxes.app, name="sandbox")
app.add_typer(purging.app, name="purge")
app.add_typer(tools_app, name="tools")
app.command("import")(importing.import_objects)
app.command("replay")(replaying.replay_histories)


def main() -> None:
    """Run the command line; what goes wrong is one sentence on standard error and the exit code 1."""
    # A console script finds installed packages only, and people keep their tools beside them in the working folder.
    # At the end, because a folder of ours, such as workflows/, must hide nobody's package.
    sys.path.append(str(Path.cwd()))
    try:
        app()
    except LockstitchError as error:
        _give_up(str(error))
    except RPCError as error:
        _give_up(f"The Temporal server refused a request ({error.status.name}): {error.message}")
    except ValidationError as error:
        first = error.errors()[0]
        _give_up(f"{'.'.join(map(str, first['loc'])) or 'The request'}: {first['msg']}")


def _give_up(problem: str) -> NoReturn:
    sys.stderr.write(f"lockstitch: {problem}\n")
    sys.exit(1)


async def _until_told(body: Callable[[asyncio.Event], Awaitable[None]], within: timedelta | None = None) -> None:
    """Run ``body`` with an event that SIGINT and SIGTERM set; a second one ends the process at once.

    So does the time ``within`` which ``body`` should have ended then: a handler that does not heed its cancellation
    must not keep the process longer than those who run it wait.
    """
    stop = asyncio.Event()

    def told() -> None:
        if stop.is_set():
            _end_now("it was told twice")
        stop.set()
        if within is not None:
            overdue = threading.Timer(within.total_seconds(), _end_now, [f"it took more than {within.seconds} s"])
            overdue.daemon = True  # the process may end before
            overdue.start()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told)
    await body(stop)


def _end_now(reason: str) -> NoReturn:
    """End the process as if it was killed: what it held is given to others, as after any crash."""
    telemetry.log.warning("stop_hurried", reason=reason)
    os._exit(1)


async def _until_interrupted(body: Coroutine[Any, Any, None]) -> None:
    """Run ``body`` until it ends or SIGINT or SIGTERM cancels it; either way it cleans up behind itself."""
    task = asyncio.ensure_future(body)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


@app.command()
def worker() -> None:
    """Run a worker: it carries runs and calls their handlers. Settings come from the environment."""
    from lockstitch.worker import STOP_MARGIN, run_worker

    config = settings()
    telemetry.set_up_logging(config.log_format, config.log_level)
    carry_out(_until_told(lambda stop: run_worker(config, stop), config.shutdown_grace + STOP_MARGIN))


@app.command()
def serve() -> None:
    """Run the HTTP server: the Assistants API. Settings come from the environment."""
    from lockstitch.assistants.http.app import serve as serve_http

    config = settings()
    telemetry.set_up_logging(config.log_format, config.log_level)
    carry_out(_until_told(lambda stop: serve_http(config, stop)))


@app.command()
def dev(
    data_dir: Annotated[Path, typer.Option(help="Where the databases and the Temporal log are kept.")] = Path(
        ".lockstitch"
    ),
    port: Annotated[int, typer.Option(help="Of the HTTP server; 0 takes a free one.")] = 8700,
    temporal_port: Annotated[int, typer.Option(help="Of the Temporal server.")] = 7233,
    ui_port: Annotated[int, typer.Option(help="Of the Temporal UI.")] = 8233,
    metrics_port: Annotated[int, typer.Option(help="Of the worker's metrics.")] = 9464,
) -> None:
    """Start everything on this machine: Temporal dev server, worker and HTTP server. Ctrl-C ends it."""
    from lockstitch.dev import DevOptions, DevStack

    settings()
    options = DevOptions(data_dir, port, temporal_port, ui_port, metrics_port)

    async def run_stack() -> None:
        async with DevStack(options) as stack:
            for name, url in (
                ("Assistants API", f"OPENAI_BASE_URL={stack.server_url}/v1"),
                ("Console", f"{stack.server_url}/console"),
                ("Temporal UI", stack.ui_url),
                ("Metrics", f"{stack.metrics_url}/metrics"),
                ("Data", str(stack.data_dir)),
            ):
                console.print(f"[dim]{name:<15}[/]{url}", highlight=False, soft_wrap=True)
            console.print("Ready. Ctrl-C ends it.")
            await asyncio.Event().wait()

    carry_out(_until_interrupted(run_stack()))


@app.command()
def demo(
    as_json: AsJson = False,
    model: Annotated[str, typer.Option(help="The model, where OPENAI_API_KEY is set.")] = "gpt-4o-mini",
    keep: Annotated[bool, typer.Option(help="Leave everything running afterwards, until Ctrl-C.")] = False,
) -> None:
    """Show the main job on an embedded stack: a run whose two tools read a file, and one of which is retried."""
    from lockstitch.demo import demo_stack, run_demo

    config = settings()
    shown = view(as_json)
    finished: list[ThreadRunResult] = []

    async def run_all() -> None:
        if not as_json:
            console.print("[dim]Starting Temporal, a worker and the HTTP server ...[/]")
        async with demo_stack() as stack:
            finished.append(await run_demo(stack, config, model, shown))
            if keep:
                console.print("Still running. Ctrl-C ends it.")
                await asyncio.Event().wait()

    carry_out(_until_interrupted(run_all()))
    exit_by(finished)


@app.command()
def run(
    message: Annotated[str, typer.Argument(help="What the user says.")],
    assistant: Annotated[str, typer.Option(help="The id of the assistant: asst_...")],
    thread: Annotated[str | None, typer.Option(help="The id of a thread; without it, a new one begins.")] = None,
    key: Annotated[str | None, typer.Option(help="Starting again with the same key means the same run.")] = None,
    as_json: AsJson = False,
) -> None:
    """Start a run and watch it."""
    said = NewMessage(role="user", content=message)
    request = (
        ThreadRunRequest(assistant_id=assistant, messages=[said])
        if thread is None
        else ThreadRunRequest(assistant_id=assistant, thread_id=thread, additional_messages=[said])
    )
    shown = view(as_json)

    async def start_and_watch(starter: Starter) -> ThreadRunResult:
        run_id = await starter.start(request, key=key)
        await run_view.show(starter.stream(run_id), shown)
        result = await starter.result(run_id)
        shown.result(result, {})
        return result

    exit_by([with_starter(start_and_watch)])


@tools_app.command("list")
def list_tools(as_json: AsJson = False) -> None:
    """List the tools that LOCKSTITCH_TOOLS and installed packages register: names, schemas and policies."""
    from lockstitch.tools import ToolRegistry

    registry = ToolRegistry.load(settings().tools)
    for tool in registry.tools:
        if as_json:
            run_view.print_json({**tool.definition()["function"], "policy": tool.policy.model_dump(mode="json")})
        else:
            run_view.show_tool(tool, console)
    if not as_json and not len(registry):
        console.print("No tools are registered; set LOCKSTITCH_TOOLS to an import path.")


if __name__ == "__main__":
    main()
