"""Retries and time limits, as values for Temporal; pure."""

from datetime import datetime, timedelta
from typing import Literal, NotRequired, TypedDict

from temporalio.common import RetryPolicy

from lockstitch.starter.contract import RunPolicy
from lockstitch.tool_policy import ToolPolicy


class Limits(TypedDict):
    """What Temporal is told of one activity."""

    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: NotRequired[timedelta]
    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy


UPSTREAM_FIRST_RETRY = timedelta(milliseconds=500)
UPSTREAM_LONGEST_WAIT = timedelta(seconds=30)
"""A `retry-after` of the upstream goes before both."""

READING_TIMEOUT = timedelta(seconds=30)

ENDING_TIMEOUT = timedelta(seconds=90)
ENDING_GIVEN_UP = timedelta(minutes=10)
"""An upstream that is out of reach for so long after a run had to end is left alone; here the run ends."""

DECISION_MARGIN = timedelta(seconds=30)
"""What is left of a run's time, at most, when nobody decides about a call any more: so long may the model take for an
answer without the call's output. It is a tenth of the run's time where that is shorter."""

CONTINUE_AFTER_EVENTS = 2000
"""A longer history is left behind between two rounds; Temporal's limit is 51,200 events."""

BUILT_IN_TIMEOUT = timedelta(minutes=10)
BUILT_IN_ATTEMPTS = 3
CODE_WORKER_AWAITED = timedelta(minutes=2)
"""So long a call waits for a worker that runs code; then the model is told that there is none."""
SESSION_AWAITED = timedelta(seconds=10)
"""So long a call waits for the worker that holds its session; then it gets a new session, on any worker."""

NOTIFICATION_TIMEOUT = timedelta(seconds=30)
NOTIFICATION_HEARTBEAT = timedelta(seconds=10)
NOTIFICATION_FIRST_RETRY = timedelta(seconds=5)
NOTIFICATION_LONGEST_WAIT = timedelta(hours=1)
NOTIFICATION_GIVEN_UP = timedelta(hours=24)
"""A receiver that was away for a night still learns of what happened; what is older is no news."""


def turn_limits(policy: RunPolicy, time_left: timedelta) -> Limits:
    """Return the limits of an activity that takes one model turn; all attempts share the run's ``time_left``."""
    return Limits(
        schedule_to_close_timeout=time_left,
        start_to_close_timeout=policy.turn_timeout,
        heartbeat_timeout=policy.heartbeat_timeout,
        retry_policy=RetryPolicy(
            initial_interval=UPSTREAM_FIRST_RETRY,
            backoff_coefficient=2.0,
            maximum_interval=UPSTREAM_LONGEST_WAIT,
            maximum_attempts=policy.upstream_attempts,
        ),
    )


def tool_limits(tool: ToolPolicy, policy: RunPolicy, time_left: timedelta) -> Limits:
    """Return the limits of an activity that calls a handler; all attempts share the run's ``time_left``.

    The worker ends a handler at its timeout; Temporal's own limit is a little longer, and holds where the worker
    is too busy to keep it.
    """
    return Limits(
        schedule_to_close_timeout=time_left,
        start_to_close_timeout=tool.timeout + timedelta(seconds=5),
        heartbeat_timeout=policy.heartbeat_timeout,
        retry_policy=RetryPolicy(
            initial_interval=tool.initial_interval,
            backoff_coefficient=tool.backoff,
            maximum_interval=max(tool.max_interval, tool.initial_interval),
            maximum_attempts=tool.max_attempts,
        ),
    )


def search_limits(policy: RunPolicy, time_left: timedelta) -> Limits:
    """Return the limits of the activity that searches files."""
    return Limits(
        schedule_to_close_timeout=time_left,
        start_to_close_timeout=BUILT_IN_TIMEOUT,
        heartbeat_timeout=policy.heartbeat_timeout,
        retry_policy=RetryPolicy(
            initial_interval=UPSTREAM_FIRST_RETRY,
            maximum_interval=UPSTREAM_LONGEST_WAIT,
            maximum_attempts=BUILT_IN_ATTEMPTS,
        ),
    )


def code_limits(policy: RunPolicy, time_left: timedelta, *, in_session: bool) -> Limits:
    """Return the limits of the activity that runs code, in its session, or in a new one on any worker."""
    return Limits(
        schedule_to_close_timeout=time_left,
        schedule_to_start_timeout=SESSION_AWAITED if in_session else CODE_WORKER_AWAITED,
        start_to_close_timeout=BUILT_IN_TIMEOUT,
        heartbeat_timeout=policy.heartbeat_timeout,
        retry_policy=RetryPolicy(
            initial_interval=UPSTREAM_FIRST_RETRY,
            maximum_interval=UPSTREAM_LONGEST_WAIT,
            maximum_attempts=1 if in_session else BUILT_IN_ATTEMPTS,
        ),
    )


def reading_limits(policy: RunPolicy, time_left: timedelta) -> Limits:
    """Return the limits of the activity that reads a run again."""
    return Limits(
        schedule_to_close_timeout=time_left,
        start_to_close_timeout=READING_TIMEOUT,
        heartbeat_timeout=policy.heartbeat_timeout,
        retry_policy=RetryPolicy(
            initial_interval=UPSTREAM_FIRST_RETRY,
            maximum_interval=UPSTREAM_LONGEST_WAIT,
            maximum_attempts=policy.upstream_attempts,
        ),
    )


def ending_limits(policy: RunPolicy) -> Limits:
    """Return the limits of the activity that ends a run: it has a time of its own, for a run must end."""
    return Limits(
        schedule_to_close_timeout=ENDING_GIVEN_UP,
        start_to_close_timeout=ENDING_TIMEOUT,
        heartbeat_timeout=policy.heartbeat_timeout,
        retry_policy=RetryPolicy(initial_interval=UPSTREAM_FIRST_RETRY, maximum_interval=UPSTREAM_LONGEST_WAIT),
    )


def notification_limits() -> Limits:
    """Return the limits of the activity that delivers a notification: it is tried for a day."""
    return Limits(
        schedule_to_close_timeout=NOTIFICATION_GIVEN_UP,
        start_to_close_timeout=NOTIFICATION_TIMEOUT,
        heartbeat_timeout=NOTIFICATION_HEARTBEAT,
        retry_policy=RetryPolicy(
            initial_interval=NOTIFICATION_FIRST_RETRY,
            backoff_coefficient=2.0,
            maximum_interval=NOTIFICATION_LONGEST_WAIT,
        ),
    )


def on_failure(tool: ToolPolicy, policy: RunPolicy) -> Literal["error_output", "fail_run", "escalate"]:
    """Return what a handler that failed for good means for the run."""
    return policy.on_tool_failure or tool.on_failure


def decision_deadline(policy: RunPolicy, now: datetime, run_deadline: datetime, patience: timedelta | None) -> datetime:
    """Return until when a person may decide: after ``patience``, but early enough for the run to go on after it."""
    margin = min(DECISION_MARGIN, policy.deadline / 10)
    return min(now + (patience or policy.decision_timeout), run_deadline - margin)


def history_is_long(events: int) -> bool:
    """Tell whether a run should leave its history behind before its next round."""
    return events >= CONTINUE_AFTER_EVENTS
