"""What the server and the workflow that ingests files of a vector store agree on."""

from pydantic import BaseModel

INGEST_FILES = "IngestFiles"
"""The workflow's name."""


class Ingestion(BaseModel):
    """Files that were added to a vector store together; which ones they are stands in the store.

    ``ingestion_id`` is the workflow's id, and a batch's id where they are one; ``files`` is how many there are.
    """

    ingestion_id: str
    vector_store_id: str
    files: int = 1


def ingestion_queue(task_queue: str) -> str:
    """Return the task queue of the activities that parse files: they need a processor, so few run at a time."""
    return f"{task_queue}-files"
