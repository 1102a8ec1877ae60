"""The server itself: prefixes, headers, health, metrics, what breaks, and how it starts and stops."""

import asyncio
import json
import os
import signal
import socket
import sys
from dataclasses import replace

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lockstitch.assistants.http.app import build_app, serve
from lockstitch.assistants.store.database import Database
from lockstitch.config import Config
from lockstitch.errors import PortInUse

BETA = {"openai-beta": "assistants=v2"}


AZURE = ["/openai/deployments/gpt-4o", "/api/projects/p", "/api/projects/p/openai"]


@pytest.mark.parametrize("prefix", ["", "/v1", "/openai", "/openai/v1", *AZURE])
async def test_every_path_answers_under_each_prefix(http, thread, prefix):
    assert (await http.get(f"{prefix}/threads/{thread.id}")).json()["id"] == thread.id


async def test_azure_lists_threads_and_nobody_else_does(http, thread):
    azure = await http.get("/openai/threads?api-version=2024-05-01-preview&limit=1", headers={"openai-beta": ""})
    assert (azure.status_code, azure.json()["object"]) == (200, "list")
    assert azure.json()["data"][0]["object"] == "thread"

    refused = await http.get("/v1/threads")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert refused.json()["error"]["message"] == "Not allowed to GET on /v1/threads."


async def test_an_answer_has_the_headers_of_the_api_and_is_indented(http, thread):
    answers = [await http.get(f"/v1/threads/{thread.id}"), await http.get("/v1/threads/thread_unknown")]

    for answer in answers:
        assert answer.headers["openai-version"] == "2020-10-01"
        assert int(answer.headers["openai-processing-ms"]) >= 0
        assert answer.headers["content-type"] == "application/json"
        assert answer.text.startswith('{\n  "')
    first, second = [answer.headers["x-request-id"] for answer in answers]
    assert first.startswith("req_")
    assert first != second


async def test_requests_are_counted_by_route_and_never_by_id(http, thread):
    async def count(**labels):
        page = (await http.get("/metrics")).text
        assert thread.id not in page
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        found = [s.value for s in samples if s.name == "lockstitch_http_requests_total" and s.labels == labels]
        return sum(found)

    known = {"method": "GET", "route": "/threads/{thread_id}", "status": "200"}
    unknown = {"method": "GET", "route": "unknown", "status": "404"}
    before = await count(**known), await count(**unknown)
    await http.get(f"/v1/threads/{thread.id}")
    await http.get(f"/openai/threads/{thread.id}")
    await http.get("/v1/coffee")
    assert (await count(**known), await count(**unknown)) == (before[0] + 2, before[1] + 1)


async def test_open_streams_are_counted_while_they_are_open(http, run, worker, open_stream):
    async def open_streams():
        page = (await http.get("/metrics")).text
        [line] = [line for line in page.splitlines() if line.startswith("lockstitch_open_streams ")]
        return float(line.split()[1])

    before = await open_streams()
    async with open_stream(f"/v1/runs/{run.id}/events") as stream:
        frames = aiter(stream)
        await anext(frames)
        assert await open_streams() == before + 1
        await worker.say(run.id)
        assert [frame async for frame in frames][-1].event == "done"
    assert await open_streams() == before


async def test_a_healthy_server_is_live_and_ready(http):
    assert (await http.get("/healthz")).json() == {"status": "ok"}
    assert ((await http.get("/readyz")).status_code, (await http.get("/readyz")).json()) == (200, {"status": "ok"})


async def test_a_store_that_is_away_is_answered_with_503(another_server):
    async with another_server() as server, httpx2.AsyncClient(base_url=server.url, headers=BETA) as http:
        await server.database.write(lambda connection: connection.exec_driver_sql("DROP TABLE assistants"))
        answer = await http.get("/v1/assistants/asst_x")

    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "server_error")
    assert answer.headers["x-request-id"].startswith("req_")


class BrokenDatabase(Database):
    """A database with a fault of its own."""

    def __init__(self):
        pass

    async def read(self, unit):
        raise ZeroDivisionError


async def test_what_nobody_foresaw_is_answered_with_the_id_of_the_request(server):
    app = build_app(replace(server.services, database=BrokenDatabase()))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test", headers=BETA) as http:
        answer = await http.get("/v1/assistants/asst_x")

    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (500, "server_error")
    assert error["message"].startswith("The server had an error processing your request. Sorry about that!")
    assert answer.headers["x-request-id"] in error["message"]


async def test_a_client_that_leaves_in_the_middle_of_a_body_is_no_error(server, http):
    _, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    writer.write(b"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n")
    writer.write(b"content-type: multipart/form-data; boundary=x\r\n\r\n--x\r\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    assert (await http.get("/healthz")).status_code == 200


async def test_a_port_that_is_taken_is_reported_before_anything_starts(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        database = tmp_path / "lockstitch.db"
        config = Config(port=taken.getsockname()[1], database_url=f"sqlite:///{database}", temporal_address="nowhere:1")
        with pytest.raises(PortInUse):
            await serve(config, asyncio.Event())

    assert not database.exists()


SERVE = "import asyncio, os; from lockstitch.config import Config; from lockstitch import telemetry; \
from lockstitch.assistants.http.app import serve; telemetry.set_up_logging('json', 'info'); \
asyncio.run(serve(Config.from_environment(os.environ)))"


@pytest.fixture
async def process(temporal, tmp_path, request):
    """A server that is a process of its own, which listens on every address."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(request.config.rootpath / ".typecheck"),
        "LOCKSTITCH_TEMPORAL_ADDRESS": temporal.service_client.config.target_host,
        "LOCKSTITCH_DATABASE_URL": f"sqlite:///{tmp_path / 'lockstitch.db'}",
        "LOCKSTITCH_HOST": "127.0.0.1",
        "LOCKSTITCH_PORT": "0",
    }
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, env=environment, stderr=asyncio.subprocess.PIPE
    )
    yield started
    if started.returncode is None:
        started.kill()
        await started.wait()


async def until_started(lines):
    async for line in lines:
        yield line
        if b"http_server_started" in line:
            return


async def test_a_server_that_gets_a_signal_ends_open_streams_and_itself(process, open_stream):
    async with asyncio.timeout(30):
        lines = [json.loads(line) async for line in until_started(process.stderr)]
        started = lines[-1]
        url = f"http://127.0.0.1:{started['port']}"
        async with httpx2.AsyncClient(base_url=url, headers=BETA) as http:
            assistant = (await http.post("/v1/assistants", json={"model": "test", "instructions": "Hi"})).json()
        async with open_stream(
            "/v1/threads/runs", {"assistant_id": assistant["id"], "stream": True}, url=url
        ) as stream:
            frames = aiter(stream)
            await anext(frames)
            process.send_signal(signal.SIGTERM)
            rest = [frame async for frame in frames]

        assert (await process.wait(), rest[-1].event) == (0, "error")
    assert started["event"] == "http_server_started"


async def refuses_connections(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_an_upload_that_is_under_way_when_the_server_is_told_to_stop_is_finished(process, eventually):
    """The client is slow: it needs several seconds more."""
    async with asyncio.timeout(60):
        port = [json.loads(line) async for line in until_started(process.stderr)][-1]["port"]
        parts = ['--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nassistants\r\n', "--x\r\n"]
        parts += ['content-disposition: form-data; name="file"; filename="a"\r\n\r\n', *"a" * 20, "\r\n--x--\r\n"]
        head = f"content-length: {sum(map(len, parts))}\r\ncontent-type: multipart/form-data; boundary=x\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST /v1/files HTTP/1.1\r\nhost: x\r\n{head}{parts[0]}".encode())
        await writer.drain()
        # Answered by the same loop, so the upload has begun when it is.
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            await http.get("/healthz")
        process.send_signal(signal.SIGTERM)
        await eventually(lambda: refuses_connections(port))
        for part in parts[1:]:
            writer.write(part.encode())
            await writer.drain()
            await asyncio.sleep(0.2)
        answer = await reader.read()
        writer.close()

        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b'"bytes": 20' in answer
        assert await process.wait() == 0


async def test_a_server_on_which_nothing_happens_ends_at_once(process):
    async with asyncio.timeout(30):
        port = [json.loads(line) async for line in until_started(process.stderr)][-1]["port"]
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            await http.get("/healthz")  # the connection stays open
            began = asyncio.get_running_loop().time()
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
            assert asyncio.get_running_loop().time() - began < 10  # of the thirty that a request would have
