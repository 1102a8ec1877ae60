"""What one execution of a run's workflow leaves to the next, so that no history grows without bound."""

from datetime import datetime

from pydantic import BaseModel, Field

from lockstitch.activities.messages import RunStop
from lockstitch.starter.contract import Answer, ThreadRunRequest, ToolCallReport, UpstreamAttempt
from lockstitch.starter.escalations import Escalation


class CarriedRun(BaseModel):
    """A run between two rounds: ids, outcomes and counts, no content."""

    began: datetime
    """When the run began; its deadline counts from there."""
    turn: int
    stop: RunStop
    """Where the run stands."""
    reports: list[ToolCallReport] = Field(default_factory=list)
    attempts: list[UpstreamAttempt] = Field(default_factory=list)
    early_answers: list[Answer] = Field(default_factory=list)
    escalations: list[Escalation] = Field(default_factory=list)
    status_since: datetime | None = None
    """When the run got the status that ``stop`` has."""


class ThreadRunInput(ThreadRunRequest):
    """What the workflow is given: a request, and what an earlier execution left behind if there was one."""

    carried: CarriedRun | None = None
