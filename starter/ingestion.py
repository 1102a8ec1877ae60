"""What the server and the workflows that ingest files of vector stores agree on."""

from pydantic import BaseModel

INGEST_FILES = "IngestFiles"
"""The workflow's name."""


EMBED_ANEW = "EmbedAnew"
"""The name of the workflow that sees to vectors which another embedder made."""


class Ingestion(BaseModel):
    """Files that were added to a vector store together; which ones they are stands in the store.

    ``ingestion_id`` is the workflow's id, and a batch's id where they are one; ``files`` is how many there are.
    """

    ingestion_id: str
    vector_store_id: str
    files: int = 1


class EmbedSlice(BaseModel):
    """Make vectors for the next files that have none of this embedder, behind the one with the number ``after``."""

    after: int = 0


def ingestion_queue(task_queue: str) -> str:
    """Return the task queue of the activities that parse files: they need a processor, so few run at a time."""
    return f"{task_queue}-files"
