"""Temporal's floor: a workflow of three activities that do nothing.

It leaves as many events as a workflow with three activities must (23), and as many bytes as short payloads make
of them (2.7 kB).
"""

from datetime import timedelta

from temporalio import activity, workflow

TASK_QUEUE = "floor"
PADDING = "x" * 80
"""Input and result of each activity."""


@activity.defn
async def do_nothing(padding: str) -> str:
    """Give back what it got."""
    return padding


@workflow.defn(name="Floor")
class Floor:
    """Three activities, one after the other."""

    @workflow.run
    async def run(self, padding: str) -> str:
        """Carry the padding through all three."""
        for _ in range(3):
            padding = await workflow.execute_activity(do_nothing, padding, start_to_close_timeout=timedelta(seconds=30))
        return padding
