"""Measures attempts at model turns, of every backend: what came of each, and how long it took."""

import asyncio
import time
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Literal

from temporalio import activity
from temporalio.exceptions import ApplicationError, is_cancelled_exception

from lockstitch import telemetry
from lockstitch.activities.messages import RunStop
from lockstitch.errors import WriterFenced
from lockstitch.starter.contract import RunPolicy

TurnOutcome = Literal["done", "retried", "failed", "broken"]
"""``done``: the run came to a stop; ``retried``: another attempt follows; ``failed``: none does; ``broken``: the run
upstream has to be replaced."""


async def metered(backend: str, run_id: str, policy: RunPolicy, turn: Coroutine[Any, Any, RunStop]) -> RunStop:
    """Await one attempt at a model turn and count it; one that the run's cancellation ended is not counted."""
    began = time.monotonic()
    outcome: TurnOutcome | None = None
    try:
        stop = await turn
        outcome = "broken" if stop.broken else "done"
    except BaseException as error:
        outcome = _outcome(error, policy)
        raise
    finally:
        if outcome is not None:
            duration = timedelta(seconds=time.monotonic() - began)
            telemetry.model_turn_ended(backend, outcome, duration, run_id)
    return stop


def _outcome(error: BaseException, policy: RunPolicy) -> TurnOutcome | None:
    if isinstance(error, asyncio.CancelledError) or is_cancelled_exception(error):
        why = activity.cancellation_details()
        return "retried" if why is not None and (why.worker_shutdown or why.timed_out) else None
    if isinstance(error.__cause__, WriterFenced):  # Temporal took this attempt for dead, and another goes on
        return "retried"
    final = isinstance(error, ApplicationError) and error.non_retryable
    return "failed" if final or activity.info().attempt >= policy.upstream_attempts else "retried"
