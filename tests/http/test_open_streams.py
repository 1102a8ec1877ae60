"""How many streams a key, and a server, may have open at once."""

from contextlib import asynccontextmanager

import httpx2
import pytest

from lockstitch.assistants.http.open_streams import OpenStreams
from lockstitch.assistants.store import keys
from lockstitch.assistants.store.keys import NewKey

BETA = {"openai-beta": "assistants=v2"}


@pytest.fixture
async def limited(another_server):
    """A server that sends two streams at a time, one for each key, and three keys."""
    async with another_server(streams=OpenStreams(most=2, most_per_key=1)) as server:
        secrets = [
            (await server.database.write(lambda connection: keys.create(connection, NewKey("default"), 0)))[1]
            for _ in range(3)
        ]
        yield server, secrets


@asynccontextmanager
async def opened(server, secret, path, body=None):
    """Open a stream, or be refused."""
    headers = BETA | {"authorization": f"Bearer {secret}"}
    async with (
        httpx2.AsyncClient(base_url=server.url, headers=headers, trust_env=False) as client,
        client.stream("GET" if body is None else "POST", f"/v1{path}", json=body) as answer,
    ):
        yield answer


async def new_run(server, secret):
    """Create an assistant and a run of it that is queued."""
    headers = BETA | {"authorization": f"Bearer {secret}"}
    async with httpx2.AsyncClient(base_url=server.url, headers=headers, trust_env=False) as client:
        assistant = (await client.post("/v1/assistants", json={"model": "m", "instructions": "Hi"})).json()
        return (await client.post("/v1/threads/runs", json={"assistant_id": assistant["id"]})).json()


async def test_one_stream_too_many_is_refused_before_a_run_is_accepted(limited):
    server, [first, second, third] = limited
    run = await new_run(server, first)
    events, new = f"/runs/{run['id']}/events", {"assistant_id": run["assistant_id"], "stream": True}
    count = "SELECT count(*) FROM runs"

    async def runs():
        return await server.database.read(lambda connection: connection.exec_driver_sql(count).scalar())

    async with opened(server, first, events) as stream:
        assert stream.status_code == 200
        async with opened(server, first, "/threads/runs", new) as refused:
            error = (await refused.aread(), refused.json()["error"])[1]
            assert (refused.status_code, error["code"], error["type"]) == (429, "rate_limit_exceeded", "requests")
            assert (refused.headers["retry-after"], refused.headers["retry-after-ms"]) == ("1", "1000")
        async with opened(server, second, events) as stream_of_another:
            assert stream_of_another.status_code == 200
            async with opened(server, third, events) as refused:
                await refused.aread()
                assert (refused.status_code, refused.json()["error"]["type"]) == (503, "server_error")
                assert refused.headers["retry-after"] == "1"
    assert await runs() == 1


async def test_a_stream_that_ended_or_was_left_makes_room(limited, eventually):
    server, [secret, *_] = limited
    run = await new_run(server, secret)
    async with opened(server, secret, f"/runs/{run['id']}/events") as stream:
        await anext(stream.aiter_bytes())

    async def nobody_reads():
        return repr(server.services.streams) == "OpenStreams(0 of 2)"

    await eventually(nobody_reads)
    async with opened(server, secret, f"/runs/{run['id']}/events") as stream:
        await server.worker.say(run["id"])
        assert b"event: done" in await stream.aread()
    await eventually(nobody_reads)


async def test_a_request_that_is_refused_takes_no_room(limited):
    server, [secret, *_] = limited
    for _ in range(3):
        async with opened(server, secret, "/threads/runs", {"assistant_id": "asst_x", "stream": True}) as refused:
            assert refused.status_code == 404

    assert repr(server.services.streams) == "OpenStreams(0 of 2)"
