"""Large payloads in a bucket of S3, or of what speaks its API: the SDK's driver over boto3.

Credentials, region and endpoint are those of the environment (``AWS_...``), as boto3 finds them.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from temporalio.api.common.v1 import Payload
from temporalio.contrib.aws.s3driver import S3StorageDriver, S3StorageDriverClient
from temporalio.converter import (
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)

from lockstitch.errors import PayloadStoreUnavailable, StoredPayloadLost
from lockstitch.starter.payload_store import PayloadStore, as_segment, owner_of, threads_of_a_store

T = TypeVar("T")

NAME = "lockstitch.s3"
MISSING_PACKAGE = "boto3 is not installed; install it with pip install 'lockstitch[s3-storage]'."
_DELETED_AT_ONCE = 1000  # objects that S3 deletes with one request, and lists on one page


class PayloadBucket(PayloadStore):
    """Keeps each payload in an object, ``prefix/v0/ns/namespace/wt/null/wi/workflow id/ri/null/d/sha256/hash``.

    The names are those of the SDK's driver; workflow type and run id are left out, so that everything of a workflow
    has one prefix. What is read is compared with its hash.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self._url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._objects = _Objects(bucket, prefix)
        self._driver = S3StorageDriver(client=self._objects, bucket=bucket, driver_name=NAME)

    def __repr__(self) -> str:
        return f"PayloadBucket({self._url!r})"

    def name(self) -> str:
        """Return the name under which references find this store."""
        return NAME

    async def check(self) -> None:
        """See that the bucket is there and may be used; raises `PayloadStoreUnavailable`."""
        reason = await self._objects.problem()
        if reason is not None:
            raise PayloadStoreUnavailable(self._url, reason)

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Write payloads, and return what finds them again."""
        namespace, workflow_id = owner_of(context)
        owner = StorageDriverWorkflowInfo(namespace=namespace, id=workflow_id)
        return await self._driver.store(StorageDriverStoreContext(target=owner), payloads)

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Read payloads; raises `StoredPayloadLost`."""
        try:
            return await self._driver.retrieve(context, claims)
        except (RuntimeError, ValueError, KeyError) as error:  # what the driver makes of whatever goes wrong
            if isinstance(error.__cause__, StoredPayloadLost):
                raise error.__cause__ from None
            key = ", ".join(claim.claim_data.get("key", "") for claim in claims)
            raise StoredPayloadLost(key[:500], str(error.__cause__ or error)) from error

    async def delete_of(self, namespace: str, workflow_id: str) -> int:
        """Delete all payloads of a workflow, and return how many they were."""
        owner, workflow = (quote(as_segment(name), safe="").replace("~", "%7E") for name in (namespace, workflow_id))
        return await self._objects.delete(f"v0/ns/{owner}/wt/null/wi/{workflow}/")


class _Objects(S3StorageDriverClient):
    """The objects of one bucket below a prefix; those of others cannot be read, whatever a reference says.

    boto3 works in threads: its client is safe to share and needs no end.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._threads = threads_of_a_store()
        self._client: Any = None
        self._making = threading.Lock()  # making clients is not safe to do in several threads, using them is

    async def problem(self) -> str | None:
        """Return why the bucket cannot be used, ``None`` where it can."""
        return await self._in_thread(self._problem)

    async def put_object(self, *, bucket: str, key: str, data: bytes) -> None:
        """Write an object."""
        await self._in_thread(lambda: self._s3().put_object(Bucket=bucket, Key=self._prefix + key, Body=data))

    async def object_exists(self, *, bucket: str, key: str) -> bool:
        """Tell whether there is an object."""
        return await self._in_thread(lambda: self._exists(bucket, key))

    async def get_object(self, *, bucket: str, key: str) -> bytes:
        """Read an object; raises `StoredPayloadLost` where it is not one of ours."""
        if bucket != self._bucket or not key.startswith("v0/") or ".." in key.split("/"):
            raise StoredPayloadLost(key[:200], f"it is not one of {self._bucket}.")
        return await self._in_thread(lambda: self._get(key))

    async def delete(self, place: str) -> int:
        """Delete all objects whose names begin so, and return how many they were."""
        return await self._in_thread(lambda: self._delete(self._prefix + place))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _s3(self) -> Any:
        import boto3  # type: ignore[import-untyped]  # boto3 brings no types

        with self._making:
            if self._client is None:
                self._client = boto3.client("s3")
            return self._client

    def _problem(self) -> str | None:
        try:
            import boto3  # noqa: F401 - whether it is there
        except ModuleNotFoundError:
            return MISSING_PACKAGE
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # nor does botocore

        try:
            self._s3().head_bucket(Bucket=self._bucket)
        except ClientError as error:
            return _refusal(error.response["ResponseMetadata"]["HTTPStatusCode"], str(error))
        except (BotoCoreError, ValueError) as error:  # no credentials, no region, nobody answers, no URL
            return str(error)
        return None

    def _exists(self, bucket: str, key: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._s3().head_object(Bucket=bucket, Key=self._prefix + key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise
        return True

    def _get(self, key: str) -> bytes:
        content: bytes = self._s3().get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read()
        return content

    def _delete(self, prefix: str) -> int:
        s3, count = self._s3(), 0
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, PaginationConfig={"PageSize": _DELETED_AT_ONCE}
        )
        for page in pages:
            found = [{"Key": entry["Key"]} for entry in page.get("Contents", ())]
            if not found:
                continue
            answer = s3.delete_objects(Bucket=self._bucket, Delete={"Objects": found, "Quiet": True})
            if refused := answer.get("Errors"):
                raise StoredPayloadLost(refused[0]["Key"], f"it cannot be deleted: {refused[0].get('Message')}")
            count += len(found)
        return count


def _refusal(status: int, said: str) -> str:
    if status == 404:
        return "there is no such bucket; create it, or name another."
    if status in (401, 403):
        return "access is denied; the credentials of the environment must allow to list, read and write it."
    return said
