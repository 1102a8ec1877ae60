"""Do what no request asks for, every now and then; a Temporal schedule starts it."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from lockstitch.activities.housekeeping import Chores, ChoresDone, HousekeepingActivities

CHORES_TIMEOUT = timedelta(minutes=10)
CHORES_HEARTBEAT = timedelta(seconds=10)


@workflow.defn(name="Housekeeping")
class Housekeeping:
    """One round of the house. What it does not get to, the next one does."""

    @workflow.run
    async def run(self, chores: Chores) -> ChoresDone:
        """Do one round, and tell what was done."""
        return await workflow.execute_activity_method(
            HousekeepingActivities.do_chores,
            chores,
            start_to_close_timeout=CHORES_TIMEOUT,
            heartbeat_timeout=CHORES_HEARTBEAT,
            retry_policy=RetryPolicy(maximum_attempts=3),
        )
