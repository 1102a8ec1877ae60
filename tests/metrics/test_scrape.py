"""The pages of metrics of whole processes: what promtool says of them, and how large they become."""

import asyncio
import subprocess
import sys
import time

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lockstitch.dev import DevOptions, DevStack
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, ThreadRunRequest
from lockstitch.tests.programs import program

MOST_SERIES = 2000
PLAIN = {"LOCKSTITCH_EMBEDDER": "none", "LOCKSTITCH_SANDBOX": "none"}

# A process of its own, because metrics are those of a whole process.
LOADED = """
import asyncio, pathlib, sys
from prometheus_client import generate_latest
from lockstitch import telemetry
from lockstitch.benchmarks.scrape_load import loaded_worker

async def main():
    async with loaded_worker(pathlib.Path(sys.argv[1])) as load:
        await load.carry_out(40)
        await load.record(2_960)
        await load.reader.read()
        finished = 0
        while finished < 3_000:
            families = list(telemetry.registry.collect())
            ended = [family for family in families if family.name == "lockstitch_runs_finished"]
            finished = sum(sample.value for family in ended for sample in family.samples)
            await asyncio.sleep(0.1)
        pathlib.Path(sys.argv[2]).write_bytes(generate_latest(telemetry.registry))

asyncio.run(asyncio.wait_for(main(), 100))
"""


def complaints(page: str) -> str:
    """Return what promtool says of a page; it is content where that is nothing."""
    command = [program("promtool"), "check", "metrics"]
    checked = subprocess.run(command, input=page, capture_output=True, text=True, timeout=60)
    return checked.stdout + checked.stderr


def test_a_worker_that_has_seen_thousands_of_runs_has_less_than_two_thousand_series(tmp_path):
    """The benchmark of scrapes sees ten thousand."""
    command = [sys.executable, "-c", LOADED, str(tmp_path), str(tmp_path / "page")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-2000:]
    page = (tmp_path / "page").read_text()
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]

    assert len(samples) < MOST_SERIES
    assert complaints(page) == ""


async def asked(stack: DevStack) -> str:
    """Have a run carried out by a worker, and return its id."""
    async with httpx2.AsyncClient(base_url=stack.server_url, trust_env=False) as http:
        headers = {"openai-beta": "assistants=v2", "authorization": "Bearer anything"}
        created = await http.post("/v1/assistants", json={"model": "test"}, headers=headers)
    async with await Starter.connect(stack.temporal_address) as starter:
        messages = [NewMessage(role="user", content="Hello.")]
        request = ThreadRunRequest(assistant_id=created.json()["id"], messages=messages)
        return (await starter.run(request)).status


def started(page: str) -> float:
    """Return when the process of a page says that it began."""
    families = text_string_to_metric_families(page)
    name = "lockstitch_process_start_time_seconds"
    return next(sample.value for family in families for sample in family.samples if sample.name == name)


async def page_with(url: str, line: str) -> str:
    """Return the page of a process as soon as it has a line that begins like this."""
    async with asyncio.timeout(30), httpx2.AsyncClient(trust_env=False) as http:
        while True:
            page = (await http.get(f"{url}/metrics")).text
            if f"\n{line}" in page:
                return page
            await asyncio.sleep(0.1)


async def first_page_with(line: str, *urls: str) -> str:
    """Return the page of whichever process has such a line first."""
    looks = [asyncio.create_task(page_with(url, line)) for url in urls]
    try:
        done, _ = await asyncio.wait(looks, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result()
    finally:
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)


POLLED = 'lockstitch_task_queue_pollers{kind="workflow",task_queue="runs"} 1'


@pytest.mark.timeout(180)
async def test_worker_and_server_show_pages_that_prometheus_likes_with_what_concerns_the_fleet(tmp_path):
    ports = {"port": 0, "temporal_port": 0, "ui_port": 0, "metrics_port": 0}
    options = DevOptions(tmp_path, **ports, environment=PLAIN, quiet=True)
    began = time.time()
    async with DevStack(options) as stack:
        assert await asked(stack) == "completed"
        worker = await page_with(stack.metrics_url, 'lockstitch_runs_finished_total{backend="local"')
        server = await page_with(stack.server_url, "temporal_request_latency_bucket{")
        reader = await first_page_with(POLLED, stack.server_url, stack.metrics_url)

    for page in (worker, server, reader):
        assert await asyncio.to_thread(complaints, page) == ""
    assert 'process="worker"' in worker
    assert 'process="server"' in server
    # What alerts look at for a single increase is there before it.
    assert 'lockstitch_notifications_total{event="escalation.opened",outcome="gave_up"} 0.0' in worker
    assert 'lockstitch_notifications_total{event="escalation.resolved",outcome="failed"} 0.0' in worker
    assert 'lockstitch_files_ingested_total{outcome="gave_up"} 0.0' in worker
    assert 'lockstitch_oldest_run_age_seconds{status="requires_action"} 0.0' in reader
    for page in (worker, server, reader):
        assert began < started(page) <= time.time()
        assert 'lockstitch_fleet_readings_total{outcome="failed"' not in page
