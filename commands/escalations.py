"""``lockstitch escalations``: see what runs ask people, and decide."""

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from lockstitch import run_view
from lockstitch.commands import escalation_view
from lockstitch.commands.invocation import AsJson, console, say_more_exist, settings, with_starter
from lockstitch.config import Config
from lockstitch.errors import DecisionRefused, LockstitchError
from lockstitch.starter.client import Starter
from lockstitch.starter.escalations import Action, Decision, Escalation

app = typer.Typer(help="See what runs ask people, and decide.", no_args_is_help=True)

EscalationId = Annotated[str, typer.Argument(help="The id of an escalation: esc_...")]
OfRun = Annotated[str | None, typer.Option("--run", help="The id of its run; needed where it is closed.")]

_ABOUT_A_CALL = ("approval", "outcome_unknown")
"""Reasons of which nobody can decide without the arguments of the call."""


@app.command("list")
def list_escalations(
    run: Annotated[str | None, typer.Option("--run", help="Of this run, also those that are closed.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the escalations that wait for a decision, oldest first."""
    found: list[Escalation] = with_starter(lambda starter: starter.escalations(run, limit=limit + 1))
    shown = found if run else found[:limit]
    for escalation in shown:
        if as_json:
            run_view.print_json(escalation.model_dump(mode="json"))
        else:
            console.print(escalation_view.summary(escalation), highlight=False, soft_wrap=True)
    if not found and not as_json:
        console.print("This run has asked nobody." if run else "Nobody is asked anything.")
    if len(found) > len(shown):
        say_more_exist(f"These are the oldest {limit}, and newer ones exist. See them with --limit.")


@app.command("show")
def show_escalation(escalation_id: EscalationId, run: OfRun = None, as_json: AsJson = False) -> None:
    """Show everything about one escalation, and what may be decided."""
    config = settings()

    async def read(starter: Starter) -> tuple[Escalation, str | None]:
        escalation = await starter.escalation(escalation_id, run_id=run)
        return escalation, await _arguments(config, escalation)

    escalation, arguments = with_starter(read)
    if as_json:
        run_view.print_json(_object(escalation, arguments))
        return
    for line in escalation_view.lines(escalation, arguments):
        console.print(line, highlight=False, soft_wrap=True)


@app.command("resolve")
def resolve_escalation(
    escalation_id: EscalationId,
    action: Annotated[Action, typer.Argument(help="What is decided; `show` tells what may be.")],
    run: OfRun = None,
    output: Annotated[str | None, typer.Option(help="The output of the call, for answer; @FILE reads it.")] = None,
    message: Annotated[str | None, typer.Option(help="What the model reads, for deny and error.")] = None,
    by: Annotated[str | None, typer.Option(help="Who decides; your user name where it is left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Decide about an escalation, once."""
    if action == "answer" and output is None:
        raise typer.BadParameter("answer needs the output of the call", param_hint="--output")
    if action != "answer" and output is not None:
        raise typer.BadParameter(f"an output belongs to answer, not to {action}", param_hint="--output")
    decision = Decision(
        escalation_id=escalation_id,
        action=action,
        by=_user() if by is None else by,
        output=None if output is None else _text(output),
        message=message,
    )

    async def decide(starter: Starter) -> Escalation:
        escalation = await starter.escalation(escalation_id, run_id=run)
        if problem := escalation.refusal(decision):  # no worker is needed to know that
            raise DecisionRefused(escalation_id, problem)
        return await starter.decide(escalation.run_id, decision)

    closed = with_starter(decide)
    if as_json:
        run_view.print_json(closed.model_dump(mode="json"))
    else:
        console.print(escalation_view.summary(closed), highlight=False, soft_wrap=True)


async def _arguments(config: Config, escalation: Escalation) -> str | None:
    """Return the arguments of the call where the store is at hand: this command needs nothing but Temporal."""
    if escalation.reason not in _ABOUT_A_CALL or not _store_is_here(config.database_url):
        return None
    from lockstitch.assistants.store import tool_calls
    from lockstitch.assistants.store.database import Database

    database = Database(config.database_url)  # not entered: looking at a store must not upgrade it
    try:
        call = await database.read(lambda it: tool_calls.get(it, escalation.run_id, escalation.call_id))
    except LockstitchError:
        return None
    finally:
        await database.aclose()
    return None if call is None else str(call["arguments"])


def _store_is_here(database_url: str) -> bool:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(database_url)
    except ArgumentError:
        return False
    is_file = url.get_backend_name() == "sqlite" and bool(url.database) and Path(url.database or "").is_file()
    return is_file or url.drivername in ("postgresql", "postgresql+psycopg")


def _object(escalation: Escalation, arguments: str | None) -> dict[str, Any]:
    told = {**escalation.model_dump(mode="json"), "actions": escalation.actions if escalation.is_open else ()}
    return told if arguments is None else {**told, "arguments": arguments}


def _text(output: str) -> str:
    """Return an output as it was given, or what is in the file that was named with an ``@``."""
    if not output.startswith("@"):
        return output
    try:
        return Path(output[1:]).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise typer.BadParameter(f"{output[1:]!r} cannot be read: {reason}", param_hint="--output") from error


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may run under an id that has no name
        return ""
