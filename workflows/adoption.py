"""Look for runs that nobody carries, every now and then; a Temporal schedule starts it."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from lockstitch.activities.adoption import AdoptionActivities, Sweep, Swept

SWEEP_TIMEOUT = timedelta(minutes=5)
SWEEP_HEARTBEAT = timedelta(seconds=10)


@workflow.defn(name="AdoptionSweep")
class AdoptionSweep:
    """One sweep for stranded runs. What it misses, the next one finds."""

    @workflow.run
    async def run(self, sweep: Sweep) -> Swept:
        """Sweep once, and tell what was taken over."""
        swept = await workflow.execute_activity_method(
            AdoptionActivities.adopt_stranded_runs,
            sweep,
            start_to_close_timeout=SWEEP_TIMEOUT,
            heartbeat_timeout=SWEEP_HEARTBEAT,
            retry_policy=RetryPolicy(maximum_attempts=3),
        )
        workflow.set_current_details(f"Taken over: {len(swept.adopted)}. Problems: {len(swept.problems)}.")
        return swept
