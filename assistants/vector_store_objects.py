"""The API's objects about vector stores, on the wire exactly as clients expect them."""

from collections.abc import Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]
Object = dict[str, Any]


def vector_store(row: Row) -> Object:
    """A ``vector_store``; ``expires_after`` is left out where there is none, as the description demands."""
    made = {
        "id": row["id"],
        "object": "vector_store",
        "created_at": row["created_at"],
        "name": row["name"] or "",
        "description": row["description"],
        "usage_bytes": row["usage_bytes"],
        "file_counts": row["file_counts"],
        "status": row["status"],
        "expires_at": row["expires_at"],
        "last_active_at": row["last_active_at"],
        "metadata": row["metadata"],
    }
    return made if row["expires_after"] is None else {**made, "expires_after": row["expires_after"]}


def vector_store_file(row: Row) -> Object:
    """A ``vector_store.file``."""
    return {
        "id": row["id"],
        "object": "vector_store.file",
        "usage_bytes": row["usage_bytes"],
        "created_at": row["created_at"],
        "vector_store_id": row["vector_store_id"],
        "status": row["status"],
        "last_error": row["last_error"],
        "chunking_strategy": row["chunking_strategy"],
        "attributes": row["attributes"],
    }


def file_batch(row: Row) -> Object:
    """A batch of files; the wire calls it otherwise, the description and the SDK's type call it this."""
    return {
        "id": row["id"],
        "object": "vector_store.files_batch",
        "created_at": row["created_at"],
        "vector_store_id": row["vector_store_id"],
        "status": row["status"],
        "file_counts": row["file_counts"],
    }


def file_content(text: str) -> Object:
    """The text of a file; there is none before it was ingested."""
    data = [{"type": "text", "text": text}] if text else []
    return {"object": "vector_store.file_content.page", "data": data, "has_more": False, "next_page": None}


def search_results(queries: Iterable[str], results: Iterable[Object]) -> Object:
    """What a search found: everything that was asked for, so there are no more pages."""
    return {
        "object": "vector_store.search_results.page",
        "search_query": list(queries),
        "data": list(results),
        "has_more": False,
        "next_page": None,
    }


def search_result(file_id: str, filename: str, score: float, attributes: Row, text: str) -> Object:
    """A chunk that was found."""
    return {
        "file_id": file_id,
        "filename": filename,
        "score": score,
        "attributes": attributes,
        "content": [{"type": "text", "text": text}],
    }
