"""What clients send that no client should: on raw sockets, byte by byte."""

import asyncio
import json
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from lockstitch.assistants.http.body_pace import SLOWEST_BYTES_PER_SECOND, paced
from lockstitch.assistants.http.request_heads import MAX_HEAD_BYTES
from lockstitch.errors import ApiError

IMPATIENT = timedelta(milliseconds=200)
HEAD = b"GET /v1/assistants HTTP/1.1\r\nhost: x\r\nopenai-beta: assistants=v2\r\n"


@pytest.fixture
def connect(server) -> Callable:
    """Open a connection to a server."""

    @asynccontextmanager
    async def opened(url: str = server.url):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        try:
            yield reader, writer
        finally:
            writer.close()

    return opened


async def read_answer(reader) -> tuple[int, dict[str, str], dict]:
    """Read one answer: status, headers, object."""
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, json.loads(body)


async def is_closed(reader) -> bool:
    async with asyncio.timeout(10):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


@pytest.fixture
def send(connect) -> Callable:
    """Send bytes on a connection of their own and read the answer."""

    async def sent(data: bytes):
        async with connect() as (reader, writer):
            writer.write(data)
            return await read_answer(reader)

    return sent


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"x: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
        HEAD + b"".join(b"x-%d: %s\r\n" % (number, b"a" * 100) for number in range(600)) + b"\r\n",
        b"GET /v1/assistants?after=asst_" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        HEAD + b"a" * (MAX_HEAD_BYTES + 1),
    ],
    ids=["one header", "64 KiB of headers", "target", "name without an end"],
)
async def test_a_head_that_is_too_large_is_refused_and_the_connection_closed(connect, head):
    async with connect() as (reader, writer):
        writer.write(head)
        status, headers, body = await read_answer(reader)
        assert (status, headers["connection"]) == (431, "close")
        assert body["error"]["message"] == "The target and the headers of the request have more than 32768 bytes."
        assert await is_closed(reader)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"GET /v1/a b HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        HEAD + b"x\x00y: 1\r\n\r\n",
        HEAD + b"x: a\x00b\r\n\r\n",
        HEAD + b" folded: 1\r\n\r\n",
        HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
        HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"content-length: -1\r\n\r\n",
        b"POST /v1/threads HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
async def test_what_is_no_request_is_refused_in_the_form_of_the_api(send, data):
    status, headers, body = await send(data)

    assert (status, headers["content-type"]) == (400, "application/json")
    assert body["error"]["type"] == "invalid_request_error"


PATHS = {
    "/v1/threads/thread_a%0d%0ax-evil:%201": 400,
    "/v1/threads/thread_%00": 400,
    "/v1/threads/thread_" + "a" * 20_000: 400,
    "/v1/threads/thread_%e2%80%8b": 400,
    "/v1/threads/thread_%ff%fe": 400,
    "/v1/threads/thread_a?after=%00": 404,
    "/v1/assistants?after=asst_%00": 400,
    "/v1/threads/thread_a'%20or%20'1'='1": 404,
    "/v1/threads/..%2f..%2fetc%2fpasswd": 404,
    "/v1/../healthz": 404,
    "/v1/%2e%2e/healthz": 404,
    "/v1//assistants": 404,
    "/v1/files/..%2f..%2flockstitch.db/content": 404,
    "/v1/files/file-%00": 404,
    "/v1/files/%0d%0ax-evil:%201/content": 404,
    "/v1/runs/run_%00/events": 400,
}


@pytest.mark.parametrize(("path", "expected"), PATHS.items(), ids=[path[:50] for path in PATHS])
async def test_a_path_that_is_meant_to_lead_elsewhere_leads_nowhere(send, path, expected):
    head = f"GET {path} HTTP/1.1\r\nhost: x\r\nopenai-beta: assistants=v2\r\n\r\n"
    status, headers, body = await send(head.encode())

    assert (status, body["error"]["type"]) == (expected, "invalid_request_error")
    assert "x-evil" not in headers


async def test_the_name_of_a_file_cannot_become_a_header(http):
    name = 'a"\r\nx-evil: 1\r\n\r\n<script>.txt'
    created = (await http.post("/v1/files", files={"file": (name, b"1")}, data={"purpose": "vision"})).json()
    answer = await http.get(f"/v1/files/{created['id']}/content")

    assert answer.content == b"1"
    assert "x-evil" not in answer.headers
    assert re.fullmatch(r"attachment; filename\*=utf-8''[\w%.-]+", answer.headers["content-disposition"])


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for(another_server, connect):
    async with another_server(patience=IMPATIENT) as server, connect(server.url) as (reader, writer):
        answer = asyncio.ensure_future(read_answer(reader))
        for byte in HEAD * 100:
            writer.write(bytes([byte]))
            if (await asyncio.wait([answer], timeout=0.01))[0]:
                break
        status, headers, body = await answer
        assert (status, headers["connection"]) == (408, "close")
        assert body["error"]["message"] == "The headers of the request were not received in time."
        assert await is_closed(reader)


async def test_a_connection_on_which_nothing_comes_is_closed(another_server, connect):
    async with another_server(patience=IMPATIENT) as server, connect(server.url) as (reader, _):
        assert await is_closed(reader)


async def test_the_second_head_on_a_connection_is_waited_for_no_longer(another_server, connect):
    async with another_server(patience=IMPATIENT) as server, connect(server.url) as (reader, writer):
        writer.write(HEAD + b"\r\n" + HEAD)
        assert (await read_answer(reader))[0] == 200
        assert (await read_answer(reader))[0] == 408


async def test_a_client_that_takes_its_time_between_requests_and_is_quick_within_them_is_served(server, connect):
    async with connect() as (reader, writer):
        for _ in range(3):
            writer.write(HEAD[:20])
            writer.write(HEAD[20:] + b"\r\n")
            assert (await read_answer(reader))[0] == 200


async def test_a_body_that_comes_byte_by_byte_is_not_waited_for_and_changes_nothing(another_server, connect):
    async with another_server(patience=IMPATIENT) as server, connect(server.url) as (reader, writer):
        writer.write(
            b"POST /v1/threads HTTP/1.1\r\nhost: x\r\nopenai-beta: assistants=v2\r\ncontent-length: 9999\r\n\r\n"
        )
        answer = asyncio.ensure_future(read_answer(reader))
        for _ in range(9000):
            writer.write(b" ")
            if (await asyncio.wait([answer], timeout=0.01))[0]:
                break
        status, headers, body = await answer
        assert (status, headers["connection"]) == (408, "close")
        assert body["error"]["message"] == "The request body was not received in time. Please try again."
        assert await is_closed(reader)
        count = "SELECT count(*) FROM threads"
        threads = await server.database.read(lambda connection: connection.exec_driver_sql(count).scalar())
    assert threads == 0


async def test_a_large_body_has_the_time_that_its_size_takes():
    """Each piece brings what the next one may take, so that an upload over a slow line is no slow client."""
    piece, pauses = b"x" * SLOWEST_BYTES_PER_SECOND, iter([0.02] * 10)
    seen = []

    async def receive():
        pause = next(pauses, None)
        await asyncio.sleep(pause or 0)
        return {"type": "http.request", "body": piece, "more_body": pause is not None}

    body = paced({"method": "POST"}, receive, 0.05)
    while (message := await body())["more_body"]:
        seen.append(message["body"])
    assert len(seen) == 10


async def test_a_client_that_has_sent_everything_is_waited_for_as_long_as_it_stays():
    gone = asyncio.Event()
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    body = paced({"method": "POST"}, receive, 0.001)
    await body()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(body(), 0.05)
    gone.set()
    assert (await body())["type"] == "http.disconnect"


async def test_a_client_that_sends_nothing_of_its_body_is_not_waited_for():
    async def receive():
        await asyncio.Event().wait()

    with pytest.raises(ApiError, match="not received in time"):
        await paced({"method": "POST"}, receive, 0.001)()


def unlinked_files() -> set[str]:
    """Temporary files that this process has open, which have no name any more."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
        if target.startswith(tempfile.gettempdir()) and target.endswith("(deleted)"):
            found.add(target)
    return found


async def test_an_upload_that_is_broken_off_leaves_no_file(connect, http, eventually):
    before, named = unlinked_files(), set(os.listdir(tempfile.gettempdir()))
    async with connect() as (_, writer):
        writer.write(b"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n")
        writer.write(b"content-type: multipart/form-data; boundary=x\r\n\r\n--x\r\n")
        writer.write(b'content-disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"a" * 4_000_000)
        await writer.drain()

        async def on_disk():
            return unlinked_files() - before

        assert await eventually(on_disk)

    async def gone():
        return unlinked_files() == before

    await eventually(gone)
    assert {name for name in os.listdir(tempfile.gettempdir()) if name not in named and name.startswith("tmp")} == set()


async def test_a_body_is_no_head_however_it_comes_in_pieces(connect):
    """What is left of a body may be read in one piece with the beginning of the next request."""
    body = b'{"metadata": {}}' + b" " * 200_000
    head = HEAD.replace(b"GET", b"POST").replace(b"assistants HTTP", b"threads HTTP")
    request = head + b"content-length: %d\r\n\r\n" % len(body) + body
    async with connect() as (reader, writer):
        for cut in (10, len(request) - 1, len(request) - 100_000):
            writer.write(request[:cut])
            await writer.drain()
            writer.write(request[cut:] + HEAD + b"\r\n")
            assert [(await read_answer(reader))[0] for _ in range(2)] == [200, 200]
