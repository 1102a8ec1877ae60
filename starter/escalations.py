"""Escalations: what a run asks a person, who may answer what, and what was decided.

A run shows its escalations in a memo, so that whoever asks the Temporal server sees them, with or without a worker.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from lockstitch.starter.identifiers import id_for_key

ESCALATIONS_MEMO = "escalations"
"""The memo that holds a run's escalations, open and closed; a list of `Escalation`."""

DECIDE_UPDATE = "decide"
"""The workflow update that takes a decision; its argument is a `Decision`, its result the closed `Escalation`."""

Reason = Literal["approval", "no_handler", "handler_failed", "outcome_unknown"]
"""Why a person is asked.

``approval``: the tool may only be called when somebody approved; ``no_handler``: no handler is registered for the
function; ``handler_failed``: its attempts are used up; ``outcome_unknown``: its worker died or its time ran out, so it
may or may not have taken effect.
"""

Action = Literal["approve", "deny", "answer", "retry", "error", "cancel"]
"""What a person may decide.

``approve``: call the handler; ``deny``: the model reads that it was denied; ``answer``: here is the output; ``retry``:
call the handler again; ``error``: the model reads an error; ``cancel``: end the run.
"""

ACTIONS: dict[Reason, tuple[Action, ...]] = {
    "approval": ("approve", "deny", "cancel"),
    "no_handler": ("answer", "error", "cancel"),
    "handler_failed": ("retry", "answer", "error", "cancel"),
    "outcome_unknown": ("retry", "answer", "error", "cancel"),
}
"""What may be decided about what."""

LastRung = Literal["deny", "error_output", "cancel", "replace"]
"""What happens when nobody decides until the deadline."""

LONGEST_TEXT = 64 * 1024
"""Characters of an output or a message that comes with a decision."""


class Decision(BaseModel):
    """What a person decided about one escalation.

    ``output`` belongs to ``answer``; ``message`` to ``deny`` and ``error``, and is what the model reads. ``by`` says
    who decided, for the record.
    """

    escalation_id: str
    action: Action
    by: Annotated[str, Field(max_length=256)] = ""
    output: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = None
    message: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = None

    @model_validator(mode="after")
    def _an_answer_has_an_output(self) -> "Decision":
        if (self.action == "answer") != (self.output is not None):
            raise ValueError("an output belongs to the action 'answer', and to no other")
        return self


class Escalation(BaseModel):
    """One question to a person, and what became of it."""

    id: str
    run_id: str
    call_id: str
    tool: str
    reason: Reason
    detail: str
    """What happened, in one sentence."""
    opened_at: datetime
    deadline: datetime
    on_deadline: LastRung
    closed_at: datetime | None = None
    decision: Decision | None = None
    """``None`` while it is open, and where it was closed without one: by its deadline, or because the call was settled
    in another way or the run ended."""
    closed_by: Literal["decision", "answer", "deadline", "run"] | None = None
    """``answer``: outputs came from outside; ``run``: the run ended or went on without the call."""

    @property
    def is_open(self) -> bool:
        """Whether somebody may still decide."""
        return self.closed_at is None

    @property
    def actions(self) -> tuple[Action, ...]:
        """What may be decided."""
        return ACTIONS[self.reason]

    def refusal(self, decision: Decision) -> str | None:
        """Say why the decision cannot be taken, in one sentence; ``None`` where it can."""
        if self.decision is not None:
            who = self.decision.by or "somebody"
            return f"Escalation {self.id} was decided already: {self.decision.action} by {who} at {self.closed_at}."
        if not self.is_open:
            return f"Escalation {self.id} was closed at {self.closed_at} by {_CLOSED_BY[self.closed_by or 'run']}."
        if decision.action not in self.actions:
            allowed = ", ".join(self.actions)
            return f"Escalation {self.id} ({self.reason}) does not take {decision.action!r}; it takes {allowed}."
        return None


_CLOSED_BY = {
    "decision": "a decision",
    "answer": "an answer from outside",
    "deadline": "its deadline",
    "run": "the end of its call",
}


def escalation_id(run_id: str, call_id: str, number: int) -> str:
    """Return the id of the run's escalation number ``number``, the same whenever the workflow is replayed."""
    return id_for_key("esc", run_id, call_id, str(number))
