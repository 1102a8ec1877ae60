"""Shows a run while it happens and how it ended: live for people, one JSON object per line for programs."""

import json
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lockstitch.escalation_wording import from_now
from lockstitch.starter.contract import RunEvent, RunSnapshot, ThreadRunResult, UpstreamAttempt
from lockstitch.tools import Tool

_OUTCOME_STYLES = {"succeeded": "green", "answered": "green", "unanswered": "yellow"}
_STATUS_STYLES = {
    "completed": "green",
    "failed": "red",
    "expired": "red",
    "cancelled": "yellow",
    "incomplete": "yellow",
}


class RunView(Protocol):
    """Where a run is shown."""

    def event(self, event: RunEvent) -> None:
        """Show one event of the run's log."""

    def result(self, result: ThreadRunResult, links: dict[str, str]) -> None:
        """Show how the run ended, and where to look further."""


async def show(events: AsyncIterator[RunEvent], view: RunView) -> None:
    """Show each event as it comes."""
    async for event in events:
        view.event(event)


class JsonView:
    """One JSON object per line; the last is the result."""

    def event(self, event: RunEvent) -> None:
        """Print the event."""
        print_json(event.model_dump(mode="json"))

    def result(self, result: ThreadRunResult, links: dict[str, str]) -> None:
        """Print the result."""
        print_json({**result_object(result), **links})


def result_object(result: ThreadRunResult) -> dict[str, Any]:
    """Return the result as an object for programs, with times in seconds."""
    made = result.model_dump(mode="json")
    made["duration_seconds"] = result.duration.total_seconds()
    del made["duration"]
    for shown, call in zip(made["tool_calls"], result.tool_calls, strict=True):
        shown["duration_seconds"] = call.duration.total_seconds()
        del shown["duration"]
    return made


def print_json(value: Any) -> None:
    """Print one object on one line."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


class LiveView:
    """Steps and text as they come."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._in_text = False
        self._call_names: dict[str, str] = {}

    def event(self, event: RunEvent) -> None:
        """Print what is worth a line, and the text as it is written."""
        if event.event == "thread.message.delta":
            self._text(event.data)
            return
        if line := self._line(event):
            self._end_text()
            self._console.print(line, highlight=False)

    def result(self, result: ThreadRunResult, links: dict[str, str]) -> None:
        """Print the tool calls and a summary."""
        self._end_text()
        if result.tool_calls:
            self._console.print(_calls_table(result))
        style = _STATUS_STYLES.get(result.status, "white")
        tokens = f"{result.usage.prompt_tokens} + {result.usage.completion_tokens} tokens"
        seconds = f"{result.duration.total_seconds():.2f} s"
        self._console.print(f"[{style}]{result.status}[/] after {seconds}, {tokens}  [dim]{result.run_id}[/]")
        if result.last_error:
            self._console.print(f"[red]{escape(result.last_error.message)}[/]")
        for name, link in links.items():
            self._console.print(f"[dim]{name}[/] {escape(link)}", highlight=False, soft_wrap=True)

    def _text(self, data: dict[str, Any]) -> None:
        for part in data["delta"]["content"]:
            self._in_text = True
            self._console.print(escape(part["text"]["value"]), end="", highlight=False, soft_wrap=True)

    def _end_text(self) -> None:
        if self._in_text:
            self._console.print()
            self._in_text = False

    def _line(self, event: RunEvent) -> str | None:
        match event.event.removeprefix("thread.").split("."):
            case ["run", ("in_progress" | "requires_action" | "cancelling" | "queued") as status]:
                return f"[dim]run {status.replace('_', ' ')}[/]"
            case ["run", "step", "completed"] if event.data["type"] == "tool_calls":
                return "\n".join(map(_call_line, event.data["step_details"]["tool_calls"]))
            case ["run", "step", "failed"]:
                return "[yellow]a step was broken off; it is done again[/]"
            case ["run", "step", "delta"]:
                return self._call_started(event.data)
        return None

    def _call_started(self, data: dict[str, Any]) -> str | None:
        started = [call for call in data["delta"]["step_details"]["tool_calls"] if "name" in call["function"]]
        return "\n".join(f"[cyan]→ {call['function']['name']}[/] called" for call in started) or None


def _call_line(call: dict[str, Any]) -> str:
    function = call["function"]
    arguments, output = escape(_short(function["arguments"])), escape(_short(function["output"] or ""))
    return f"[green]✓[/] [cyan]{function['name']}[/]({arguments}) [dim]=>[/] {output}"


def _short(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"


def _calls_table(result: ThreadRunResult) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("tool call", "outcome", "attempts", "last attempt"):
        table.add_column(column, justify="right" if column in ("attempts", "last attempt") else "left")
    for call in result.tool_calls:
        style = _OUTCOME_STYLES.get(call.outcome, "red")
        took = f"{call.duration.total_seconds() * 1000:.0f} ms"
        table.add_row(call.name, f"[{style}]{call.outcome}[/]", str(call.attempts), took)
    return table


def runs_table(runs: list[RunSnapshot], *, overdue_at: datetime | None = None) -> Table:
    """Return a table of runs; with ``overdue_at`` it says for how long each has been overdue by then."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    columns = ("run", "status", "thread", "assistant", "started", "waits for")
    for column in (*columns, "deadline") if overdue_at else columns:
        table.add_column(
            column, overflow="fold", no_wrap=column in ("run", "deadline"), min_width=28 if column == "run" else None
        )
    for run in runs:
        started = f"{run.started_at:%Y-%m-%d %H:%M:%S}" if run.started_at else ""
        style = _STATUS_STYLES.get(run.status, "white")
        waits = ", ".join(call.name for call in run.pending_calls)
        late = [from_now(run.deadline, overdue_at)] if overdue_at and run.deadline else []
        table.add_row(
            run.run_id, f"[{style}]{run.status}[/]", run.thread_id or "", run.assistant_id or "", started, waits, *late
        )
    return table


def attempt_line(attempt: UpstreamAttempt) -> str:
    """Return a line about one run upstream that carried a run."""
    until = f"{attempt.ended_at:%H:%M:%S}" if attempt.ended_at else "now"
    problem = f"  [red]{escape(attempt.problem)}[/]" if attempt.problem else ""
    return f"[dim]carried by[/] {escape(attempt.upstream_id)}  {attempt.began_at:%Y-%m-%d %H:%M:%S} to {until}{problem}"


def show_tool(tool: Tool, console: Console) -> None:
    """Print a tool: its name, what the model is told, and how it is tried."""
    policy = tool.policy
    facts = [
        f"{policy.max_attempts} attempts of at most {policy.timeout.total_seconds():g} s",
        f"first pause {policy.initial_interval.total_seconds():g} s",
        f"then {policy.on_failure}",
        "safe to retry" if policy.retry_safe else "not safe to retry",
    ]
    if policy.approval:
        facts.append("after approval")
    if tool.reconcile is not None:
        facts.append("reconciled where its outcome is unknown")
    if policy.task_queue:
        facts.append(f"on the task queue {policy.task_queue}")
    console.print(f"[cyan]{tool.name}[/]  [dim]{tool.place}[/]", highlight=False)
    console.print(f"  {escape(tool.description.splitlines()[0] if tool.description else '')}", highlight=False)
    console.print(f"  [dim]{'; '.join(facts)}[/]", highlight=False)
    for name, schema in tool.parameters["properties"].items():
        console.print(f"  {name}: {escape(json.dumps(schema, ensure_ascii=False))}", highlight=False, soft_wrap=True)
