"""Where large payloads are: one suite for a folder and for a bucket, and what is wrong with either."""

import asyncio
import base64
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import boto3
import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriverActivityInfo,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)

from lockstitch.errors import PayloadKeyMissing, PayloadStoreUnavailable, SettingsInvalid, StoredPayloadLost
from lockstitch.starter.payload_folder import PayloadFolder
from lockstitch.starter.payload_keys import PayloadKeys
from lockstitch.starter.payload_store import PayloadStore, payload_store_at
from lockstitch.starter.payloads import data_converter_with
from lockstitch.tests.s3_server import BUCKET, started_s3

LARGE = Payload(metadata={"encoding": b"json/plain"}, data=b'"' + b"x" * 300_000 + b'"')
OTHER = Payload(metadata={"encoding": b"json/plain"}, data=b'"' + b"y" * 300_000 + b'"')


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of a server with the API of S3, to which the environment leads."""
    with started_s3() as url:
        yield url


@pytest.fixture(params=["folder", "bucket", "bucket without a prefix"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> PayloadStore:
    """A store that is empty."""
    if request.param == "folder":
        found = payload_store_at((tmp_path / "large payloads").as_uri())
    else:
        request.getfixturevalue("s3")
        found = payload_store_at(f"s3://{BUCKET}/" + ("" if "without" in request.param else f"a/{tmp_path.name}"))
    assert found is not None
    await found.check()
    return found


def of(workflow_id: str | None, namespace: str = "default") -> StorageDriverStoreContext:
    info = StorageDriverWorkflowInfo(namespace=namespace, id=workflow_id, run_id="a1", type="LockstitchThreadRun")
    return StorageDriverStoreContext(target=info)


async def read(store: PayloadStore, *claims: StorageDriverClaim) -> list[Payload]:
    return await store.retrieve(StorageDriverRetrieveContext(), claims)


async def test_payloads_come_back_as_they_were(store):
    claims = await store.store(of("run_1"), [LARGE, OTHER, LARGE])

    assert await read(store, *claims) == [LARGE, OTHER, LARGE]
    assert claims[0] == claims[2]


async def test_all_payloads_of_a_workflow_are_deleted_and_no_others(store):
    [first, second] = await store.store(of("run_1"), [LARGE, OTHER])
    [longer], [elsewhere] = await store.store(of("run_10"), [LARGE]), await store.store(of("run_1", "other"), [LARGE])

    assert await store.delete_of("default", "run_1") == 2
    assert await store.delete_of("default", "run_1") == 0
    for claim in (first, second):
        with pytest.raises(StoredPayloadLost, match="run_1"):
            await read(store, claim)
    assert await read(store, longer, elsewhere) == [LARGE, LARGE]


@pytest.mark.parametrize("name", ["..", ".", "a/../../b", "ünï", "x" * 900, "a%2Fb", "", "a b+c"])
async def test_names_lead_nowhere_else(store, name):
    [claim] = await store.store(of(name, "name space/.."), [LARGE])

    assert await read(store, claim) == [LARGE]
    assert await store.delete_of("name space/..", name) == (1 if name else 0)


async def test_payloads_of_nobody_are_kept_too(store):
    standalone = StorageDriverStoreContext(target=StorageDriverActivityInfo(namespace="default", id="5"))
    for context in (of(None), StorageDriverStoreContext(target=None), standalone):
        [claim] = await store.store(context, [LARGE])
        assert await read(store, claim) == [LARGE]


async def test_references_that_lead_elsewhere_are_refused(store, tmp_path):
    """They come from the Temporal server, or from whoever asks the codec server."""
    (tmp_path / "secret").write_bytes(LARGE.SerializeToString())
    [claim] = await store.store(of("run_1"), [LARGE])
    data = dict(claim.claim_data)
    for key in ("../secret", "/etc/passwd", "", "default/../secret", str(tmp_path / "secret")):
        with pytest.raises(StoredPayloadLost):
            await read(store, StorageDriverClaim(claim_data={**data, "key": key}))
    with pytest.raises(StoredPayloadLost):
        await read(store, StorageDriverClaim(claim_data={}))


async def test_many_at_once_come_back(store):
    payloads = [Payload(data=bytes([number]) * 200_000) for number in range(20)]
    stored = await asyncio.gather(*(store.store(of("run_many"), [payload]) for payload in payloads))

    assert [(await read(store, *claims))[0] for claims in stored] == payloads
    assert await store.delete_of("default", "run_many") == 20


async def test_what_is_stored_is_encrypted_first(store):
    """The store sees no more than the Temporal server does."""
    keys = PayloadKeys.parse([f"k1:{base64.b64encode(os.urandom(32)).decode()}"])
    converter = data_converter_with(keys, store, 1024)
    [stored] = await converter.encode(["a secret text " * 1000])
    [inline] = await converter.encode(["a secret text"])

    assert stored.metadata["encoding"] == b"json/protobuf"
    assert stored.ByteSize() < 600
    assert inline.metadata["encoding"] == b"binary/encrypted"
    assert await converter.decode([stored, inline]) == ["a secret text " * 1000, "a secret text"]
    without_keys = data_converter_with(None, store, 1024)
    with pytest.raises(PayloadKeyMissing, match="'k1', and LOCKSTITCH_PAYLOAD_KEYS has none"):
        await without_keys.decode([stored])


# --- the folder


async def test_a_file_of_which_anything_was_changed_is_refused(tmp_path):
    folder = PayloadFolder(str(tmp_path))
    [claim] = await folder.store(of("run_1"), [LARGE])
    file = tmp_path / claim.claim_data["key"]
    file.write_bytes(file.read_bytes()[:-1] + b"!")

    with pytest.raises(StoredPayloadLost, match="its content is not what was stored"):
        await read(folder, claim)


@contextmanager
def little_room() -> Iterator[None]:
    """Let no file of this process grow beyond a KiB, as where a quota is used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_nothing_half_written_is_left_where_there_is_no_room(tmp_path):
    folder = PayloadFolder(str(tmp_path))
    await folder.store(of("run_1"), [OTHER])

    with little_room(), pytest.raises(OSError, match="File too large"):
        await folder.store(of("run_1"), [LARGE])
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


async def test_a_folder_that_cannot_be_written_is_told_in_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    store = payload_store_at((tmp_path / "file" / "below").as_uri())
    assert store is not None

    with pytest.raises(
        PayloadStoreUnavailable, match=r"^LOCKSTITCH_PAYLOAD_STORE: file:///.* cannot be used: Not a dir"
    ):
        await store.check()


# --- the bucket


@asynccontextmanager
async def environment(set_to: dict[str, str]) -> AsyncIterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in set_to.items():
            patch.setenv(name, value)
        yield


@pytest.mark.usefixtures("s3")
async def test_a_bucket_that_is_missing_is_told_in_one_sentence():
    store = payload_store_at("s3://no-such-bucket/prefix")
    assert store is not None

    with pytest.raises(PayloadStoreUnavailable) as refused:
        await store.check()
    assert str(refused.value) == (
        "LOCKSTITCH_PAYLOAD_STORE: s3://no-such-bucket/prefix cannot be used: there is no such bucket; create it, or "
        "name another."
    )


@pytest.mark.usefixtures("s3")
async def test_a_bucket_that_nobody_answers_for_is_told_in_one_sentence():
    store = payload_store_at(f"s3://{BUCKET}")
    assert store is not None

    async with environment({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"}):
        with pytest.raises(PayloadStoreUnavailable, match="Could not connect to the endpoint URL") as refused:
            await store.check()
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("s3")
async def test_objects_of_other_prefixes_and_buckets_are_not_read():
    boto3.client("s3").put_object(Bucket=BUCKET, Key="secret", Body=LARGE.SerializeToString())
    store = payload_store_at(f"s3://{BUCKET}/ours")
    assert store is not None
    [claim] = await store.store(of("run_1"), [LARGE])

    for wrong in ({"bucket": "another-bucket"}, {"key": "../secret"}, {"key": "secret"}, {"key": "v0/../../secret"}):
        with pytest.raises(StoredPayloadLost, match="it is not one of payloads"):
            await read(store, StorageDriverClaim(claim_data={**claim.claim_data, **wrong}))


@pytest.mark.usefixtures("s3")
async def test_an_object_that_was_changed_is_refused():
    store = payload_store_at(f"s3://{BUCKET}/changed")
    assert store is not None
    [claim] = await store.store(of("run_1"), [LARGE])
    key = f"changed/{claim.claim_data['key']}"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=OTHER.SerializeToString())

    with pytest.raises(StoredPayloadLost, match="integrity check failed"):
        await read(store, claim)


@pytest.mark.parametrize(
    "url",
    ["/var/payloads", "file://", "file:///", "file://host/folder", "s3://", "s3:///prefix", "s3://UPPER", "http://a/b"],
)
def test_what_is_no_place_is_refused(url):
    with pytest.raises(SettingsInvalid, match="is neither file:///an/absolute/folder nor s3://bucket/prefix"):
        payload_store_at(url)


def test_no_place_is_no_place():
    assert payload_store_at("") is None
