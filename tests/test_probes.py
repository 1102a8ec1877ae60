"""What whoever runs a process asks it, over real HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lockstitch.errors import PortInUse, SettingsInvalid, StoreUnavailable
from lockstitch.probes import Check, listen, probe_app, serving


@asynccontextmanager
async def probing(checks: Mapping[str, Check]) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve probes with these checks, and a client that asks."""
    listener = listen("127.0.0.1", 0, purpose="a test", option="--port")
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with serving(probe_app(checks), listener), httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        yield client


async def works() -> None:
    pass


async def fails() -> None:
    raise StoreUnavailable("sqlite:///a.db", "the disk is full")


async def test_a_process_that_lives_says_so_whatever_it_needs():
    async with probing({"database": fails}) as client:
        answer = await client.get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_process_is_ready_when_every_check_passes(database):
    async with probing({"database": database.check, "temporal": works}) as client:
        answer = await client.get("/readyz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_process_that_cannot_work_says_why():
    async with probing({"temporal": works, "database": fails}) as client:
        answer = await client.get("/readyz")

    problems = {"database": "The database sqlite:///a.db cannot be used: the disk is full"}
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "problems": problems})


async def test_checks_are_made_at_the_same_time():
    meeting = asyncio.Barrier(2)
    async with asyncio.timeout(4), probing({"temporal": meeting.wait, "database": meeting.wait}) as client:
        assert (await client.get("/readyz")).status_code == 200


async def test_the_metrics_are_a_page_that_prometheus_reads():
    async with probing({}) as client:
        answer = await client.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"lockstitch_tool_calls", "lockstitch_open_runs", "lockstitch_http_request_duration_seconds"} <= names


@pytest.mark.parametrize("accept", ["application/openmetrics-text;version=new", "*/*", "text/plain;version=x", ""])
async def test_a_scraper_that_asks_for_something_odd_gets_the_usual_page(accept):
    async with probing({}) as client:
        answer = await client.get("/metrics", headers={"accept": accept})

    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "# TYPE lockstitch_tool_calls_total counter" in answer.text


async def test_anything_else_is_not_found():
    async with probing({}) as client:
        assert (await client.get("/v1/threads")).status_code == 404
        assert (await client.post("/healthz")).status_code == 405


async def test_the_server_ends_with_its_body_and_frees_its_port():
    async with probing({}) as client:
        url = client.base_url
        await client.get("/healthz")
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get("/healthz")


def test_a_port_that_is_taken_is_named_with_what_it_is_for():
    with listen("127.0.0.1", 0, purpose="a test", option="--port") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse) as refused:
            listen("127.0.0.1", port, purpose="the worker's metrics", option="LOCKSTITCH_METRICS_PORT")

    assert f"Port {port} for the worker's metrics is in use" in str(refused.value)
    assert "LOCKSTITCH_METRICS_PORT" in str(refused.value)


def test_a_port_can_be_taken_again_at_once_after_a_connection():
    first = listen("127.0.0.1", 0, purpose="a test", option="--port")
    port = first.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)), first.accept()[0]:
        pass
    first.close()

    listen("127.0.0.1", port, purpose="a test", option="--port").close()


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid", "::ffff:192.0.2.1"])
def test_an_address_of_another_machine_is_refused_in_one_sentence(host):
    with pytest.raises(SettingsInvalid, match=f"--host: the HTTP server cannot listen on {host} port 0: ") as refused:
        listen(host, 0, purpose="the HTTP server", option="--host")

    assert "\n" not in str(refused.value)


def test_an_ipv6_address_is_listened_on_too():
    try:
        listener = listen("::1", 0, purpose="a test", option="--port")
    except SettingsInvalid:
        pytest.skip("this machine has no IPv6")
    with listener:
        assert listener.family == socket.AF_INET6
