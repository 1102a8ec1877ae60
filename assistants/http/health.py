"""What whoever runs the server asks it."""

from starlette.routing import Route
from temporalio.service import RPCError

from lockstitch.assistants.http.services import Services
from lockstitch.errors import LockstitchError
from lockstitch.probes import probe_routes


def health_routes(services: Services) -> list[Route]:
    """Return ``/healthz``, ``/readyz`` (503 unless the database and the Temporal server answer) and ``/metrics``."""

    async def temporal_answers() -> None:
        try:
            await services.starter.count("queued")
        except RPCError as error:
            raise LockstitchError(error.message) from error

    return probe_routes({"database": services.database.check, "temporal": temporal_answers})
