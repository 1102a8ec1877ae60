"""PostgreSQL: who waits for whom, what is repeated, and what is said when the server cannot be used."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text

from lockstitch.assistants.store import event_log, runs, threads
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_feed import EventFeed
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.errors import ApiError, StoreUnavailable
from lockstitch.starter.contract import NewMessage
from lockstitch.tests.postgresql_server import PostgresqlServer, started_postgresql
from lockstitch.tests.store.conftest import NOW, Store
from lockstitch.tests.store.sentences import one_sentence

pytestmark = pytest.mark.on_database("postgresql")

HELLO = NewMessage(role="user", content="Hello.")


def count(connection: Connection) -> int:
    return connection.scalar(text("SELECT count(*) FROM run_logs"))


def add(connection: Connection, run_id: str) -> None:
    event_log.begin(connection, run_id, [])


def post(connection: Connection, thread_id: str) -> Any:
    threads.lock_idle(connection, thread_id)
    return threads.add_message(connection, thread_id, HELLO, NOW)


def end_connections(url: str) -> None:
    """Do what a server does that is restarted, or a network that breaks."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


# --- who waits for whom


@asynccontextmanager
async def under_way(database: Database, unit: Callable[[Connection], Any]) -> AsyncIterator["asyncio.Task[Any]"]:
    """Carry out ``unit`` and keep its transaction open for as long as the ``async with`` lasts."""
    done, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def held(connection: Connection) -> Any:
        result = unit(connection)
        loop.call_soon_threadsafe(done.set)
        assert may_end.wait(20)
        return result

    task = asyncio.create_task(database.write(held))
    try:
        await asyncio.wait_for(done.wait(), 20)
        yield task
    finally:
        may_end.set()
        await task


@pytest.fixture
def somebody_waits(database: Database, eventually: Callable[..., Any]) -> Callable[[], Any]:
    """Wait until a transaction waits for another."""

    async def waits() -> bool:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return bool(await database.read(lambda connection: connection.scalar(query)))

    return lambda: eventually(waits)


@pytest.fixture
def in_turn(database: Database, somebody_waits: Callable[[], Any]) -> Callable[..., Any]:
    """Begin ``second`` while ``first`` is under way, check that it waits, and return what the two came to."""

    async def meet(first: Callable[..., Any], second: Callable[..., Any]) -> tuple[Any, Any]:
        async with Database(database.url) as other:
            async with under_way(database, first) as winner:
                loser = asyncio.create_task(other.write(second))
                await somebody_waits()
                assert not loser.done()
            await asyncio.wait([loser])
        return winner.result(), loser.exception() or loser.result()

    return meet


async def test_a_message_waits_for_a_run_that_is_being_created_and_is_refused(store: Store, in_turn):
    new = await store.new_run()
    run, refused = await in_turn(
        lambda connection: runs.create(connection, new),
        lambda connection: post(connection, new.thread_id),
    )

    assert isinstance(refused, ApiError)
    assert run["id"] in str(refused)


async def test_a_run_waits_for_a_message_that_is_being_added(store: Store, in_turn):
    new = await store.new_run()
    message, run = await in_turn(
        lambda connection: post(connection, new.thread_id),
        lambda connection: runs.create(connection, new),
    )

    assert (message["thread_id"], run["id"]) == (new.thread_id, new.run_id)


async def test_a_run_waits_for_another_and_is_told_its_id(store: Store, in_turn):
    first = await store.new_run()
    second = await store.new_run(first.thread_id)
    _, refused = await in_turn(
        lambda connection: runs.create(connection, first), lambda connection: runs.create(connection, second)
    )

    assert isinstance(refused, ApiError)
    assert first.run_id in str(refused)


async def test_outputs_wait_for_a_cancellation_and_are_refused(store: Store, in_turn, outputs):
    run = await store.run("requires_action")
    ids = run["thread_id"], run["id"]
    _, refused = await in_turn(
        lambda connection: runs.begin_cancel(connection, *ids),
        lambda connection: runs.submit_outputs(connection, *ids, outputs("call_a", "call_b"), NOW),
    )

    assert isinstance(refused, ApiError)
    assert "cancelling" in str(refused)


async def test_outputs_wait_for_an_end_and_are_refused(store: Store, in_turn, outputs):
    run = await store.run("requires_action")
    ids = run["thread_id"], run["id"]
    _, refused = await in_turn(
        lambda connection: runs.end(connection, run["id"], "expired", NOW),
        lambda connection: runs.submit_outputs(connection, *ids, outputs("call_a", "call_b"), NOW),
    )

    assert isinstance(refused, ApiError)
    assert "expired" in str(refused)


async def test_a_message_waits_for_a_thread_that_is_being_deleted_and_finds_none(store: Store, in_turn):
    thread_id = await store.thread()
    _, refused = await in_turn(
        lambda connection: threads.delete(connection, thread_id),
        lambda connection: post(connection, thread_id),
    )

    assert isinstance(refused, ApiError)
    assert refused.status == 404


async def test_the_event_loop_goes_on_while_a_write_waits(database, somebody_waits):
    await database.write(lambda connection: add(connection, "run_1"))
    async with under_way(database, lambda connection: event_log.lock(connection, "run_1")):
        waiting = asyncio.create_task(database.write(lambda connection: event_log.lock(connection, "run_1")))
        await somebody_waits()
        assert await database.read(count) == 1
    await waiting


async def test_who_waits_too_long_is_told_so(database):
    await database.write(lambda connection: add(connection, "run_1"))
    async with (
        Database(database.url, patience=timedelta(milliseconds=20)) as impatient,
        under_way(database, lambda connection: event_log.lock(connection, "run_1")),
    ):
        with pytest.raises(StoreUnavailable, match="lock timeout") as refused:
            await impatient.write(lambda connection: event_log.lock(connection, "run_1"))
    assert one_sentence(refused.value)


# --- what is repeated


async def test_transactions_that_wait_for_each_other_are_both_carried_out(database):
    meeting = threading.Barrier(2)
    attempts = []

    def lock_both(connection: Connection, first: str, second: str) -> None:
        attempts.append(first)
        event_log.lock(connection, first)
        if len(attempts) <= 2:
            meeting.wait(20)
        event_log.lock(connection, second)
        event_log.append(connection, first, [NewEvent("e", {})])

    for run_id in ("run_1", "run_2"):
        await database.write(lambda connection, run_id=run_id: add(connection, run_id))
    await asyncio.gather(
        database.write(lambda connection: lock_both(connection, "run_1", "run_2")),
        database.write(lambda connection: lock_both(connection, "run_2", "run_1")),
    )

    assert len(attempts) == 3
    for run_id in ("run_1", "run_2"):
        assert await database.read(lambda connection, run_id=run_id: event_log.last_seq(connection, run_id)) == 1


async def test_what_violates_a_constraint_for_good_is_repeated_only_so_often(database):
    attempts = []

    def add_twice(connection: Connection) -> None:
        attempts.append(1)
        add(connection, "run_1")
        add(connection, "run_1")

    with pytest.raises(Exception, match="duplicate key"):
        await database.write(add_twice)
    assert len(attempts) == 5
    assert await database.read(count) == 0


async def test_connections_that_were_cut_are_replaced_and_nobody_notices(database):
    await asyncio.gather(*(database.read(count) for _ in range(20)))
    end_connections(database.url)

    await database.write(lambda connection: add(connection, "run_1"))
    assert await asyncio.gather(*(database.read(count) for _ in range(20))) == [1] * 20


# --- event feeds


async def test_a_feed_whose_connection_was_cut_listens_again_and_misses_nothing(database, eventually):
    await database.write(lambda connection: add(connection, "run_1"))
    heard: list[int] = []

    async def listen(feed: EventFeed) -> None:
        async for logged in feed.watch("run_1"):
            assert logged is not None
            heard.append(logged.seq)

    async def append_and_hear() -> None:
        await database.write(lambda connection: event_log.append(connection, "run_1", [NewEvent("e", {})]))
        seq = await database.read(lambda connection: event_log.last_seq(connection, "run_1"))

        async def is_heard() -> bool:
            return seq in heard

        await eventually(is_heard)

    async with EventFeed(database) as feed:
        listening = asyncio.create_task(listen(feed))
        await append_and_hear()
        end_connections(database.url)
        await append_and_hear()
        await append_and_hear()
        listening.cancel()

    assert heard == [1, 2, 3]


async def test_a_transaction_that_is_rolled_back_calls_nobody(database):
    def append_and_fail(connection: Connection) -> None:
        event_log.append(connection, "run_1", [NewEvent("e", {})])
        raise ZeroDivisionError

    for run_id in ("run_1", "run_2"):
        await database.write(lambda connection, run_id=run_id: add(connection, run_id))
    watched = asyncio.Event()
    appends = database.appends(watched)
    assert await anext(appends) is None
    with pytest.raises(ZeroDivisionError):
        await database.write(append_and_fail)
    await database.write(lambda connection: event_log.append(connection, "run_2", [NewEvent("e", {})]))

    assert await anext(appends) == {"run_2"}
    await appends.aclose()


# --- a server that cannot be used


@pytest.fixture
def own_server() -> Iterator[PostgresqlServer]:
    with started_postgresql() as server:
        yield server


async def test_a_server_that_is_away_is_said_to_be_and_is_used_again_when_it_is_back(own_server):
    with own_server.new_database() as url:
        async with Database(url) as database:
            own_server.stop()
            with pytest.raises(StoreUnavailable, match=r"cannot be used: .*No such file") as refused:
                await database.read(count)
            assert one_sentence(refused.value)
            own_server.start()

            assert await database.read(count) == 0


async def test_a_database_that_does_not_exist_is_named(database):
    url = database.url.replace("?", "_missing?")

    with pytest.raises(StoreUnavailable, match=r"_missing.* does not exist") as refused:
        async with Database(url):
            pass
    assert one_sentence(refused.value)


async def test_a_password_is_in_no_error(tmp_path):
    with pytest.raises(StoreUnavailable) as refused:
        async with Database(f"postgresql://somebody:secret@/lockstitch?host={tmp_path}"):
            pass
    assert "secret" not in one_sentence(refused.value)
