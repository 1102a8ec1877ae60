"""Where payloads are that are too large for Temporal: a folder, or a bucket of S3.

Objects are named by their workflow, so that all of one run can be deleted, and by the hash of what is in them.
"""

import hashlib
import re
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, unquote, urlsplit

from temporalio.converter import StorageDriver, StorageDriverStoreContext, StorageDriverWorkflowInfo

from lockstitch.errors import SettingsInvalid

VARIABLE = "LOCKSTITCH_PAYLOAD_STORE"
THREADS = 8
"""How many payloads one process reads or writes at a time."""

LONGEST_SEGMENT = 200
"""Characters of a file's name; file systems take 255 bytes."""

UNKNOWN_WORKFLOW = "none"
"""Under what a payload is kept that belongs to no workflow."""


class PayloadStore(StorageDriver):
    """A place for large payloads."""

    @abstractmethod
    async def check(self) -> None:
        """See that the place can be used; raises `PayloadStoreUnavailable`."""

    @abstractmethod
    async def delete_of(self, namespace: str, workflow_id: str) -> int:
        """Delete all payloads that were stored for a workflow, and return how many they were."""


def payload_store_at(url: str) -> PayloadStore | None:
    """Return the store at a URL, which has not been tried yet; ``None`` for an empty one. Raises `SettingsInvalid`."""
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and len(parts.path) > 1:
        from lockstitch.starter.payload_folder import PayloadFolder

        return PayloadFolder(unquote(parts.path))
    if parts.scheme == "s3" and re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", parts.netloc):
        from lockstitch.starter.payload_bucket import PayloadBucket

        return PayloadBucket(parts.netloc, unquote(parts.path).strip("/"))
    raise SettingsInvalid(VARIABLE, f"{url!r} is neither file:///an/absolute/folder nor s3://bucket/prefix.")


def threads_of_a_store() -> ThreadPoolExecutor:
    """Return the threads in which a store waits for its place; handlers, which may take all others, do not have them.

    They end with the process.
    """
    return ThreadPoolExecutor(THREADS, "payloads")


def owner_of(context: StorageDriverStoreContext) -> tuple[str, str]:
    """Return namespace and workflow for which a payload is stored, as segments of a path.

    All that the runs and activities of a workflow make belongs together.
    """
    target = context.target
    if target is None:
        return as_segment(""), UNKNOWN_WORKFLOW
    workflow_id = target.id if isinstance(target, StorageDriverWorkflowInfo) else None
    return as_segment(target.namespace), as_segment(workflow_id or UNKNOWN_WORKFLOW)


def as_segment(name: str) -> str:
    """Return a name as one segment of a path, which leads nowhere else; of a very long one its hash."""
    segment = quote(name, safe="")
    if len(segment) > LONGEST_SEGMENT:
        return f"~{hashlib.sha256(name.encode()).hexdigest()}"
    return segment if segment.strip(".") else f"~{segment.replace('.', '%2E')}"
