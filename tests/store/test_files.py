"""Files: their bytes come back as they were."""

import pytest

from lockstitch.assistants.store import files
from lockstitch.assistants.store.rows import PageCursor
from lockstitch.assistants.store.schema import file_chunks
from lockstitch.errors import ApiError
from lockstitch.starter.identifiers import new_file_id


@pytest.fixture
def upload(store):
    """Store a file of ``chunks`` and return its id."""

    async def store_file(*chunks: bytes, purpose: str = "assistants") -> str:
        values = {"id": new_file_id(), "created_at": 0, "purpose": purpose, "filename": "a.csv"}
        values["bytes"] = sum(map(len, chunks))
        return (await store.write(files.create, values, iter(chunks)))["id"]

    return store_file


async def test_the_content_is_the_chunks_in_their_order(store, upload):
    chunks = [bytes([number]) * 1000 for number in range(12)]
    file_id = await upload(*chunks)
    await upload(b"of another file")

    assert await store.read(files.content, file_id) == b"".join(chunks)
    assert [await store.read(files.chunk, file_id, place) for place in (0, 11, 12)] == [chunks[0], chunks[11], None]


async def test_an_empty_file_has_no_chunks(store, upload):
    file_id = await upload()

    assert await store.read(files.content, file_id) == b""
    assert await store.read(files.chunk, file_id, 0) is None
    row = await store.read(files.get, file_id)
    assert (row["bytes"], row["status"], row["expires_at"]) == (0, "processed", None)


async def test_an_upload_that_breaks_off_leaves_nothing(store):
    def broken():
        yield b"some"
        raise ConnectionError("the client went away")

    values = {"id": "file-1", "created_at": 0, "purpose": "assistants", "filename": "a.csv", "bytes": 4}
    with pytest.raises(ConnectionError):
        await store.write(files.create, values, broken())

    assert (await store.read(files.listed, PageCursor(), project="default")).rows == []
    assert await store.read(lambda connection: connection.execute(file_chunks.select()).all()) == []


async def test_deleting_a_file_deletes_its_bytes(store, upload):
    file_id = await upload(b"gone", b"soon")
    kept = await upload(b"kept")
    await store.write(files.delete, file_id)

    for query in (files.get, files.content, files.delete):
        with pytest.raises(ApiError, match=f"No such File object: {file_id}") as refused:
            await store.write(query, file_id)
        assert refused.value.status == 404
    left = await store.read(lambda connection: connection.execute(file_chunks.select()).all())
    assert [row.file_id for row in left] == [kept]


async def test_files_are_listed_by_purpose(store, upload):
    first, _, third = await upload(b"1"), await upload(b"2", purpose="vision"), await upload(b"3")

    page = await store.read(files.listed, PageCursor(), "assistants", project="default")
    assert [row["id"] for row in page.rows] == [third, first]
    assert len((await store.read(files.listed, PageCursor(), project="default")).rows) == 3
