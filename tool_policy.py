"""How a tool call is tried; apart from the registry, because the workflow reads it too."""

from datetime import timedelta
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_ZERO = timedelta()


class ToolPolicy(BaseModel):
    """How often and for how long a tool call is tried, and what happens when it fails for good."""

    model_config = ConfigDict(frozen=True)

    timeout: timedelta = Field(default=timedelta(seconds=60), gt=_ZERO)
    """Of one attempt."""
    max_attempts: int = Field(default=3, ge=1)
    initial_interval: timedelta = Field(default=timedelta(seconds=1), gt=_ZERO)
    """Between the first attempt and the second; each later pause is ``backoff`` times the one before."""
    backoff: float = Field(default=2.0, ge=1.0)
    max_interval: timedelta = Field(default=timedelta(seconds=30), gt=_ZERO)
    on_failure: Literal["error_output", "fail_run", "escalate"] = "error_output"
    """``error_output``: the model sees the error and goes on; ``fail_run``: the run ends as failed; ``escalate``: a
    person decides."""
    retry_safe: bool = False
    """May the handler run again when it is unknown whether the last attempt took effect? That is so when its worker
    died or its time ran out; a handler that raised has failed, and is tried again in any case."""
    approval: bool = False
    """Must somebody approve a call before the handler is called?"""
    approval_timeout: timedelta | None = Field(default=None, gt=_ZERO)
    """How long to wait for that; None: as long as the run waits for any decision."""
    task_queue: str | None = None
    """Where the handler's workers listen; None: where the run's own worker does."""

    @model_validator(mode="after")
    def _intervals_in_order(self) -> Self:
        if self.max_interval < self.initial_interval:
            raise ValueError("max_interval must not be shorter than initial_interval")
        return self
