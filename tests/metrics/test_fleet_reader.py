"""The gauges of the whole fleet: read from the Temporal server and the store, true, and gone where they cannot be read.

Other tests run on the same Temporal server, so what is counted there is compared with what there was before.
"""

import time
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from lockstitch import telemetry
from lockstitch.assistants.fleet_reader import FleetReader
from lockstitch.assistants.store import commands, leases, schema
from lockstitch.metrics import fleet_gauges
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import RunPolicy
from lockstitch.starter.escalations import Decision
from lockstitch.tests.temporal_server import started_temporal
from lockstitch.tools import tool

PAGER = RunPolicy(decision_timeout=timedelta(minutes=1))


def value(metric: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(f"lockstitch_{metric}", labels)


@tool(approval=True)
async def open_the_safe() -> str:
    """Open the safe."""
    return "open"


@asynccontextmanager
async def asked(engine, eventually):
    """A run that waits for an approval, and the reader of its fleet."""
    async with engine([open_the_safe]) as lockstitch:
        run_id = await lockstitch.starter.start(await lockstitch.request("Open the safe.", PAGER))

        async def escalation():
            shown = await lockstitch.starter.escalations()
            return next((it for it in shown if it.run_id == run_id), None)

        opened = await eventually(escalation)
        yield lockstitch, FleetReader(lockstitch.starter, lockstitch.database), opened
        decision = Decision(escalation_id=opened.id, action="deny")
        await lockstitch.starter.decide(run_id, decision)
        await lockstitch.starter.result(run_id)


async def test_what_waits_for_a_person_is_counted_and_its_age_grows(engine, eventually):
    async with asked(engine, eventually) as (_, reader, _):
        await reader.read("escalations", "run_ages", "open_runs")
        first = value("oldest_run_age_seconds", status="in_progress")
        assert value("open_escalations", reason="approval") >= 1
        assert value("open_escalations", reason="no_handler") is not None
        assert value("oldest_escalation_age_seconds") > 0
        assert value("escalations_due_soon") >= 1
        assert value("open_runs", status="in_progress") >= 1

        async def is_older() -> bool:
            await reader.read("run_ages")
            return value("oldest_run_age_seconds", status="in_progress") > first > 0

        await eventually(is_older)


async def test_workers_that_ask_for_work_are_counted_and_no_queue_is_left_out(engine, eventually):
    async with engine() as lockstitch:
        reader = FleetReader(lockstitch.starter, lockstitch.database)

        async def polled() -> bool:
            await reader.read("task_queues")
            return value("task_queue_pollers", task_queue="runs", kind="workflow") == 1

        await eventually(polled)
        assert value("task_queue_pollers", task_queue="files", kind="activity") == 1
        assert value("task_queue_pollers", task_queue="code", kind="activity") == 0  # it has no sandbox
        assert value("task_queue_backlog", task_queue="runs", kind="activity") == 0
        assert value("task_queue_backlog_age_seconds", task_queue="runs", kind="activity") == 0


async def test_commands_that_the_temporal_server_was_not_told_are_counted_with_their_age(engine):
    async with engine(workers=False) as lockstitch:
        reader = FleetReader(lockstitch.starter, lockstitch.database)
        await reader.read("commands")
        assert (value("waiting_commands"), value("oldest_command_age_seconds")) == (0, 0)
        began = time.time()
        await lockstitch.database.write(lambda connection: commands.add(connection, "run_1", "cancel", {}))
        await reader.read("commands")

        assert value("waiting_commands") == 1
        assert 0 < value("oldest_command_age_seconds") < time.time() - began + 1


async def test_every_reading_can_be_taken_and_shows_all_its_gauges(engine, eventually):
    async with engine() as lockstitch:
        reader = FleetReader(lockstitch.starter, lockstitch.database)
        await reader.read()

        shown = {sample.name for family in telemetry.FLEET.collect() for sample in family.samples}
        assert shown == {gauge.name for reading in reader.readings.values() for gauge in reading.gauges}


async def test_a_reading_that_fails_takes_its_gauges_away_and_is_told_once(engine):
    async with engine(workers=False) as lockstitch:
        reader = FleetReader(lockstitch.starter, lockstitch.database)
        await reader.read("commands", "open_runs")
        before = value("fleet_readings_total", reading="commands", outcome="failed") or 0
        with capture_logs() as logged:
            await lockstitch.database.write(lambda connection: connection.execute(text("DROP TABLE commands")))
            await reader.read("commands")
            await reader.read("commands")

    assert value("waiting_commands") is None
    assert value("open_runs", status="queued") is not None
    assert value("fleet_readings_total", reading="commands", outcome="failed") == before + 2
    assert [line["reading"] for line in logged if line["event"] == "fleet_reading_failed"] == ["commands"]


async def test_the_reader_reads_for_as_long_as_it_is_open(engine, eventually):
    async with engine(workers=False) as lockstitch:
        labels = {"reading": "open_runs", "outcome": "done"}
        before = value("fleet_readings_total", **labels) or 0

        async def read_again() -> bool:
            return value("fleet_readings_total", **labels) >= before + 2

        async with FleetReader(lockstitch.starter, lockstitch.database):
            await eventually(read_again)


QUICKLY = 0.1
"""Seconds between looks at the lease."""


@pytest.fixture
def more_looks(eventually):
    """Wait until readers have looked at the lease so many times more."""

    def looks() -> float:
        return value("fleet_readings_total", reading="lease", outcome="done") or 0

    async def wait(number: int) -> None:
        enough = looks() + number

        async def are_enough() -> bool:
            return looks() >= enough

        await eventually(are_enough)

    return wait


async def test_one_process_at_a_time_reads_and_another_takes_its_place(engine, eventually, more_looks):
    async with engine(workers=False) as lockstitch:

        async def is_read() -> bool:
            return value("waiting_commands") == 0

        async with AsyncExitStack() as stack:
            first = FleetReader(lockstitch.starter, lockstitch.database, looks_every=QUICKLY)
            await stack.enter_async_context(first)
            await eventually(is_read)
            async with FleetReader(lockstitch.starter, lockstitch.database, looks_every=QUICKLY) as second:
                await more_looks(10)
                assert (first.reads, second.reads) == (True, False)
                await stack.aclose()
                assert value("waiting_commands") is None, "the gauges go with who has read them"
                await eventually(is_read)
                assert (first.reads, second.reads) == (False, True)


async def test_a_reader_that_lost_its_place_shows_nothing(engine, eventually):
    async with engine(workers=False) as lockstitch:

        async def is_read() -> bool:
            return value("waiting_commands") == 0

        async def is_not_read() -> bool:
            return value("waiting_commands") is None

        async with FleetReader(lockstitch.starter, lockstitch.database, looks_every=QUICKLY) as reader:
            await eventually(is_read)
            name = lockstitch.starter.fleet.name
            another = schema.leases.update().where(schema.leases.c.name == name).values(holder="another")
            await lockstitch.database.write(lambda connection: connection.execute(another))
            await eventually(is_not_read)
            assert not reader.reads


async def test_a_reader_that_does_not_reach_the_temporal_server_leaves_its_place_to_others(
    database, eventually, more_looks
):
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(AsyncExitStack())
        temporal = await server.enter_async_context(started_temporal())
        starter = await stack.enter_async_context(Starter(temporal, task_queue="cut-off"))
        reader = await stack.enter_async_context(FleetReader(starter, database, looks_every=QUICKLY))
        await more_looks(2)
        await server.aclose()
        await reader.read("open_runs")
        assert value("open_runs", status="queued") is None
        await more_looks(1)  # one that was under way
        before = await database.read(lambda connection: leases.held(connection, starter.fleet.name))
        await more_looks(5)
        after = await database.read(lambda connection: leases.held(connection, starter.fleet.name))

        assert before == after, "it renews its lease, so nobody else would read"
        assert reader.reads, "it stops before another reads"


@pytest.fixture(autouse=True)
def no_values_of_other_tests():
    telemetry.FLEET.hide(*fleet_gauges.ALL)
