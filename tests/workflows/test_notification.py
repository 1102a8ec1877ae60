"""A notification from its start to its end, on a Temporal server that skips the time in which nothing happens."""

import re
import sysconfig
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.responses import Response
from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker

from lockstitch.activities.escalations import NotificationActivities
from lockstitch.activities.notification_messages import Notification, NotificationResult
from lockstitch.activities.webhooks import Webhook
from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.assistants.store import webhook_deliveries
from lockstitch.config import Config
from lockstitch.errors import SettingsInvalid
from lockstitch.starter.identifiers import new_id
from lockstitch.starter.payloads import data_converter
from lockstitch.tests.webhook_receiver import SECRET, receiving
from lockstitch.tools import ToolRegistry
from lockstitch.worker import build_workers
from lockstitch.workflows.notification import DeliverNotification

QUEUE = "notifications"


def new_notification() -> Notification:
    """Make the notification of an approval that no other test knows."""
    return Notification(
        escalation_id=new_id("esc"),
        event="escalation.opened",
        run_id="run_1",
        tool="refund_order",
        reason="approval",
        opened_at=datetime(2026, 11, 3, 20, 26, 10, tzinfo=UTC),
        deadline=datetime(2026, 11, 3, 21, 26, 10, tzinfo=UTC),
        approvable=True,
    )


@pytest.fixture(scope="module")
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A Temporal server on which a day of waiting takes no time."""
    server = Path(sysconfig.get_path("scripts")) / "temporal-test-server"
    environment = await WorkflowEnvironment.start_time_skipping(
        data_converter=data_converter, test_server_existing_path=str(server)
    )
    async with environment:
        yield environment


@pytest.fixture
async def receiver():
    async with receiving() as opened:
        yield opened


@pytest.fixture
async def start(skipping, database, workflow_sandbox):
    """Start the delivery of a notification by a worker with this webhook, and return the workflow's handle."""
    async with AsyncExitStack() as stack:

        async def deliver(hook: Webhook | None):
            notification = new_notification()
            worker = Worker(
                skipping.client,
                task_queue=QUEUE,
                workflows=[DeliverNotification],
                activities=[NotificationActivities(database, hook, None).deliver_notification],
                workflow_runner=workflow_sandbox,
            )
            await stack.enter_async_context(worker)
            return await skipping.client.start_workflow(
                DeliverNotification.run, notification, id=notification.workflow_id, task_queue=QUEUE
            )

        yield deliver


def webhook(url: str, **options) -> Webhook:
    return Webhook(url, [SECRET], **{"allow_private": True, **options})


async def taken(handle) -> timedelta:
    """Return how long the workflow took by the clock of its server, which goes on skipping afterwards."""
    description = await handle.describe()
    return description.close_time - description.start_time


async def attempts(database):
    return await database.read(lambda connection: webhook_deliveries.of_run(connection, "run_1"))


async def test_a_notification_is_delivered_and_the_workflow_says_so(start, receiver):
    handle = await start(webhook(receiver.url))
    result = await handle.result()

    assert re.fullmatch(r"notify-esc_\w+-opened", handle.id)
    assert (result.delivered, result.outcome, result.attempts) == (True, "delivered", 1)
    assert len(receiver.received) == 1


async def test_a_receiver_that_is_away_for_hours_gets_it_when_it_is_back(start, receiver, database):
    receiver.answers = [Response(status_code=503) for _ in range(12)]
    handle = await start(webhook(receiver.url))
    result = await handle.result()

    assert (result.delivered, result.attempts) == (True, 13)
    assert [row["status"] for row in await attempts(database)] == [503] * 12 + [204]
    # 5 s, then twice as long each time, up to an hour: ten pauses make 5115 s, two more are hours.
    assert timedelta(seconds=5115 + 7200) <= await taken(handle) < timedelta(seconds=5115 + 7200 + 120)
    assert len({got.headers["webhook-id"] for got in receiver.received}) == 1


async def test_after_a_day_it_is_given_up_without_failing(start, receiver, database):
    receiver.answers = [Response(status_code=503) for _ in range(100)]
    handle = await start(webhook(receiver.url))
    result = await handle.result()

    assert (result.delivered, result.outcome, result.attempts) == (False, "gave_up", len(receiver.received))
    assert "answered 503" in result.detail
    # Where the machine is busy, skipped time may go on for a while longer.
    assert timedelta(hours=22, minutes=55) < await taken(handle) <= timedelta(hours=25)
    assert 30 < len(await attempts(database)) < 40


async def test_the_receiver_may_say_when_to_come_again(start, receiver):
    receiver.answers = [Response(status_code=429, headers={"retry-after": "1800"})]
    handle = await start(webhook(receiver.url))
    result = await handle.result()

    assert (result.delivered, result.attempts) == (True, 2)
    assert timedelta(minutes=30) <= await taken(handle) < timedelta(minutes=32)


async def test_a_refused_address_ends_the_notification_at_once_without_failing(start, receiver, database):
    result = await (await start(webhook(receiver.url, allow_private=False))).result()

    assert (result.delivered, result.outcome) == (False, "refused")
    assert "is not a public address" in result.detail
    assert len(await attempts(database)) == 1


async def test_a_receiver_that_wants_no_more_ends_it_without_failing(start, receiver):
    receiver.answers = [Response(status_code=410)]
    result = await (await start(webhook(receiver.url))).result()

    assert (result.outcome, len(receiver.received)) == ("refused", 1)


async def test_without_a_webhook_it_ends_and_says_so(start, database):
    result = await (await start(None)).result()

    assert (result.delivered, result.outcome) == (False, "not_configured")
    assert await attempts(database) == []


async def test_an_attempt_that_breaks_before_it_can_count_itself_is_given_up_in_the_end_too(skipping, workflow_sandbox):
    """The policy of the workflow alone holds then."""

    @activity.defn(name="deliver_notification")
    async def broken(_notification: Notification) -> NotificationResult:
        raise ConnectionError("the store is away")

    notification = new_notification()
    async with Worker(
        skipping.client,
        task_queue=QUEUE,
        workflows=[DeliverNotification],
        activities=[broken],
        workflow_runner=workflow_sandbox,
    ):
        handle = await skipping.client.start_workflow(
            DeliverNotification.run, notification, id=notification.workflow_id, task_queue=QUEUE
        )
        result = await handle.result()

    assert (result.delivered, result.outcome, result.detail) == (False, "gave_up", "the store is away")
    # Where the machine is busy, skipped time may go on for a while longer.
    assert timedelta(hours=22, minutes=55) < await taken(handle) <= timedelta(hours=25)


async def test_a_notification_can_be_cancelled(start, receiver, eventually):
    receiver.answers = [Response(status_code=503) for _ in range(100)]
    handle = await start(webhook(receiver.url))

    async def tried() -> bool:
        return bool(receiver.received)

    await eventually(tried)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as ended:
        await handle.result()
    assert isinstance(ended.value.cause, CancelledError)


async def test_the_history_replays_and_tells_in_words_what_it_does(start, receiver, workflow_sandbox):
    receiver.answers = [Response(status_code=503)]
    handle = await start(webhook(receiver.url))
    await handle.result()
    history = await handle.fetch_history()

    await Replayer(
        workflows=[DeliverNotification], data_converter=data_converter, workflow_runner=workflow_sandbox
    ).replay_workflow(history)
    [scheduled] = [it for it in history.events if it.HasField("activity_task_scheduled_event_attributes")]
    assert b"Tell a person: escalation opened, approval of refund_order" in scheduled.user_metadata.summary.data


async def test_the_worker_delivers_by_the_webhook_and_the_links_of_its_settings(temporal, database, receiver):
    config = Config(
        task_queue=new_id("queue"),
        webhook_url=receiver.url,
        webhook_secrets=(SECRET,),
        webhook_allow_private=True,
        link_secrets=("l" * 32,),
        server_url="http://lockstitch.example",
    )
    notification = new_notification()
    worker, *_ = build_workers(temporal, config, database, OfflineModel(), ToolRegistry([]))
    async with worker:
        handle = await temporal.start_workflow(
            DeliverNotification.run, notification, id=notification.workflow_id, task_queue=config.task_queue
        )
        result = await handle.result()

    assert result.delivered
    url = receiver.received[0].content["data"]["decision_url"]
    assert url.startswith("http://lockstitch.example/decisions/")


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"webhook_url": "https://hooks.example"}, "LOCKSTITCH_WEBHOOK_SECRETS"),
        ({"webhook_url": "hooks.example", "webhook_secrets": (SECRET,)}, "LOCKSTITCH_WEBHOOK_URL"),
        ({"link_secrets": ("short",)}, "LOCKSTITCH_LINK_SECRETS"),
        ({"link_secrets": ("l" * 32,), "public_url": "nowhere"}, "LOCKSTITCH_PUBLIC_URL"),
    ],
)
async def test_a_worker_whose_settings_cannot_be_used_does_not_start(settings, variable, temporal, database):
    with pytest.raises(SettingsInvalid, match=variable):
        build_workers(temporal, Config(**settings), database, OfflineModel(), ToolRegistry([]))
