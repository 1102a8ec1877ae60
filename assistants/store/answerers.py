"""Who answers the function calls of a run: a registered handler or the client.

That is decided when the run is accepted and kept with it, so that nothing that is changed later changes a run that
is under way.
"""

from collections.abc import Container, Mapping

from lockstitch.assistants import refusals
from lockstitch.assistants.store.projects import Handlers
from lockstitch.assistants.store.rows import Row

METADATA_KEY = "lockstitch.tools"
"""The key in the metadata of an assistant or a run, where the run's goes before the assistant's."""

_CHOICES = ("handlers", "client")


def check_metadata(metadata: Mapping[str, str] | None) -> None:
    """Raise `ApiError` where metadata says who answers and it cannot be understood."""
    choice = (metadata or {}).get(METADATA_KEY)
    if choice is not None and choice not in _CHOICES:
        raise refusals.unsupported_value(f"metadata.{METADATA_KEY}", choice, _CHOICES)


def handlers_of(run: Mapping[str, str] | None, assistant: Mapping[str, str], allowed: Handlers) -> list[str] | None:
    """Return the names of the handlers that may answer a run with such metadata; ``None`` stands for all there are.

    ``allowed`` are those that its project may use. Raises `ApiError`.
    """
    check_metadata(run)
    check_metadata(assistant)
    choice = (run or {}).get(METADATA_KEY) or assistant.get(METADATA_KEY)
    if choice == "client":
        return []
    return None if allowed is None else list(allowed)


class RunHandlers:
    """The functions that handlers answer in a run; ``registered`` knows those that have a handler here."""

    def __init__(self, run: Row, registered: Container[str]) -> None:
        self._allowed = run["handlers"]
        self._registered = registered

    def __contains__(self, name: object) -> bool:
        """Tell whether a handler answers calls of the function."""
        return name in self._registered and not self.is_for_client(name)

    def is_for_client(self, name: object) -> bool:
        """Tell whether the client answers calls of the function, even where there is a handler for it."""
        return self._allowed is not None and name not in self._allowed
