"""What Azure's form of the API has and the published description has not."""

from urllib.parse import parse_qs

from starlette.types import Scope


def names_api_version(scope: Scope) -> bool:
    """Tell whether a request says which version of Azure's API it means."""
    query: bytes = scope["query_string"]
    return b"api-version" in query and "api-version" in parse_qs(query.decode("latin-1"))
