"""Escalations in words, for the command line and for the page behind a decision link; pure."""

import json
from datetime import datetime, timedelta

from lockstitch.starter.escalations import Escalation, LastRung

_THEN: dict[LastRung, str] = {
    "deny": "the call is denied",
    "error_output": "the model reads an error and goes on",
    "cancel": "the run is cancelled",
    "replace": "a new run takes the place of this one",
}
_CLOSED_BY = {
    "decision": "a decision",
    "answer": "an answer from outside",
    "deadline": "its deadline",
    "run": "the end of its call",
}
_UNITS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)), ("s", timedelta(0)))


def what_happens_then(escalation: Escalation) -> str:
    """Say what happens if nobody decides until the deadline."""
    return _THEN[escalation.on_deadline]


def what_became(escalation: Escalation) -> str:
    """Say what became of an escalation: who decided what, or what closed it; "open" while it waits."""
    if escalation.decision is not None:
        return f"{escalation.decision.action} by {visible(escalation.decision.by) or 'somebody'}"
    return f"closed by {_CLOSED_BY[escalation.closed_by or 'run']}" if not escalation.is_open else "open"


def moment(at: datetime) -> str:
    """Return a point in time as it is shown."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def from_now(at: datetime, now: datetime) -> str:
    """Say how far away a moment is: "in 4 min" or "4 min ago", counted in whole units that have passed."""
    distance = abs(at - now)
    name, unit = next((name, unit) for name, unit in _UNITS if distance >= 2 * unit)
    number = distance // (unit or timedelta(seconds=1))
    return f"in {number} {name}" if at > now else f"{number} {name} ago"


def readable(arguments: str) -> str:
    """Return the arguments of a call for people to read: indented where they are JSON, and no character hidden."""
    try:
        shown = json.dumps(json.loads(arguments), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):  # a model may write what is no JSON
        shown = arguments
    return visible(shown, also="\n")


def visible(text: str, also: str = "") -> str:
    """Write as JSON escapes what a screen would hide, turn around or obey; ``also`` says what else stays as it is.

    A model wrote most of what people decide about, and its users may have told it what to write.
    """
    return "".join(char if char.isprintable() or char in also else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex(" ", 2).split()
    return "".join(f"\\u{unit}" for unit in units)
