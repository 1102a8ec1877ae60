"""Retries and time limits, as values for Temporal; pure."""

from datetime import timedelta
from typing import TypedDict

from temporalio.common import RetryPolicy

from lockstitch.starter.contract import RunPolicy
from lockstitch.tool_policy import ToolPolicy


class Limits(TypedDict):
    """What Temporal is told of one activity."""

    schedule_to_close_timeout: timedelta | None
    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy


UPSTREAM_FIRST_RETRY = timedelta(milliseconds=500)
UPSTREAM_LONGEST_WAIT = timedelta(seconds=30)
"""A `retry-after` of the upstream goes before both."""

ENDING_TIMEOUT = timedelta(seconds=30)

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


def ending_limits(policy: RunPolicy) -> Limits:
    """Return the limits of the activity that ends a run: it is tried until it succeeds, for a run must end."""
    return Limits(
        schedule_to_close_timeout=None,
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


def fails_the_run(tool: ToolPolicy, policy: RunPolicy) -> bool:
    """Tell whether a handler that failed for good ends the run."""
    return (policy.on_tool_failure or tool.on_failure) == "fail_run"
