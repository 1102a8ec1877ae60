"""Tell a person about an escalation, however long the receiver is away; a workflow of its own, so no run waits."""

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from lockstitch.activities.escalations import NotificationActivities
    from lockstitch.activities.notification_messages import Notification, NotificationResult
    from lockstitch.workflows import policy


@workflow.defn(name="DeliverNotification")
class DeliverNotification:
    """Delivers one notification and says whether it arrived; it never fails because it did not.

    Its id is `Notification.workflow_id`. The run's workflow starts it as a child that it abandons, for the news of an
    escalation matters beyond the end of its run.
    """

    @workflow.run
    async def run(self, notification: Notification) -> NotificationResult:
        """Deliver the notification within a day."""
        workflow.set_current_details(
            f"{notification.summary}. It is tried for {policy.NOTIFICATION_GIVEN_UP.total_seconds() / 3600:g} hours."
        )
        try:
            result = await workflow.execute_activity_method(
                NotificationActivities.deliver_notification,
                notification,
                summary=notification.summary,
                **policy.notification_limits(),
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            result = _undelivered(error)
            workflow.logger.error("notification_not_delivered: %s", result.detail)
        workflow.set_current_details(f"{notification.summary}. Outcome: `{result.outcome}`. {result.detail}")
        return result


def _undelivered(error: ActivityError) -> NotificationResult:
    """Return what an activity that failed for good means; one that never answered ran out of time."""
    cause = error.cause
    if not isinstance(cause, ApplicationError):
        return NotificationResult(delivered=False, outcome="gave_up", detail=str(cause or error))
    return NotificationResult(
        delivered=False,
        outcome="refused" if cause.type == "refused" else "gave_up",
        attempts=int(cause.details[0]) if cause.details else 0,
        detail=cause.message,
    )
