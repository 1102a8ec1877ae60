"""The feed: watchers hear of their run's events, whoever appended them, and of nothing else."""

import asyncio
import sys
from contextlib import aclosing

import pytest
from sqlalchemy import text

from lockstitch.assistants.store import event_log
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_feed import READ_AT_ONCE, EventFeed
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.errors import StoreUnavailable

APPEND = """
import asyncio, sys
from lockstitch.assistants.store import event_log
from lockstitch.assistants.store.database import Database

async def main():
    async with Database(sys.argv[1]) as database:
        event = event_log.NewEvent("thread.run.completed", {})
        await database.write(lambda connection: event_log.append(connection, "run_1", [event]))

asyncio.run(main())
"""


@pytest.fixture
async def logs(database: Database) -> Database:
    """A database with the logs of two runs."""
    for run_id in ("run_1", "run_2"):
        await database.write(lambda connection, run_id=run_id: event_log.begin(connection, run_id, []))
    return database


async def append(database: Database, run_id: str, count: int = 1) -> None:
    events = [NewEvent("thread.message.delta", {"n": number}) for number in range(count)]
    await database.write(lambda connection: event_log.append(connection, run_id, events))


async def take(feed: EventFeed, run_id: str, count: int, after: int = 0, **options: float) -> list[int | None]:
    """Watch until ``count`` things came; return their numbers."""
    async with asyncio.timeout(10), aclosing(feed.watch(run_id, after, **options)) as events:
        return [None if (event := await anext(events)) is None else event.seq for _ in range(count)]


async def watching(feed: EventFeed, run_id: str, count: int, **options: float) -> "asyncio.Task[list[int | None]]":
    """Begin to `take`, and return when the watcher has read what is there and waits."""
    task = asyncio.create_task(take(feed, run_id, count, **options))
    await asyncio.sleep(0)  # it runs until it waits
    return task


async def test_what_was_appended_before_is_read_at_once_and_what_comes_later_follows(logs):
    await append(logs, "run_1", 2)
    async with EventFeed(logs) as feed:
        task = await watching(feed, "run_1", 4)
        await append(logs, "run_1", 2)

        assert await task == [1, 2, 3, 4]


async def test_watching_goes_on_from_a_number(logs):
    await append(logs, "run_1", 3)
    async with EventFeed(logs) as feed:
        assert await take(feed, "run_1", 1, after=2) == [3]


async def test_more_events_than_are_read_at_once_come_without_a_gap(logs):
    await append(logs, "run_1", 2 * READ_AT_ONCE)
    async with EventFeed(logs) as feed:
        assert await take(feed, "run_1", 2 * READ_AT_ONCE) == list(range(1, 2 * READ_AT_ONCE + 1))


async def test_a_watcher_wakes_for_its_own_run_only(logs):
    async with EventFeed(logs) as feed:
        first, second = await watching(feed, "run_1", 1), await watching(feed, "run_2", 1, idle_timeout=0.3)
        await append(logs, "run_1")

        assert await first == [1]
        assert await second == [None]


async def test_every_watcher_of_a_run_hears_everything(logs):
    async with EventFeed(logs) as feed:
        tasks = [await watching(feed, "run_1", 2) for _ in range(3)]
        await append(logs, "run_1")
        await append(logs, "run_1")

        assert await asyncio.gather(*tasks) == [[1, 2]] * 3


async def test_what_another_process_appends_wakes_the_watcher(logs):
    async with EventFeed(logs) as feed:
        task = await watching(feed, "run_1", 1)
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", APPEND, logs.url)

        assert await process.wait() == 0
        assert await task == [1]


async def test_silence_is_told_when_it_has_lasted_for_the_idle_timeout(logs):
    async with EventFeed(logs) as feed:
        assert await take(feed, "run_1", 2, idle_timeout=0.02) == [None, None]


async def test_a_watcher_that_comes_after_a_pause_hears_what_comes_then(logs):
    async with EventFeed(logs) as feed:
        await take(feed, "run_1", 1, idle_timeout=0.02)
        await append(logs, "run_1")
        task = await watching(feed, "run_1", 2)
        await append(logs, "run_1")

        assert await task == [1, 2]


@pytest.mark.on_database("sqlite")  # PostgreSQL does not call when there is nothing to read
async def test_a_watcher_learns_that_the_events_cannot_be_read_and_the_feed_goes_on(logs):
    async def rename(old: str, new: str) -> None:
        await logs.write(lambda connection: connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}")))

    async with EventFeed(logs) as feed:
        task = await watching(feed, "run_1", 1)
        await rename("run_events", "hidden")
        with pytest.raises(StoreUnavailable, match="run_events"):
            await task
        await rename("hidden", "run_events")
        task = await watching(feed, "run_1", 1)
        await append(logs, "run_1")

        assert await task == [1]


async def test_dismissed_watchers_end_and_so_do_those_that_come_later(logs):
    async with EventFeed(logs) as feed:
        waiting = asyncio.create_task(anext(feed.batches("run_1"), None))
        await asyncio.sleep(0)
        feed.dismiss()

        assert await asyncio.wait_for(waiting, 5) is None
        assert await anext(feed.batches("run_1"), None) is None


async def test_leaving_the_feed_ends_its_task(logs):
    before = asyncio.all_tasks()
    async with EventFeed(logs):
        [task] = asyncio.all_tasks() - before

    assert task.get_name() == "event-feed"
    assert task.done()
