"""Files over HTTP."""

import asyncio

import openai
import pytest

from lockstitch.assistants.http import files
from lockstitch.assistants.store import rows
from lockstitch.assistants.store.schema import files as files_table


async def test_a_file_comes_back_byte_by_byte(client, http):
    content = bytes(range(256)) * 12_000  # three chunks
    created = await client.files.create(file=("report.bin", content), purpose="assistants")
    answer = await http.get(f"/v1/files/{created.id}/content")

    assert (created.bytes, created.filename, created.purpose) == (len(content), "report.bin", "assistants")
    assert created.id.startswith("file-")
    assert created.status == "processed"
    assert (await client.files.content(created.id)).content == answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="report.bin"'
    assert answer.headers["content-length"] == str(len(content))


async def test_an_empty_file_is_a_file(client):
    created = await client.files.create(file=("empty.txt", b""), purpose="user_data")

    assert created.bytes == 0
    assert (await client.files.content(created.id)).content == b""


async def test_a_name_that_is_not_ascii_survives(client, http):
    created = await client.files.create(file=("Bücher neu.txt", b"x"), purpose="assistants")
    answer = await http.get(f"/v1/files/{created.id}/content")

    assert created.filename == "Bücher neu.txt"
    assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''B%C3%BCcher%20neu.txt"


async def test_files_are_listed_by_purpose(client):
    kept = [await client.files.create(file=("a", b"1"), purpose="evals") for _ in range(3)]
    await client.files.create(file=("b", b"2"), purpose="vision")
    listed = await client.files.list(purpose="evals")

    assert [file.id for file in listed.data] == [file.id for file in kept][::-1]
    assert [file.id async for file in client.files.list(purpose="evals", limit=1, order="asc")] == [
        file.id for file in kept
    ]


async def test_a_deleted_file_is_gone(client):
    created = await client.files.create(file=("a", b"1"), purpose="assistants")
    deleted = await client.files.delete(created.id)

    assert (deleted.object, deleted.deleted) == ("file", True)
    for gone in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError, match=f"No such File object: {created.id}") as caught:
            await gone(created.id)
        assert caught.value.param == "id"


async def test_a_wrong_purpose_is_refused_and_nothing_is_kept(http):
    before = len((await http.get("/v1/files")).json()["data"])
    answer = await http.post("/v1/files", files={"file": ("a", b"1")}, data={"purpose": "world_domination"})

    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "message": "'world_domination' is not one of ['fine-tune', 'assistants', 'batch', 'user_data', 'vision', "
        "'evals'] - 'purpose'",
        "type": "invalid_request_error",
        "param": "purpose",
        "code": None,
    }
    assert len((await http.get("/v1/files")).json()["data"]) == before


async def test_a_file_can_expire_and_files_for_batches_always_do(client):
    expires_after = {"anchor": "created_at", "seconds": 3600}
    hour = await client.files.create(file=("a", b"1"), purpose="assistants", expires_after=expires_after)
    month = await client.files.create(file=("a", b"1"), purpose="batch")
    never = await client.files.create(file=("a", b"1"), purpose="assistants")

    assert [file.expires_at and file.expires_at - file.created_at for file in (hour, month, never)] == [
        3600, 30 * 86_400, None,
    ]  # fmt: skip


def expiring(**fields):
    return {"files": {"file": ("a", b"1")}, "data": {"purpose": "assistants"} | fields}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            expiring(**{"expires_after[anchor]": "created_at"}),
            "Missing required parameter: 'expires_after.seconds'.",
        ),
        (expiring(**{"expires_after[seconds]": "3600"}), "Missing required parameter: 'expires_after.anchor'."),
        (
            expiring(**{"expires_after[anchor]": "now", "expires_after[seconds]": "3600"}),
            "Invalid value: 'now'. Supported values are: 'created_at'.",
        ),
        (
            expiring(**{"expires_after[anchor]": "created_at", "expires_after[seconds]": "60"}),
            "Invalid 'expires_after.seconds': integer below minimum value. "
            "Expected a value >= 3600, but got 60 instead.",
        ),
        ({"files": {"file": ("a", b"1")}}, "Missing required parameter: 'purpose'."),
        ({"files": {"other": ("a", b"1")}, "data": {"purpose": "assistants"}}, "Unknown parameter: 'other'."),
        ({"data": {"purpose": "assistants"}, "files": {"file": (None, b"x")}}, "Missing required parameter: 'file'."),
        ({"json": {}}, "Could not parse multipart form: the content type is not multipart/form-data"),
        (
            {"content": b"nonsense", "headers": {"content-type": "multipart/form-data; boundary=x"}},
            "Could not parse multipart form: Invalid multipart data.",
        ),
    ],
)
async def test_an_upload_that_is_not_one_says_what_is_missing(http, parts, message):
    answer = await http.post("/v1/files", **parts)

    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)


async def test_a_file_that_is_announced_too_large_is_refused_before_it_is_sent(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    size = files.MAX_UPLOAD_BYTES * 2
    head = f"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n"
    writer.write(f"{head}content-type: multipart/form-data; boundary=x\r\n\r\n".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_file_expires_when_it_was_said_to(client, server, http):
    kept = await client.files.create(
        file=("a", b"1"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert kept.expires_at == kept.created_at + 3600

    await server.database.write(lambda it: rows.overwrite(it, files_table, {"id": kept.id}, {"expires_at": 1}))
    for gone in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError, match=f"No such File object: {kept.id}"):
            await gone(kept.id)
    assert kept.id not in [file.id async for file in client.files.list(purpose="user_data")]
    await client.files.create(file=("a", b"1"), purpose="evals")
    assert await server.database.read(lambda it: rows.get(it, files_table, id=kept.id)) is None


@pytest.mark.parametrize(
    ("fields", "message", "param"),
    [
        ({"anchor": "created_at"}, "Missing required parameter: 'expires_after.seconds'.", "expires_after.seconds"),
        ({"seconds": "3600"}, "Missing required parameter: 'expires_after.anchor'.", "expires_after.anchor"),
        (
            {"anchor": "last_active_at", "seconds": "3600"},
            "Invalid value: 'last_active_at'. Supported values are: 'created_at'.",
            "expires_after.anchor",
        ),
        (
            {"anchor": "created_at", "seconds": "60"},
            "Invalid 'expires_after.seconds': integer below minimum value. "
            "Expected a value >= 3600, but got 60 instead.",
            "expires_after.seconds",
        ),
        (
            {"anchor": "created_at", "seconds": "soon"},
            "Invalid type for 'expires_after.seconds': expected an integer, but got a string instead.",
            "expires_after.seconds",
        ),
        ({"days": "1"}, "Unknown parameter: 'expires_after.days'.", "expires_after.days"),
    ],
)
async def test_an_expiry_that_is_none_is_refused(http, fields, message, param):
    form = {"purpose": "assistants"} | {f"expires_after[{name}]": value for name, value in fields.items()}
    answer = await http.post("/v1/files", files={"file": ("a", b"1")}, data=form)

    assert answer.status_code == 400
    assert (answer.json()["error"]["message"], answer.json()["error"]["param"]) == (message, param)
