"""Transactions of two processes that meet: whichever comes first, the other finds what it left."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from lockstitch.assistants.store import assistants, event_log, files, runs, threads, tool_calls, upstream_runs
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.assistants.store.rows import PageCursor
from lockstitch.assistants.store.schema import DEFAULT_PROJECT
from lockstitch.errors import ApiError, WriterFenced
from lockstitch.starter.contract import NewMessage
from lockstitch.starter.identifiers import new_file_id
from lockstitch.tests.store.conftest import NOW

ROUNDS = 100
CALLS = ("call_a", "call_b")
HELLO = NewMessage(role="user", content="Hello.")

Race = Callable[..., Awaitable[list[Any]]]


@pytest.fixture
async def race(database: Database) -> AsyncIterator[Race]:
    """Let two processes write at the same time; tell what each came to, ``None`` where it was refused."""

    async def meet(first: Callable[..., Any], second: Callable[..., Any]) -> list[Any]:
        results = await asyncio.gather(database.write(first), other.write(second), return_exceptions=True)
        for error in (it for it in results if isinstance(it, BaseException)):
            assert isinstance(error, ApiError | WriterFenced), error
        return [None if isinstance(it, BaseException) else it for it in results]

    async with Database(database.url) as other:
        yield meet


async def test_of_two_runs_on_one_thread_one_is_created_and_the_other_is_told_which(store, race):
    assistant_id = await store.assistant()
    for _ in range(ROUNDS):
        thread_id = await store.thread("Hello.")
        new = [await store.new_run(thread_id, assistant_id) for _ in range(2)]
        created = await race(*(lambda connection, it=it: _create(connection, it) for it in new))

        [told] = [it for it in created if isinstance(it, str)]
        [run] = [it for it in created if not isinstance(it, str)]
        assert run["id"] in told


def post(connection, thread_id):
    threads.lock_idle(connection, thread_id)
    return threads.add_message(connection, thread_id, HELLO, NOW)


def _create(connection, new):
    try:
        return runs.create(connection, new)
    except ApiError as error:
        return str(error)


async def test_a_message_comes_before_a_run_or_is_refused_because_of_it(store, race):
    assistant_id = await store.assistant()
    for _ in range(ROUNDS):
        thread_id = await store.thread("Hello.")
        new = await store.new_run(thread_id, assistant_id)
        run, message = await race(
            lambda connection, new=new: runs.create(connection, new),
            lambda connection, it=thread_id: post(connection, it),
        )

        page = await store.read(threads.list_messages, thread_id, PageCursor())
        assert run is not None
        assert len(page.rows) == (1 if message is None else 2)


async def test_a_cancellation_and_outputs_agree_with_the_events(store, race, outputs):
    for _ in range(ROUNDS):
        run = await store.run("requires_action")
        cancelled, submitted = await race(
            lambda connection, it=run: runs.begin_cancel(connection, it["thread_id"], it["id"]),
            lambda connection, it=run: runs.submit_outputs(connection, it["thread_id"], it["id"], outputs(*CALLS), NOW),
        )

        told = ["run.step.completed", "run.queued"] if submitted else []
        assert cancelled is not None
        assert (await store.events(run))[3:] == [*told, "run.cancelling"]


async def test_an_end_and_outputs_agree_with_the_events(store, race, outputs):
    for _ in range(ROUNDS):
        run = await store.run("requires_action")
        ended, submitted = await race(
            lambda connection, it=run: runs.end(connection, it["id"], "expired", NOW),
            lambda connection, it=run: runs.submit_outputs(connection, it["thread_id"], it["id"], outputs(*CALLS), NOW),
        )

        told = ["run.step.completed", "run.queued"] if submitted else ["run.step.expired"]
        assert ended is not None
        assert (await store.events(run))[3:] == [*told, "run.expired"]


async def test_an_end_and_a_cancellation_agree_with_the_events(store, race):
    for _ in range(ROUNDS):
        run = await store.run("in_progress")
        await race(
            lambda connection, it=run: runs.end(connection, it["id"], "completed", NOW),
            lambda connection, it=run: runs.begin_cancel(connection, it["thread_id"], it["id"]),
        )

        said = [name for name in await store.events(run) if name in ("run.cancelling", "run.completed")]
        assert said in (["run.completed"], ["run.cancelling", "run.completed"])
        assert (await store.find(run))["status"] == "completed"


async def test_a_writer_and_an_end_leave_a_log_without_a_gap_that_ends_with_the_end(store, race):
    def write(connection, run, fence):
        event_log.lock(connection, run["id"], fence=fence)
        runs.change(connection, run["id"], when=["queued"], values={"status": "in_progress"})
        event_log.append(connection, run["id"], [NewEvent("thread.run.in_progress", {})], fence=fence)

    for _ in range(ROUNDS):
        run = await store.run("queued")
        fence = await store.write(event_log.claim, run["id"])
        await race(
            lambda connection, run=run, fence=fence: write(connection, run, fence),
            lambda connection, it=run: runs.end(connection, it["id"], "cancelled", NOW),
        )

        assert (await store.events(run))[-1] == "run.cancelled"


async def test_events_that_several_append_are_numbered_in_the_order_of_their_commits(store, database):
    await store.write(event_log.begin, "run_1", [])
    async with Database(database.url) as other:
        unit = lambda connection: event_log.append(connection, "run_1", [NewEvent("e", {}), NewEvent("e", {})])  # noqa: E731
        await asyncio.gather(*(it.write(unit) for it in (database, other) * ROUNDS))

    logged = await store.read(event_log.after, "run_1", 0, limit=10 * ROUNDS)
    assert [event.seq for event in logged] == list(range(1, 4 * ROUNDS + 1))


@pytest.mark.parametrize("status", ["queued", "requires_action", "completed"])
async def test_a_thread_that_is_deleted_takes_everything_with_it(store, race, outputs, status):
    def delete(connection, run):
        threads.lock(connection, run["thread_id"])
        runs.end(connection, run["id"], "cancelled", NOW)
        threads.delete(connection, run["thread_id"])
        return True

    contenders = [
        lambda connection, it: post(connection, it["thread_id"]),
        lambda connection, it: runs.begin_cancel(connection, it["thread_id"], it["id"]),
        lambda connection, it: runs.submit_outputs(connection, it["thread_id"], it["id"], outputs(*CALLS), NOW),
        lambda connection, it: runs.end(connection, it["id"], "completed", NOW),
    ]
    for contend in contenders * (ROUNDS // len(contenders)):
        run = await store.run(status)
        deleted, _ = await race(
            lambda connection, it=run: delete(connection, it),
            lambda connection, it=run, contend=contend: contend(connection, it),
        )

        assert deleted
        assert await store.read(runs.find, run["id"]) is None


async def test_a_run_upstream_is_intended_once(store, race):
    for number in range(ROUNDS):
        rows = await race(
            lambda connection, it=number: upstream_runs.intend(connection, "run_1", it, "thread_a"),
            lambda connection, it=number: upstream_runs.intend(connection, "run_1", it, "thread_b"),
        )

        assert rows[0] == rows[1]


async def test_an_output_is_recorded_once(store, race):
    for _ in range(ROUNDS):
        run = await store.run("requires_action")
        recorded = await race(
            *(
                lambda connection, it=run, said=said: tool_calls.record_output(
                    connection, it["id"], "call_a", said, "answered"
                )
                for said in ("one", "two")
            )
        )

        assert sorted(recorded) == [False, True]


def _values(name: str) -> dict[str, Any]:
    return {"model": "test", "name": name, "tools": [], "tool_resources": {}, "metadata": {}}


def _file() -> dict[str, Any]:
    return {"id": new_file_id(), "created_at": NOW, "purpose": "assistants", "filename": "a", "bytes": 1}


@pytest.mark.parametrize(
    ("create", "listed"),
    [
        (lambda connection: assistants.create(connection, _values("a"), NOW), assistants.listed),
        (lambda connection: files.create(connection, _file(), [b"x"]), files.listed),
    ],
    ids=["assistants", "files"],
)
async def test_a_reader_that_pages_forward_misses_nothing_that_is_added_meanwhile(store, database, create, listed):
    """What is committed later has to stand further back, although several transactions are under way at once."""
    seen: list[str] = []

    async def follow(adding: "asyncio.Future[Any]") -> None:
        while True:
            done = adding.done()
            cursor = PageCursor(limit=100, descending=False, after=seen[-1] if seen else None)
            page = await store.read(listed, cursor, project=DEFAULT_PROJECT)
            seen.extend(row["id"] for row in page.rows)
            await asyncio.sleep(0)  # SQLite is read without waiting for anything
            if done and not page.rows:
                return

    async with Database(database.url) as other:
        adding = asyncio.gather(*(it.write(create) for it in (database, other) * ROUNDS))
        await follow(adding)
        made = [row["id"] for row in await adding]

    assert len(seen) == 2 * ROUNDS
    assert sorted(seen) == sorted(made)
