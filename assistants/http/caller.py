"""Who asks: the project whose objects a request may see."""

from starlette.requests import Request

from lockstitch.assistants.store.schema import DEFAULT_PROJECT


def project_of(request: Request) -> str:
    """Return the project for which the request was made; there is one alone where there are no keys."""
    project: str = request.scope.get("lockstitch.project", DEFAULT_PROJECT)
    return project
