"""The event log: numbers without a gap, and one writer at a time."""

import asyncio
import json
import time

import pytest
from sqlalchemy import text

from lockstitch.assistants.store import event_log
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import LoggedEvent, NewEvent
from lockstitch.errors import WriterFenced


def said(*texts: str) -> list[NewEvent]:
    return [NewEvent("thread.message.delta", {"said": text}) for text in texts]


async def test_events_are_numbered_from_one_in_the_order_in_which_they_were_appended(store):
    began = time.time()
    await store.write(event_log.begin, "run_1", said("a", "b"))
    await store.write(event_log.append, "run_1", said("c"), attempt=2)
    events = await store.read(event_log.after, "run_1", 0)

    assert [event._replace(recorded_at=None) for event in events] == [
        LoggedEvent(1, "thread.message.delta", '{"said":"a"}', 1),
        LoggedEvent(2, "thread.message.delta", '{"said":"b"}', 1),
        LoggedEvent(3, "thread.message.delta", '{"said":"c"}', 2),
    ]
    assert began <= events[0].recorded_at <= events[2].recorded_at <= time.time()


async def test_an_event_that_an_older_release_wrote_has_no_time(store):
    await store.write(event_log.begin, "run_1", said("a"))
    await store.database.write(lambda connection: connection.execute(text("UPDATE run_events SET recorded_at = NULL")))

    assert [event.recorded_at for event in await store.read(event_log.after, "run_1", 0)] == [None]


async def test_concurrent_appends_leave_no_gap_and_keep_each_batch_together(store):
    await store.write(event_log.begin, "run_1", [])
    async with Database(store.database.url) as other:
        await asyncio.gather(
            *(
                database.write(lambda connection, batch=batch: event_log.append(connection, "run_1", said(*batch)))
                for database, batch in zip((store.database, other) * 15, ("abc", "de") * 15, strict=True)
            )
        )

    events = await store.read(event_log.after, "run_1", 0)
    assert [event.seq for event in events] == list(range(1, 76))
    letters = "".join(event.data[9] for event in events)
    assert (letters.count("abc"), letters.count("de")) == (15, 15)


async def test_the_logs_of_two_runs_count_apart(store):
    for run_id in ("run_1", "run_2"):
        await store.write(event_log.begin, run_id, said("a"))

    assert [await store.read(event_log.last_seq, run_id) for run_id in ("run_1", "run_2")] == [1, 1]


async def test_a_writer_whose_log_was_taken_over_is_refused_and_nothing_of_its_batch_is_stored(store):
    await store.write(event_log.begin, "run_1", said("a"))
    first = await store.write(event_log.claim, "run_1")
    await store.write(event_log.append, "run_1", said("b"), fence=first)
    second = await store.write(event_log.claim, "run_1")
    with pytest.raises(WriterFenced, match="A newer attempt writes the events of run run_1"):
        await store.write(event_log.append, "run_1", said("too", "late"), fence=first)
    await store.write(event_log.append, "run_1", said("c"), fence=second)

    events = await store.read(event_log.after, "run_1", 0)
    assert [(event.seq, event.data[9]) for event in events] == [(1, "a"), (2, "b"), (3, "c")]


async def test_of_writers_that_race_only_the_last_to_claim_may_append(store):
    await store.write(event_log.begin, "run_1", [])

    everybody_claimed = asyncio.Barrier(10)

    async def claim_and_append() -> bool:
        fence = await store.write(event_log.claim, "run_1")
        await everybody_claimed.wait()
        try:
            await store.write(event_log.append, "run_1", said("x"), fence=fence)
        except WriterFenced:
            return False
        return True

    won = await asyncio.gather(*(claim_and_append() for _ in range(10)))
    assert sorted(won) == [False] * 9 + [True]
    assert await store.read(event_log.last_seq, "run_1") == 1


async def test_a_log_that_was_never_opened_can_be_claimed(store):
    assert not await store.read(event_log.exists, "run_1")
    fence = await store.write(event_log.claim, "run_1")
    await store.write(event_log.append, "run_1", said("a"), fence=fence)

    assert await store.read(event_log.exists, "run_1")
    assert await store.read(event_log.last_seq, "run_1") == 1


async def test_a_batch_of_nothing_checks_the_fence_and_counts_nothing(store):
    old = await store.write(event_log.claim, "run_1")
    new = await store.write(event_log.claim, "run_1")
    await store.write(event_log.append, "run_1", [], fence=new)
    with pytest.raises(WriterFenced):
        await store.write(event_log.append, "run_1", [], fence=old)

    assert await store.read(event_log.last_seq, "run_1") == 0


async def test_reading_goes_on_from_a_number_and_takes_so_many_at_most(store):
    await store.write(event_log.begin, "run_1", said(*"abcde"))

    events = await store.read(event_log.after, "run_1", 2, limit=2)
    assert [event.seq for event in events] == [3, 4]
    assert await store.read(event_log.after, "run_1", 5) == []
    assert await store.read(event_log.after, "run_unknown", 0) == []


async def test_text_of_every_kind_comes_back_as_it_was(store):
    text = 'Grüße 🚀 "quoted" \\ \x85\u2028 line\nbreak'
    await store.write(event_log.begin, "run_1", said(text))

    [event] = await store.read(event_log.after, "run_1", 0)
    assert json.loads(event.data) == {"said": text}
