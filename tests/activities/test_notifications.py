"""One attempt at a notification as an activity: what a person is told, what is logged, what is tried again."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from starlette.responses import Response
from structlog.testing import capture_logs
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from lockstitch import telemetry
from lockstitch.activities.escalations import LONGEST_ARGUMENTS, NotificationActivities
from lockstitch.activities.notification_messages import Notification
from lockstitch.activities.webhooks import Webhook
from lockstitch.assistants.store import tool_calls, webhook_deliveries
from lockstitch.starter.decision_links import DecisionLinks
from lockstitch.tests.webhook_receiver import SECRET, receiving
from lockstitch.workflows import policy

OPENED = datetime(2026, 11, 3, 20, 26, 10, tzinfo=UTC)
SCHEDULED = OPENED + timedelta(minutes=5)
LINKS = DecisionLinks(["l" * 32], "https://lockstitch.example")
APPROVAL = Notification(
    escalation_id="esc_1",
    event="escalation.opened",
    run_id="run_1",
    thread_id="thread_1",
    assistant_id="asst_1",
    tenant="acme",
    call_id="call_1",
    tool="refund_order",
    reason="approval",
    detail="The tool refund_order waits for approval.",
    opened_at=OPENED,
    deadline=OPENED + timedelta(hours=1),
    on_deadline="reject",
    approvable=True,
)
RESOLVED = APPROVAL.model_copy(
    update={"event": "escalation.resolved", "resolution": "approved", "resolved_by": "somebody"}
)


@pytest.fixture
async def receiver():
    async with receiving() as opened:
        yield opened


@pytest.fixture
def deliver(database, receiver):
    """Make an attempt at a notification as a worker would."""

    async def attempt(notification=APPROVAL, number: int = 1, after=timedelta(0), links=None, **options):
        hook = Webhook(f"{receiver.url}/hook?token=t", [SECRET], **{"allow_private": True, **options})
        return await run(NotificationActivities(database, hook, links), notification, number, after)

    return attempt


async def run(activities: NotificationActivities, notification: Notification, number: int = 1, after=timedelta(0)):
    """Run attempt ``number``, ``after`` the first one was scheduled, with the limits that the workflow sets."""
    limits, environment = policy.notification_limits(), ActivityEnvironment()
    environment.info = replace(
        environment.info,
        attempt=number,
        scheduled_time=SCHEDULED,
        started_time=SCHEDULED + after,
        heartbeat_timeout=None,
        retry_policy=limits["retry_policy"],
        schedule_to_close_timeout=limits["schedule_to_close_timeout"],
    )
    return await environment.run(activities.deliver_notification, notification)


async def failing(deliver, *arguments, **options) -> ApplicationError:
    with pytest.raises(ApplicationError) as failed:
        await deliver(*arguments, **options)
    return failed.value


async def logged(database):
    return await database.read(lambda connection: webhook_deliveries.of_escalation(connection, "esc_1"))


async def add_call(database, arguments: str) -> None:
    row = {"run_id": "run_1", "call_id": "call_1", "thread_id": "thread_1", "step_id": "step_1", "position": 0}
    made = row | {"name": "refund_order", "arguments": arguments}
    await database.write(lambda connection: tool_calls.add(connection, [made]))


def counted(outcome: str, event: str = "escalation.opened") -> float:
    labels = {"event": event, "outcome": outcome}
    return telemetry.registry.get_sample_value("lockstitch_notifications_total", labels) or 0.0


async def test_a_person_is_told_what_the_escalation_is_about(deliver, receiver, database):
    await add_call(database, '{"order_id":"17"}')
    result = await deliver()

    [got] = receiver.received
    assert (result.delivered, result.outcome, result.attempts) == (True, "delivered", 1)
    assert got.headers["webhook-id"] == "msg_esc_1_opened"
    assert got.content == {
        "type": "escalation.opened",
        "timestamp": "2026-11-03T20:26:10Z",
        "data": {
            "escalation_id": "esc_1", "run_id": "run_1", "thread_id": "thread_1", "assistant_id": "asst_1",
            "tenant": "acme", "backend": "local", "call_id": "call_1", "tool": "refund_order",
            "reason": "approval", "detail": "The tool refund_order waits for approval.",
            "opened_at": "2026-11-03T20:26:10Z", "deadline": "2026-11-03T21:26:10Z", "on_deadline": "reject",
            "resolution": None, "resolved_by": None, "approvable": True,
            "arguments": '{"order_id":"17"}', "arguments_truncated": False,
        },
    }  # fmt: skip


async def test_the_resolution_is_told_with_its_time_and_without_arguments(deliver, receiver, database):
    await add_call(database, '{"order_id":"17"}')
    await deliver(RESOLVED, links=LINKS)

    [got] = receiver.received
    assert got.headers["webhook-id"] == "msg_esc_1_resolved"
    assert (got.content["type"], got.content["timestamp"]) == ("escalation.resolved", "2026-11-03T20:31:10Z")
    assert (got.content["data"]["resolution"], got.content["data"]["resolved_by"]) == ("approved", "somebody")
    assert not got.content["data"].keys() & {"arguments", "decision_url"}


async def test_what_is_no_approval_shows_no_arguments_and_no_link(deliver, receiver, database):
    await add_call(database, '{"order_id":"17"}')
    await deliver(APPROVAL.model_copy(update={"approvable": False, "reason": "outcome_unknown"}), links=LINKS)

    assert not receiver.received[0].content["data"].keys() & {"arguments", "arguments_truncated", "decision_url"}


@pytest.mark.parametrize(
    ("arguments", "shown", "truncated"),
    [
        ("x" * LONGEST_ARGUMENTS, "x" * LONGEST_ARGUMENTS, False),
        ("x" * (LONGEST_ARGUMENTS + 1), "x" * LONGEST_ARGUMENTS, True),
        ("x" + "ö" * LONGEST_ARGUMENTS, "x" + "ö" * (LONGEST_ARGUMENTS // 2 - 1), True),  # no half of a character
        ("", "", False),
    ],
)
async def test_long_arguments_are_cut_and_say_so(deliver, receiver, database, arguments, shown, truncated):
    await add_call(database, arguments)
    await deliver()

    data = receiver.received[0].content["data"]
    assert (data["arguments"], data["arguments_truncated"]) == (shown, truncated)


async def test_a_call_that_the_store_does_not_have_is_told_without_arguments(deliver, receiver):
    await deliver()

    assert receiver.received[0].content["data"]["arguments"] is None


async def test_an_approval_carries_a_link_that_decides_it_until_its_deadline(deliver, receiver):
    await deliver(links=LINKS)

    url = receiver.received[0].content["data"]["decision_url"]
    token = LINKS.read(url.removeprefix("https://lockstitch.example/decisions/"), OPENED)
    assert (token.escalation_id, token.run_id, token.call_id) == ("esc_1", "run_1", "call_1")
    assert token.expires_at == APPROVAL.deadline


async def test_every_attempt_has_the_same_id_and_body_so_that_receivers_can_drop_what_they_have(deliver, receiver):
    receiver.answers = [Response(status_code=500)]
    for notification in (APPROVAL, RESOLVED):
        receiver.received.clear()
        receiver.answers = [Response(status_code=500)]
        await failing(deliver, notification, links=LINKS)
        await deliver(notification, number=2, after=timedelta(seconds=5), links=LINKS)

        first, second = receiver.received
        assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


async def test_every_attempt_is_a_row_of_the_delivery_log(deliver, receiver, database):
    receiver.answers = [Response("It is away.", 503)]
    await failing(deliver)
    await deliver(number=2)

    failed, delivered = await logged(database)
    assert (failed["attempt"], failed["delivered"], failed["status"]) == (1, False, 503)
    assert failed["error"] == f"{receiver.url}/hook answered 503: It is away."
    assert (delivered["attempt"], delivered["delivered"], delivered["status"], delivered["error"]) == (
        2,
        True,
        204,
        None,
    )
    for row in (failed, delivered):
        assert (row["run_id"], row["event"], row["message_id"]) == ("run_1", "escalation.opened", "msg_esc_1_opened")
        assert row["target"] == f"{receiver.url}/hook"
        assert 0 <= row["duration_ms"] < 10_000
        assert abs(row["at"] - datetime.now(UTC).timestamp()) < 60


async def test_what_an_earlier_attempt_delivered_is_not_sent_again(deliver, receiver, database):
    """Its answer did not reach the Temporal server, which therefore asks again."""
    await deliver()
    again = await deliver(number=2)
    await deliver(RESOLVED)

    assert again.delivered
    assert [got.headers["webhook-id"] for got in receiver.received] == ["msg_esc_1_opened", "msg_esc_1_resolved"]
    assert len(await logged(database)) == 2


async def test_without_a_webhook_it_says_so_and_sends_nothing(database):
    before = counted("not_configured")
    result = await run(NotificationActivities(database, None, LINKS), APPROVAL)

    assert (result.delivered, result.outcome) == (False, "not_configured")
    assert "LOCKSTITCH_WEBHOOK_URL" in result.detail
    assert counted("not_configured") == before + 1
    assert await logged(database) == []


async def test_a_refused_address_is_final_and_in_the_delivery_log(deliver, receiver, database):
    before = counted("refused")
    with capture_logs() as lines:
        failure = await failing(deliver, allow_private=False)

    [row] = await logged(database)
    [line] = lines
    assert (failure.type, failure.non_retryable) == ("refused", True)
    assert (row["delivered"], row["status"], row["error"]) == (False, None, failure.message)
    assert (line["event"], line["notification"]) == ("notification_refused", "escalation.opened")
    assert line["error"] == failure.message
    assert "127.0.0.1 is not a public address" in failure.message
    assert counted("refused") == before + 1
    assert receiver.received == []


async def test_a_receiver_that_wants_no_more_is_not_asked_again(deliver, receiver, database):
    receiver.answers = [Response(status_code=410)]
    failure = await failing(deliver)

    assert (failure.type, failure.non_retryable) == ("refused", True)
    assert (await logged(database))[0]["status"] == 410


@pytest.mark.parametrize(
    ("number", "asked", "pause"),
    [
        (1, None, timedelta(seconds=5)),
        (2, None, timedelta(seconds=10)),
        (4, None, timedelta(seconds=40)),
        (40, None, timedelta(hours=1)),
        (1, 120, timedelta(minutes=2)),
        (1, 86_400, timedelta(hours=1)),
        (4, 1, timedelta(seconds=40)),  # who says "at once" for ever is not asked every second for a day
    ],
)
async def test_a_failed_attempt_is_repeated_later_and_later_or_when_the_receiver_says(
    deliver, receiver, number, asked, pause
):
    headers = {} if asked is None else {"retry-after": str(asked)}
    receiver.answers = [Response(status_code=503, headers=headers)]
    failure = await failing(deliver, number=number)

    assert (failure.type, failure.non_retryable, failure.next_retry_delay) == ("failed", False, pause)


async def test_the_last_attempt_that_has_time_gives_up(deliver, receiver):
    receiver.answers = [Response(status_code=503) for _ in range(2)]
    gave_up, failed = counted("gave_up"), counted("failed")
    with capture_logs() as lines:
        early = await failing(deliver, number=34, after=timedelta(hours=22, minutes=58))
        late = await failing(deliver, number=34, after=timedelta(hours=23, minutes=1))

    assert [(it.type, it.non_retryable) for it in (early, late)] == [("failed", False), ("gave_up", True)]
    assert [(line["event"], line["final"]) for line in lines] == [
        ("notification_failed", False),
        ("notification_failed", True),
    ]
    assert (counted("gave_up"), counted("failed")) == (gave_up + 1, failed + 1)


async def test_a_delivery_is_counted_and_measured_and_its_log_line_has_no_content(deliver, database):
    await add_call(database, '{"iban":"hunter2"}')
    before = counted("delivered")
    with capture_logs() as lines:
        await deliver(links=LINKS)

    labels = {"event": "escalation.opened", "outcome": "delivered"}
    assert counted("delivered") == before + 1
    assert telemetry.registry.get_sample_value("lockstitch_notification_duration_seconds_count", labels)
    assert [(line["event"], line["status"]) for line in lines] == [("notification_delivered", 204)]
    assert not [secret for secret in ("hunter2", "token=t", "decisions/") if secret in json.dumps(lines)]
