"""Shows what runs ask people: a few lines for each escalation, or everything about one."""

from collections.abc import Iterator
from datetime import UTC, datetime

from rich.markup import escape

from lockstitch.escalation_wording import from_now, moment, readable, visible, what_became, what_happens_then
from lockstitch.starter.escalations import Escalation

_ACTIONS = {
    "approve": "call the handler",
    "deny": "the model reads that it was denied, and --message",
    "answer": "--output is the output of the call",
    "retry": "call the handler again",
    "error": "the model reads an error, or --message",
    "cancel": "end the run",
}


def summary(escalation: Escalation) -> str:
    """Return two lines: what is asked, and until when or what became of it."""
    now = datetime.now(UTC)
    style = "yellow" if escalation.is_open else "green" if escalation.decision else "red"
    head = f"[{style}]{escalation.id}[/]  [cyan]{_safe(escalation.tool)}[/]  {escalation.reason}"
    asked = f"asked {from_now(escalation.opened_at, now)}"
    return f"{head}\n  [dim]{escalation.run_id}[/]  {asked}; {escape(_end(escalation, now))}"


def lines(escalation: Escalation, arguments: str | None) -> Iterator[str]:
    """Yield everything about an escalation, and what may be decided; ``arguments`` are those of the call."""
    now = datetime.now(UTC)
    facts = {
        "escalation": escalation.id,
        "run": escalation.run_id,
        "tool call": f"{escalation.tool} {escalation.call_id}",
        "reason": escalation.reason,
        "detail": escalation.detail,
        "asked": f"{moment(escalation.opened_at)}, {from_now(escalation.opened_at, now)}",
        "deadline": f"{moment(escalation.deadline)}, {from_now(escalation.deadline, now)}",
        "then": what_happens_then(escalation),
    }
    if escalation.closed_at is not None:
        facts["closed"] = f"{moment(escalation.closed_at)}: {what_became(escalation)}"
    if escalation.decision is not None:
        facts |= {"message": escalation.decision.message or "", "output": escalation.decision.output or ""}
    yield from (f"[dim]{name:<12}[/]{_safe(value)}" for name, value in facts.items() if value)
    if arguments is not None:
        yield f"[dim]arguments[/]\n{escape(readable(arguments))}"
    if escalation.is_open:
        yield "[dim]decide with[/]"
        for action in escalation.actions:
            yield f"  lockstitch escalations resolve {escalation.id} {action:<8}[dim]{_ACTIONS[action]}[/]"


def _end(escalation: Escalation, now: datetime) -> str:
    if escalation.closed_at is not None:
        return f"{what_became(escalation)} {from_now(escalation.closed_at, now)}"
    return f"deadline {from_now(escalation.deadline, now)}, then {what_happens_then(escalation)}"


def _safe(text: str) -> str:
    """Return a text from outside as it may be printed: nothing in it is markup, or an order to the terminal."""
    return escape(visible(text, also="\n"))
