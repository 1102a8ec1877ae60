"""What whoever runs the server asks it."""

from temporalio.service import RPCError

from lockstitch.assistants.http.route_table import Operation
from lockstitch.assistants.http.services import Services
from lockstitch.errors import LockstitchError
from lockstitch.probes import probes_of


def health_operations(services: Services) -> list[Operation]:
    """Return ``/healthz``, ``/readyz`` (503 unless the database and the Temporal server answer) and ``/metrics``."""

    async def temporal_answers() -> None:
        try:
            await services.starter.count("queued")
        except RPCError as error:
            raise LockstitchError(error.message) from error

    probes = probes_of({"database": services.database.check, "temporal": temporal_answers})
    return [Operation("GET", path, answer, needs_key=False) for path, answer in probes.items()]
