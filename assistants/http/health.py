"""What whoever runs the server asks it."""

from lockstitch.assistants.http.route_table import Operation
from lockstitch.assistants.http.services import Services
from lockstitch.probes import probes_of


def health_operations(services: Services) -> list[Operation]:
    """Return ``/healthz``, ``/readyz`` (503 unless the database and the Temporal server answer) and ``/metrics``."""
    probes = probes_of({"database": services.database.check, "temporal": services.starter.fleet.check})
    return [Operation("GET", path, answer, needs_key=False) for path, answer in probes.items()]
