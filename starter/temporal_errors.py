"""What the Temporal client's errors mean here: the one place where they are translated."""

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from lockstitch.errors import RunFinished, RunNotFound, SettingsInvalid, TemporalUnreachable


@contextmanager
def temporal_errors(client: Client, run_id: str) -> Iterator[None]:
    """Raise what the errors of the body mean for a run, or for everybody where ``run_id`` is empty."""
    try:
        yield
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            if "already completed" in error.message or "closing workflow" in error.message:
                raise RunFinished(run_id, "ended") from error
            if error.message.startswith("Namespace "):
                problem = f"the Temporal server has no namespace {client.namespace!r}."
                raise SettingsInvalid("LOCKSTITCH_TEMPORAL_NAMESPACE", problem) from error
            raise RunNotFound(run_id) from error
        if error.status in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED):
            raise TemporalUnreachable(client.service_client.config.target_host, error.message) from error
        raise
