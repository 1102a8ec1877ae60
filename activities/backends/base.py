"""The protocol that every backend speaks: narrow, and each call safe to repeat."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol, Self

from sqlalchemy import Connection

from lockstitch.activities.messages import CallFailure, RunRef, RunStop
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.starter.contract import LastError, RunPolicy, ThreadRunRequest, ToolOutput

Progress = Callable[[Connection], Sequence[NewEvent]]
"""One thing that happened in a run: writes what it changes in the store and returns the events that tell it.

Progress is collected and recorded in small batches, each as one transaction.
"""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a run may stay in one status upstream before it counts as hanging."""

    queued: timedelta = timedelta(minutes=2)
    in_progress: timedelta = timedelta(minutes=5)
    """From the last sign of life."""
    cancelling: timedelta = timedelta(minutes=1)

    @classmethod
    def of(cls, policy: RunPolicy) -> Self:
        """Return what a run's policy says."""
        return cls(policy.queued_timeout, policy.in_progress_timeout, policy.cancelling_timeout)


class Backend(Protocol):
    """Where runs execute.

    Methods raise `UpstreamError` or the upstream's own errors, which `upstream_errors` translates,
    `ApiError` for what the upstream refuses, and `UpstreamRunBroken` where the run upstream vanished or hangs, so
    that another has to take its place.
    """

    name: str

    async def create(self, run_id: str, request: ThreadRunRequest) -> RunRef:
        """Create the run, or find the one that an earlier call with this ``run_id`` created.

        A request with an ``adopted_run_id`` means the run upstream that has this id.
        """
        ...

    def follow(self, run: RunRef, turn: int, attempt: int, patience: Patience) -> AsyncGenerator[Progress, None]:
        """Follow the run through model turn number ``turn`` (from 1) until it stops.

        A turn that is recorded already yields nothing. What a broken earlier attempt left open is closed
        before anything new is told.
        """
        ...

    async def submit(self, run: RunRef, outputs: Sequence[ToolOutput], failures: Sequence[CallFailure]) -> None:
        """Give the run the outputs that it waits for; those that it has already are left as they are."""
        ...

    async def retrieve(self, run: RunRef) -> RunStop:
        """Tell where the run stands. The policies of the calls are not the backend's to know."""
        ...

    async def replace(self, run: RunRef, request: ThreadRunRequest, number: int, patience: Patience) -> RunRef:
        """End the run upstream and create another on its thread, or find the one that an earlier call created.

        ``number`` counts a run's replacements from 1. Returns the same run with another ``upstream_id``.
        """
        ...

    async def end(
        self, run: RunRef, status: Literal["cancelled", "failed", "expired"], last_error: LastError | None
    ) -> RunStop:
        """End the run, if it has not ended, and tell how it ended."""
        ...
