"""Large payloads in a folder, which every process has to see: on one machine, or on a shared volume."""

import asyncio
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import StorageDriverClaim, StorageDriverRetrieveContext, StorageDriverStoreContext

from lockstitch.errors import PayloadStoreUnavailable, StoredPayloadLost
from lockstitch.starter.payload_store import PayloadStore, as_segment, owner_of, threads_of_a_store

T = TypeVar("T")

NAME = "lockstitch.folder"
_KEY = re.compile(r"(?!\.+/)[\w.%~-]+/(?!\.+/)[\w.%~-]+/([0-9a-f]{64})", re.ASCII)
_BEING_WRITTEN = ".being-written-"


class PayloadFolder(PayloadStore):
    """Keeps each payload in a file, ``namespace/workflow id/SHA-256 of the content``.

    A file is there as a whole or not at all, also after a power failure. What is read is compared with its hash.
    """

    def __init__(self, folder: str) -> None:
        self._root = Path(folder)
        self._threads = threads_of_a_store()

    def __repr__(self) -> str:
        return f"PayloadFolder({str(self._root)!r})"

    def name(self) -> str:
        """Return the name under which references find this store."""
        return NAME

    async def check(self) -> None:
        """See that files can be written, and make the folder where it is missing; raises `PayloadStoreUnavailable`."""
        await self._in_thread(self._check)

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Write payloads, and return what finds them again."""
        place = "/".join(owner_of(context))
        keys = [await self._in_thread(partial(self._write, place, payload)) for payload in payloads]
        return [StorageDriverClaim(claim_data={"key": key}) for key in keys]

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Read payloads; raises `StoredPayloadLost`."""
        keys = [claim.claim_data.get("key", "") for claim in claims]
        return [await self._in_thread(partial(self._read, key)) for key in keys]

    async def delete_of(self, namespace: str, workflow_id: str) -> int:
        """Delete all payloads of a workflow, and return how many they were."""
        folder = self._root / as_segment(namespace) / as_segment(workflow_id)
        return await self._in_thread(partial(_delete, folder))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _check(self) -> None:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._root):
                pass
        except OSError as error:
            raise PayloadStoreUnavailable(self._root.as_uri(), f"{error.strerror or error}.") from error

    def _write(self, place: str, payload: Payload) -> str:
        content = payload.SerializeToString()
        key = f"{place}/{hashlib.sha256(content).hexdigest()}"
        target = self._root / key
        if target.exists():
            os.utime(target)  # it is wanted again, and may have to live longer
            return key
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, being_written = tempfile.mkstemp(prefix=_BEING_WRITTEN, dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(being_written).replace(target)
        except BaseException:
            Path(being_written).unlink(missing_ok=True)
            raise
        for folder in (target.parent, target.parent.parent, self._root):
            _sync(folder)
        return key

    def _read(self, key: str) -> Payload:
        found = _KEY.fullmatch(key)  # it comes from outside, and must lead nowhere else
        if found is None:
            raise StoredPayloadLost(key[:200], "no payload of this store has such a name.")
        try:
            content = (self._root / key).read_bytes()
        except FileNotFoundError as error:
            raise StoredPayloadLost(key, f"{self._root} does not have it.") from error
        if hashlib.sha256(content).hexdigest() != found[1]:
            raise StoredPayloadLost(key, "its content is not what was stored.")
        try:
            return Payload.FromString(content)
        except DecodeError as error:
            raise StoredPayloadLost(key, "it is no payload.") from error


def _sync(folder: Path) -> None:
    """Have the folder's entries on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _delete(folder: Path) -> int:
    try:
        count = sum(1 for file in folder.iterdir() if not file.name.startswith(_BEING_WRITTEN))
    except FileNotFoundError:
        return 0
    shutil.rmtree(folder)
    return count
