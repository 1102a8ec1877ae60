"""The delivery log: one row for each attempt, in the order in which they were made."""

import pytest

from lockstitch.assistants.store import webhook_deliveries

ATTEMPT = {
    "escalation_id": "esc_1",
    "run_id": "run_1",
    "message_id": "msg_esc_1_opened",
    "event": "escalation.opened",
    "target": "https://hooks.example/lockstitch",
    "attempt": 1,
    "delivered": False,
    "status": 503,
    "error": "It is away.",
    "at": 1_700_000_000,
    "duration_ms": 12,
}


@pytest.fixture
def add(store):
    """Write down an attempt that differs from the usual one in some columns."""
    return lambda **values: store.write(webhook_deliveries.add, ATTEMPT | values)


async def test_an_attempt_is_read_as_it_was_written(store, add):
    await add()
    [row] = await store.read(webhook_deliveries.of_escalation, "esc_1")

    assert row == ATTEMPT | {"seq": 1}


async def test_attempts_come_in_their_order_and_only_those_asked_for(store, add):
    for attempt, escalation_id in ((1, "esc_1"), (1, "esc_2"), (2, "esc_1")):
        await add(attempt=attempt, escalation_id=escalation_id, run_id=f"run_{escalation_id}")

    assert [row["attempt"] for row in await store.read(webhook_deliveries.of_escalation, "esc_1")] == [1, 2]
    assert [row["escalation_id"] for row in await store.read(webhook_deliveries.of_run, "run_esc_2")] == ["esc_2"]
    assert await store.read(webhook_deliveries.of_run, "run_unknown") == []


async def test_a_message_is_delivered_when_one_of_its_attempts_was(store, add):
    await add(attempt=1)
    await add(attempt=1, message_id="msg_esc_1_resolved", delivered=True, status=204, error=None)
    is_delivered = webhook_deliveries.is_delivered

    assert await store.read(is_delivered, "esc_1", "msg_esc_1_opened") is False
    await add(attempt=2, delivered=True, status=200, error=None)
    assert await store.read(is_delivered, "esc_1", "msg_esc_1_opened") is True
    assert await store.read(is_delivered, "esc_2", "msg_esc_1_opened") is False


async def test_attempts_are_removed_when_they_are_old_a_few_at_a_time(store, add):
    for at in (100, 200, 300, 400):
        await add(escalation_id=f"esc_{at}", at=at)
    remove_old = webhook_deliveries.remove_old

    assert await store.write(remove_old, 400, 2) == 2
    assert await store.write(remove_old, 400, 2) == 1
    assert await store.write(remove_old, 400, 2) == 0
    assert [row["at"] for row in await store.read(webhook_deliveries.of_run, "run_1")] == [400]
