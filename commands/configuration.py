"""``lockstitch config``: what the settings are, and what is wrong or unsafe about them."""

import os
from collections.abc import AsyncIterator
from dataclasses import asdict, fields
from typing import Annotated, Any

import typer
from rich.table import Table

from lockstitch.commands.invocation import AsJson, carry_out, console, settings
from lockstitch.config import Config
from lockstitch.errors import (
    LockstitchError,
    PayloadKeyMissing,
    PayloadStoreUnavailable,
    PayloadUnreadable,
    SearchAttributesMissing,
    SettingsInvalid,
)
from lockstitch.run_view import print_json
from lockstitch.settings_page import default_text, settings_page
from lockstitch.settings_review import Finding, review
from lockstitch.temporal_choice import chosen_temporal
from lockstitch.url_secrets import without_secrets

app = typer.Typer(help="Look at the settings: what they are, what is wrong, what is unsafe.", no_args_is_help=True)

# The settings that these are about, which are found wrong only once something was reached.
_SETTINGS_OF: dict[type[LockstitchError], str] = {
    PayloadKeyMissing: "LOCKSTITCH_PAYLOAD_KEYS",
    PayloadUnreadable: "LOCKSTITCH_PAYLOAD_KEYS",
    PayloadStoreUnavailable: "LOCKSTITCH_PAYLOAD_STORE",
    SearchAttributesMissing: "LOCKSTITCH_TEMPORAL_NAMESPACE",
}

_COLOURS = {"wrong": "bold red", "unsafe": "yellow", "note": "dim"}


@app.command("check")
def check(
    as_json: AsJson = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Reach for nothing: neither Temporal nor database.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for what is unsafe too.")] = False,
) -> None:
    """Say what is wrong with the settings and what is unsafe; exit with 1 where a process would not start."""
    findings = [Finding("wrong", problem.variable, _problem(problem)) for problem in Config.problems_in(os.environ)]
    if not findings:
        config = settings()
        if not offline:
            findings += carry_out(_collected(_out_of_reach(config)))
        findings += review(config)
    _show(findings, as_json)
    levels = {finding.level for finding in findings}
    if "wrong" in levels or (strict and "unsafe" in levels):
        raise typer.Exit(1)


@app.command("show")
def show(as_json: AsJson = False) -> None:
    """Show every setting as a process would read it here; of secrets only whether they are set."""
    config = settings()
    rows = [_shown(config, setting) for setting in fields(Config)]
    if as_json:
        for row in rows:
            print_json(row)
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("variable", "value", "from"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        style = "dim" if row["from"] == "default" else ""
        table.add_row(row["variable"], row["value"], row["from"], style=style)
    console.print(table, highlight=False)


@app.command("describe")
def describe() -> None:
    """Print the page about settings, docs/settings.md, as Markdown."""
    typer.echo(settings_page(), nl=False)


def _shown(config: Config, setting: Any) -> dict[str, str]:
    variable = setting.metadata["variable"]
    is_set = bool(os.environ.get(variable, "").strip())
    value = os.environ[variable].strip() if is_set else default_text(setting)
    if is_set and not setting.repr:
        value = "(set)"
    return {"variable": variable, "value": without_secrets(value), "from": "environment" if is_set else "default"}


def _show(findings: list[Finding], as_json: bool) -> None:
    for finding in findings:
        if as_json:
            print_json(asdict(finding))
        else:
            console.print(f"[{_COLOURS[finding.level]}]{finding.level:<7}[/]{finding.variable}", highlight=False)
            console.print(f"       {finding.sentence}", highlight=False, markup=False, soft_wrap=True)
    if not findings and not as_json:
        console.print("Nothing is wrong with the settings, and nothing about them is unsafe.")


def _problem(problem: SettingsInvalid) -> str:
    return str(problem).removeprefix(f"{problem.variable}: ")


async def _collected(findings: AsyncIterator[Finding]) -> list[Finding]:
    return [finding async for finding in findings]


async def _out_of_reach(config: Config) -> AsyncIterator[Finding]:
    """Yield what a process would not find when it starts; looking changes nothing."""
    looks = {
        "LOCKSTITCH_TOOLS": _look_at_tools,
        "LOCKSTITCH_DATABASE_URL": _look_at_database,
        "LOCKSTITCH_TEMPORAL_ADDRESS": _look_at_temporal,
    }
    for variable, look in looks.items():
        try:
            async for finding in look(config):
                yield finding
        except SettingsInvalid as problem:
            yield Finding("wrong", problem.variable, _problem(problem))
        except LockstitchError as problem:
            yield Finding("wrong", _SETTINGS_OF.get(type(problem), variable), str(problem))


async def _look_at_tools(config: Config) -> AsyncIterator[Finding]:
    from lockstitch.tools import ToolRegistry

    if not len(ToolRegistry.load(config.tools)) and "runs" in config.worker_serves:
        yield Finding("note", "LOCKSTITCH_TOOLS", "no handler is registered; calls of functions wait for clients.")


async def _look_at_database(config: Config) -> AsyncIterator[Finding]:
    from lockstitch.assistants.store import migrations
    from lockstitch.assistants.store.database import Database

    database = Database(config.database_url)  # not entered: looking at a database must not upgrade it
    try:
        if not config.database_auto_upgrade:
            await database.read(migrations.check)
        elif (await database.read(migrations.revision) or migrations.NEWEST) < migrations.NEWEST:
            yield Finding(
                "note", "LOCKSTITCH_DATABASE_URL", "its tables are older; the first process that starts upgrades them."
            )
    finally:
        await database.aclose()


async def _look_at_temporal(config: Config) -> AsyncIterator[Finding]:
    from lockstitch.starter.client import Starter

    starter = await Starter.connect(chosen_temporal(config), task_queue=config.task_queue)
    async with starter:
        if missing := await starter.lacks():
            sentence = f"it has no {', '.join(missing)} yet; the first process that starts adds them, where it may."
            yield Finding("note", "LOCKSTITCH_TEMPORAL_NAMESPACE", sentence)
