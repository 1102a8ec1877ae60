"""Leases: one process at a time holds one, and another takes its place when it is gone."""

import asyncio

import pytest

from lockstitch.assistants.lease import Lease
from lockstitch.assistants.store import leases
from lockstitch.assistants.store.database import Database


@pytest.fixture
def lease(database):
    """Another process's part in the same lease; it takes a holder for dead that was silent for so many seconds."""
    return lambda name="a fleet", seconds=60.0: Lease(database, name, seconds=seconds)


async def test_who_looks_first_holds_the_lease_and_keeps_it(lease):
    first, second = lease(), lease()
    for _ in range(3):
        await first.look()
        await second.look()

    assert (first.is_held, second.is_held) == (True, False)


async def test_a_lease_that_was_renewed_since_somebody_looked_is_not_taken(lease, database):
    holder = lease()
    await holder.look()
    before = await database.read(lambda connection: leases.held(connection, "a fleet"))
    await holder.look()
    taken = await database.write(lambda connection: leases.take(connection, "a fleet", "another", before))

    assert not taken
    await holder.look()
    assert holder.is_held


async def test_the_place_of_a_holder_that_is_silent_is_taken_and_it_learns_of_that(lease, eventually):
    silent, next_one = lease(), lease(seconds=0.2)
    await silent.look()

    async def takes_over() -> bool:
        await next_one.look()
        return next_one.is_held

    assert not await takes_over()  # it was heard of just now
    await eventually(takes_over)
    await silent.look()
    assert not silent.is_held


async def test_a_holder_that_does_not_renew_holds_until_another_takes_the_lease(lease, eventually):
    unwell, next_one = lease(), lease(seconds=0.2)
    await unwell.look()

    async def is_relieved() -> bool:
        await unwell.look(renews=False)
        assert unwell.is_held or next_one.is_held
        await next_one.look()
        return next_one.is_held

    await eventually(is_relieved)
    await unwell.look(renews=False)
    assert not unwell.is_held


async def test_a_lease_that_was_given_up_is_free_at_once(lease):
    first, second = lease(), lease()
    await first.look()
    await second.look()
    await second.give_up()  # which it does not hold
    await second.look()
    assert not second.is_held
    await first.give_up()
    await second.look()

    assert (first.is_held, second.is_held) == (False, True)


async def test_of_many_that_look_at_once_one_holds_the_lease(database):
    async def other_process(open_databases):
        opened = Database(database.url)
        open_databases.append(opened)
        part = Lease(opened, "a fleet")
        await part.look()
        return part.is_held

    opened: list[Database] = []
    try:
        holders = await asyncio.gather(*(other_process(opened) for _ in range(8)))
    finally:
        for each in opened:
            await each.aclose()

    assert holders.count(True) == 1


async def test_fleets_that_share_a_database_each_have_a_holder(lease):
    one, other = lease("fleet default a"), lease("fleet default b")
    await one.look()
    await other.look()

    assert one.is_held
    assert other.is_held
