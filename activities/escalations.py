"""Tell a person that a run needs one: each attempt is one signed webhook and one row of the delivery log."""

import time
from datetime import UTC, timedelta
from typing import Any

from pydantic_core import to_json
from temporalio import activity
from temporalio.exceptions import ApplicationError

from lockstitch import telemetry
from lockstitch.activities.heartbeats import heartbeats
from lockstitch.activities.notification_messages import Notification, NotificationResult
from lockstitch.activities.webhooks import Webhook, WebhookMessage
from lockstitch.assistants.store import tool_calls, webhook_deliveries
from lockstitch.assistants.store.database import Database
from lockstitch.errors import WebhookError, WebhookFailed
from lockstitch.starter.decision_links import DecisionLinks
from lockstitch.starter.identifiers import id_for_key

LONGEST_ARGUMENTS = 4096
"""Bytes of a call's arguments that a notification shows; Standard Webhooks wants payloads below 20 KB."""

LONGEST_RETRY_AFTER = timedelta(hours=1)


class NotificationActivities:
    """The activity that delivers notifications; without a ``webhook`` it says that there is nobody to tell.

    With ``links``, the notification of an approval carries a link that decides it.
    """

    def __init__(self, database: Database, webhook: Webhook | None, links: DecisionLinks | None) -> None:
        self._database = database
        self._webhook = webhook
        self._links = links

    @activity.defn(name="deliver_notification")
    async def deliver_notification(self, notification: Notification) -> NotificationResult:
        """Make one attempt at a notification, unless an earlier one has delivered it.

        An attempt that fails is one that Temporal repeats; the types of those that it does not are ``refused``
        and ``gave_up``.
        """
        ids = {
            "escalation_id": notification.escalation_id,
            "run_id": notification.run_id,
            "thread_id": notification.thread_id,
        }
        with telemetry.log_context(**ids, attempt=activity.info().attempt), heartbeats():
            return await self._deliver(notification)

    async def _deliver(self, notification: Notification) -> NotificationResult:
        attempt = activity.info().attempt
        if self._webhook is None:
            telemetry.notification_ended(notification.event, "not_configured")
            telemetry.log.info("notification_not_configured", notification=notification.event)
            detail = "No webhook is configured; set LOCKSTITCH_WEBHOOK_URL."
            return NotificationResult(delivered=False, outcome="not_configured", attempts=attempt, detail=detail)
        if not await self._is_delivered(notification):  # else the answer of the attempt that did it was lost
            await self._attempt(self._webhook, notification)
        target = self._webhook.target
        return NotificationResult(delivered=True, outcome="delivered", attempts=attempt, detail=f"Taken by {target}.")

    async def _is_delivered(self, notification: Notification) -> bool:
        escalation_id, message_id = notification.escalation_id, notification.message_id
        return await self._database.read(
            lambda connection: webhook_deliveries.is_delivered(connection, escalation_id, message_id)
        )

    async def _attempt(self, webhook: Webhook, notification: Notification) -> None:
        message = WebhookMessage(notification.message_id, await self._body(notification))
        began = time.monotonic()
        try:
            status = await webhook.send(message)
        except WebhookError as error:
            duration = timedelta(seconds=time.monotonic() - began)
            await self._record(webhook, notification, duration, error.status, error)
            raise _for_temporal(error, notification, duration) from error
        duration = timedelta(seconds=time.monotonic() - began)
        await self._record(webhook, notification, duration, status)
        telemetry.notification_ended(notification.event, "delivered", duration)
        telemetry.log.info("notification_delivered", notification=notification.event, status=status)

    async def _record(
        self,
        webhook: Webhook,
        notification: Notification,
        duration: timedelta,
        status: int | None,
        error: WebhookError | None = None,
    ) -> None:
        row = {
            "escalation_id": notification.escalation_id,
            "run_id": notification.run_id,
            "message_id": notification.message_id,
            "event": notification.event,
            "target": webhook.target,
            "attempt": activity.info().attempt,
            "delivered": error is None,
            "status": status,
            "error": None if error is None else str(error),
            "at": int(time.time()),
            "duration_ms": duration // timedelta(milliseconds=1),
        }
        await self._database.write(lambda connection: webhook_deliveries.add(connection, row))

    async def _body(self, notification: Notification) -> bytes:
        """Return the payload, the same in every attempt: receivers drop what they have seen by its id."""
        data: dict[str, Any] = notification.model_dump(mode="json", exclude={"event"})
        occurred_at = activity.info().scheduled_time
        if notification.event == "escalation.opened":
            occurred_at = notification.opened_at
            if notification.approvable:
                data |= await self._what_is_decided(notification)
        return to_json({"type": notification.event, "timestamp": occurred_at.astimezone(UTC), "data": data})

    async def _what_is_decided(self, notification: Notification) -> dict[str, Any]:
        """Return the arguments of the call, as the model wrote them, and the link that decides about it."""
        run_id, call_id = notification.run_id, notification.call_id or ""
        call = await self._database.read(lambda connection: tool_calls.get(connection, run_id, call_id))
        arguments = b"" if call is None else call["arguments"].encode(errors="replace")
        told: dict[str, Any] = {
            "arguments": None if call is None else arguments[:LONGEST_ARGUMENTS].decode(errors="ignore"),
            "arguments_truncated": len(arguments) > LONGEST_ARGUMENTS,
        }
        if self._links is not None:
            nonce = id_for_key("nonce", notification.message_id)
            token = self._links.make(
                notification.escalation_id, run_id, notification.call_id, notification.deadline, nonce=nonce
            )
            told["decision_url"] = self._links.url(token)
        return told


def _for_temporal(error: WebhookError, notification: Notification, duration: timedelta) -> ApplicationError:
    """Count and log an attempt that did not deliver, and return what tells Temporal whether there is another.

    It carries the number of the attempt.
    """
    attempt = activity.info().attempt
    told = {"notification": notification.event, "status": error.status, "error": str(error)}
    if not isinstance(error, WebhookFailed):
        telemetry.notification_ended(notification.event, "refused", duration)
        telemetry.log.error("notification_refused", **told)
        return ApplicationError(str(error), attempt, type="refused", non_retryable=True)
    pause = _pause(error)
    final = not _has_time_for_another(pause, duration)
    outcome = "gave_up" if final else "failed"
    telemetry.notification_ended(notification.event, outcome, duration)
    telemetry.log.warning("notification_failed", **told, final=final)
    return ApplicationError(str(error), attempt, type=outcome, non_retryable=final, next_retry_delay=pause)


def _pause(error: WebhookFailed) -> timedelta:
    """Return how long to wait: as the retry policy says, or longer where the receiver asks for it."""
    info = activity.info()
    asked = min(error.retry_after or timedelta(0), LONGEST_RETRY_AFTER)
    policy = info.retry_policy
    if policy is None:
        return asked
    longest = (policy.maximum_interval or LONGEST_RETRY_AFTER).total_seconds()
    doublings = min(info.attempt - 1, 32)  # more would not fit into a timedelta
    usual = policy.initial_interval.total_seconds() * policy.backoff_coefficient**doublings
    return max(asked, timedelta(seconds=min(usual, longest)))


def _has_time_for_another(pause: timedelta, duration: timedelta) -> bool:
    """Tell whether the next attempt still begins in the time that all of them have, by the Temporal server's clock."""
    info = activity.info()
    if info.schedule_to_close_timeout is None:
        return True
    taken = info.started_time - info.scheduled_time + duration
    return taken + pause < info.schedule_to_close_timeout
