"""The protocol that every backend speaks: narrow, and each call safe to repeat."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Literal, Protocol

from sqlalchemy import Connection

from lockstitch.activities.messages import CallFailure, RunRef, RunStop
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.starter.contract import LastError, ThreadRunRequest, ToolOutput

Progress = Callable[[Connection], Sequence[NewEvent]]
"""One thing that happened in a run: writes what it changes in the store and returns the events that tell it.

Progress is collected and recorded in small batches, each as one transaction.
"""


class Backend(Protocol):
    """Where runs execute.

    Methods raise `UpstreamError` or the upstream's own errors, which `upstream_errors` translates, and
    `ApiError` for what the upstream refuses.
    """

    name: str

    async def create(self, run_id: str, request: ThreadRunRequest) -> RunRef:
        """Create the run, or find the one that an earlier call with this ``run_id`` created."""
        ...

    def follow(self, run: RunRef, turn: int, attempt: int) -> AsyncGenerator[Progress, None]:
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

    async def end(
        self, run: RunRef, status: Literal["cancelled", "failed", "expired"], last_error: LastError | None
    ) -> RunStop:
        """End the run, if it has not ended, and tell how it ended."""
        ...
