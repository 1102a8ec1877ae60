"""Commands: kept with what they accept, until they are delivered."""

import time

import pytest

from lockstitch.assistants.store import commands, runs


async def waiting(store, older_than_seconds: float = 0, **options: int) -> list[str]:
    found = await store.read(commands.undelivered, older_than_seconds=older_than_seconds, **options)
    return [f"{command['kind']} {command['subject_id']}" for command in found]


async def test_commands_wait_oldest_first_and_so_many_at_most(store):
    for kind in ("start", "answer", "cancel"):
        await store.write(commands.add, "run_1", kind, {})

    assert await waiting(store) == ["start run_1", "answer run_1", "cancel run_1"]
    assert await waiting(store, limit=2) == ["start run_1", "answer run_1"]


async def test_a_command_that_is_under_way_is_left_to_its_sender(store):
    command = await store.write(commands.add, "run_1", "start", {"thread_id": "thread_1"})

    assert await waiting(store, older_than_seconds=60) == []
    assert command["payload"] == {"thread_id": "thread_1"}
    assert abs(command["created_at"] - time.time()) < 5


async def test_a_command_is_dropped_once_and_alone(store):
    first = await store.write(commands.add, "run_1", "start", {})
    await store.write(commands.add, "run_2", "start", {})
    await store.write(commands.drop, first)
    await store.write(commands.drop, first)

    assert await waiting(store) == ["start run_2"]


async def test_dropping_a_command_twice_spares_the_one_that_came_in_between(store):
    """A request and the sweep may deliver one command both, and the second to finish finds it gone."""
    first = await store.write(commands.add, "run_1", "answer", {"call_ids": ["call_a"]})
    await store.write(commands.drop, first)
    await store.write(commands.add, "run_1", "answer", {"call_ids": ["call_b"]})
    await store.write(commands.drop, first)

    assert await waiting(store) == ["answer run_1"]


async def test_a_start_that_waits_is_known(store):
    start = await store.write(commands.add, "run_1", "start", {})
    await store.write(commands.add, "run_2", "cancel", {})

    assert await store.read(commands.start_waits, "run_1")
    assert not await store.read(commands.start_waits, "run_2")
    await store.write(commands.drop, start)
    assert not await store.read(commands.start_waits, "run_1")


async def test_a_command_is_not_kept_where_what_it_accepts_is_refused(store):
    thread_id, assistant_id = await store.thread(), await store.assistant()
    new = await store.new_run(thread_id, assistant_id)

    def accept(connection):
        commands.add(connection, new.run_id, "start", {})
        runs.create(connection, new)

    with pytest.raises(Exception, match="Run creation requires a Thread with a user message"):
        await store.write(accept)
    assert await waiting(store) == []
