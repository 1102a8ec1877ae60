"""The recorder: progress is written in batches, whole or not at all."""

import asyncio

import pytest
from sqlalchemy import Connection

from lockstitch.activities.event_recorder import BATCH_SECONDS, EventRecorder
from lockstitch.assistants.store import event_log, threads
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.errors import ApiError, WriterFenced


class Transactions(Database):
    """A database that counts its transactions."""

    count = 0

    async def write(self, unit, *, long=False):
        self.count += 1
        return await super().write(unit, long=long)


@pytest.fixture
async def counted(database):
    """The test's database with the log of run_1; opening it is not counted."""
    async with Transactions(database.url) as opened:
        await opened.write(lambda connection: event_log.begin(connection, "run_1", []))
        opened.count = 0
        yield opened


@pytest.fixture
def begun(counted, eventually):
    """Wait until so many transactions have been begun."""

    async def wait(transactions: int) -> None:
        async def condition() -> bool:
            return counted.count >= transactions

        await eventually(condition)

    return wait


def happened(*texts: str):
    return lambda _connection: [NewEvent("thread.message.delta", {"said": text}) for text in texts]


def broken(_connection: Connection):
    raise ZeroDivisionError


def make_thread(connection: Connection) -> list[NewEvent]:
    threads.create(connection, {"id": "thread_1"}, 0)
    return [NewEvent("thread.created", {})]


async def recorded(database: Database) -> str:
    logged = await database.read(lambda connection: event_log.after(connection, "run_1", 0))
    return " ".join(event.data[9:-2] for event in logged)


async def test_everything_that_waits_is_written_as_one_batch_on_leaving(counted):
    async with EventRecorder(counted, "run_1", attempt=1) as recorder:
        for word in ("a", "b", "c"):
            await recorder.record(happened(word))

    assert await recorded(counted) == "a b c"
    assert counted.count == 2  # one claims the log, one writes


async def test_what_comes_slowly_is_written_meanwhile(counted, eventually):
    async def first_is_there() -> bool:
        return await recorded(counted) == "a"

    async with EventRecorder(counted, "run_1", attempt=1) as recorder:
        await recorder.record(happened("a"))
        await eventually(first_is_there)
        await recorder.record(happened("b", "c"))

    assert await recorded(counted) == "a b c"
    assert counted.count == 3


async def test_the_attempt_stands_in_each_event(counted):
    async with EventRecorder(counted, "run_1", attempt=3) as recorder:
        await recorder.record(happened("a"))

    [event] = await counted.read(lambda connection: event_log.after(connection, "run_1", 0))
    assert event.attempt == 3


async def test_progress_that_tells_nothing_still_changes_the_store(counted):
    def silently(connection: Connection) -> list[NewEvent]:
        make_thread(connection)
        return []

    async with EventRecorder(counted, "run_1", attempt=1) as recorder:
        await recorder.record(silently)

    assert await counted.read(lambda connection: threads.get(connection, "thread_1"))
    assert await recorded(counted) == ""


async def test_an_attempt_without_progress_writes_nothing(counted):
    async with EventRecorder(counted, "run_1", attempt=1):
        pass

    assert counted.count == 1


async def test_an_exception_drops_what_is_not_written_yet(counted):
    async def attempt() -> None:
        async with EventRecorder(counted, "run_1", attempt=1) as recorder:
            await recorder.record(happened("a"))
            raise KeyError

    with pytest.raises(KeyError):
        await attempt()
    await asyncio.sleep(2 * BATCH_SECONDS)  # longer than the timer, which is gone
    assert await recorded(counted) == ""


async def test_an_exception_lets_the_batch_that_is_being_written_finish(counted, begun):
    async def attempt() -> None:
        async with EventRecorder(counted, "run_1", attempt=1) as recorder:
            await recorder.record(happened("a"))
            await begun(transactions=2)
            raise KeyError

    with pytest.raises(KeyError):
        await attempt()
    assert await recorded(counted) == "a"


async def test_a_batch_that_fails_in_the_background_fails_what_is_recorded_later(counted, begun):
    later = []

    async def attempt() -> None:
        async with EventRecorder(counted, "run_1", attempt=1) as recorder:
            await recorder.record(happened("a"))
            await recorder.record(broken)
            await begun(transactions=2)
            while len(later) < 1000:
                await recorder.record(happened("b"))
                await asyncio.sleep(0.001)
                later.append("b")

    with pytest.raises(ZeroDivisionError):
        await attempt()
    assert await recorded(counted) == ""
    assert len(later) < 1000


async def test_a_batch_that_fails_in_the_background_fails_an_attempt_that_records_nothing_more(counted, begun):
    async def attempt() -> None:
        async with EventRecorder(counted, "run_1", attempt=1) as recorder:
            await recorder.record(broken)
            await begun(transactions=2)

    with pytest.raises(ZeroDivisionError):
        await attempt()


async def test_a_last_batch_that_fails_is_rolled_back_whole(counted):
    async def attempt(number: int, *progress) -> None:
        async with EventRecorder(counted, "run_1", number) as recorder:
            for it in progress:
                await recorder.record(it)

    with pytest.raises(ZeroDivisionError):
        await attempt(1, make_thread, broken)
    assert await recorded(counted) == ""
    await attempt(2, make_thread)  # which was not made before


async def test_a_later_attempt_takes_the_log_over_and_the_earlier_one_stores_nothing_more(counted):
    async def take_over() -> None:
        async with EventRecorder(counted, "run_1", attempt=1) as earlier:
            async with EventRecorder(counted, "run_1", attempt=2) as later:
                await later.record(happened("of the later"))
            await earlier.record(make_thread)

    with pytest.raises(WriterFenced):
        await take_over()
    assert await recorded(counted) == "of the later"
    with pytest.raises(ApiError, match="No thread found"):
        await counted.read(lambda connection: threads.get(connection, "thread_1"))


async def test_batches_are_written_one_after_the_other_in_order(counted):
    async with EventRecorder(counted, "run_1", attempt=1) as recorder:
        for number in range(30):
            await recorder.record(happened(str(number)))
            await asyncio.sleep(BATCH_SECONDS / 10)

    assert await recorded(counted) == " ".join(map(str, range(30)))
    assert counted.count < 30
