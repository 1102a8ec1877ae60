"""Files: upload, retrieve, list, delete, content."""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from lockstitch.assistants import objects, refusals
from lockstitch.assistants.http import ids
from lockstitch.assistants.http.answers import JsonAnswer, page_answer
from lockstitch.assistants.http.bodies import limited_stream
from lockstitch.assistants.http.caller import project_of
from lockstitch.assistants.http.pages import page_cursor, parse_number
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.store import files
from lockstitch.assistants.store.rows import Row
from lockstitch.starter.identifiers import new_file_id

PURPOSES = ("fine-tune", "assistants", "batch", "user_data", "vision", "evals")
SHORTEST_LIFE = 3600
LONGEST_LIFE = 30 * 24 * 3600
"""Seconds after its creation in which a file may expire."""
MAX_UPLOAD_BYTES = 512 * 1024 * 1024
MAX_LIMIT = 10_000

# Clients send an object in a form as fields with such names.
_ANCHOR, _SECONDS = "expires_after[anchor]", "expires_after[seconds]"


class Files:
    """The operations on files."""

    def __init__(self, services: Services) -> None:
        self._database = services.database

    async def upload(self, request: Request) -> JsonAnswer:
        """Add a file; its bytes go through a temporary file, so that memory does not have to hold them."""
        form = await _read_form(request)
        try:
            upload, purpose, lifetime = _fields(form)
            now = int(time.time())
            values = {
                "id": new_file_id(),
                "project_id": project_of(request),
                "created_at": now,
                "expires_at": None if lifetime is None else now + lifetime,
                "purpose": purpose,
                "filename": upload.filename or "file",
                "bytes": upload.size or 0,
            }
            row = await self._database.write(
                lambda connection: files.create(connection, values, _Chunks(upload.file)), long=True
            )
        finally:
            await form.close()
        return JsonAnswer(objects.file(row))

    async def retrieve(self, request: Request) -> JsonAnswer:
        """Return what is known of a file."""
        return JsonAnswer(objects.file(await self._get(request)))

    async def list_page(self, request: Request) -> JsonAnswer:
        """Return a page of the files, of one purpose only where ``purpose`` is given."""
        cursor = page_cursor(request, "file", default_limit=MAX_LIMIT, max_limit=MAX_LIMIT)
        project, purpose = project_of(request), request.query_params.get("purpose") or None
        page = await self._database.read(lambda connection: files.listed(connection, cursor, purpose, project=project))
        return page_answer(page, objects.file)

    async def delete(self, request: Request) -> JsonAnswer:
        """Delete a file."""
        file_id, project = ids.file_id(request), project_of(request)
        await self._database.write(lambda connection: files.delete(connection, file_id, project=project), long=True)
        return JsonAnswer(objects.deleted(file_id, "file"))

    async def content(self, request: Request) -> Response:
        """Return the bytes of a file."""
        row = await self._get(request)
        headers = {
            "content-length": str(row["bytes"]),
            "content-disposition": _disposition(row["filename"]),
        }
        return StreamingResponse(self._stored_chunks(row["id"]), media_type="application/octet-stream", headers=headers)

    async def _get(self, request: Request) -> Row:
        file_id, project = ids.file_id(request), project_of(request)
        return await self._database.read(lambda connection: files.get(connection, file_id, project=project))

    async def _stored_chunks(self, file_id: str) -> AsyncIterator[bytes]:
        position = 0
        while (
            data := await self._database.read(
                lambda connection, at=position: files.chunk(connection, file_id, at)  # type: ignore[misc]
            )
        ) is not None:
            yield data
            position += 1


async def _read_form(request: Request) -> FormData:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise refusals.not_multipart("the content type is not multipart/form-data")
    room_for_headers = 64 * 1024
    stream = limited_stream(request, MAX_UPLOAD_BYTES + room_for_headers)
    try:
        return await MultiPartParser(request.headers, stream, max_files=1, max_fields=10).parse()
    except MultiPartException as error:
        raise refusals.not_multipart(error.message) from error


def _fields(form: FormData) -> tuple[UploadFile, str, int | None]:
    """Return the file, its purpose, and after how many seconds it expires."""
    upload, purpose = form.get("file"), form.get("purpose")
    for name in form:
        if name not in ("file", "purpose", _ANCHOR, _SECONDS):
            raise refusals.unknown_parameter(_dotted(name))
    if not isinstance(upload, UploadFile):
        raise refusals.missing_parameter("file")
    if not isinstance(purpose, str):
        raise refusals.missing_parameter("purpose")
    if purpose not in PURPOSES:
        raise refusals.wrong_purpose(purpose, PURPOSES)
    return upload, purpose, _lifetime(form, purpose)


def _lifetime(form: FormData, purpose: str) -> int | None:
    anchor, seconds = form.get(_ANCHOR), form.get(_SECONDS)
    if anchor is None and seconds is None:
        return LONGEST_LIFE if purpose == "batch" else None  # files for batches always expire (Assistants API)
    for name, value in ((_ANCHOR, anchor), (_SECONDS, seconds)):
        if not isinstance(value, str):
            raise refusals.missing_parameter(_dotted(name))
    if anchor != "created_at":
        raise refusals.unsupported_value(_dotted(_ANCHOR), anchor, ("created_at",))
    return parse_number(_dotted(_SECONDS), str(seconds), at_least=SHORTEST_LIFE, at_most=LONGEST_LIFE)


def _dotted(name: str) -> str:
    """Return the name of a form's field as errors call it."""
    return name.replace("[", ".").replace("]", "")


@dataclass(frozen=True, slots=True)
class _Chunks:
    """What a file holds, from its beginning each time it is asked for."""

    file: BinaryIO

    def __iter__(self) -> Iterator[bytes]:
        self.file.seek(0)
        while data := self.file.read(files.CHUNK_BYTES):
            yield data


def _disposition(filename: str) -> str:
    quoted = quote(filename)
    return f'attachment; filename="{filename}"' if quoted == filename else f"attachment; filename*=utf-8''{quoted}"
