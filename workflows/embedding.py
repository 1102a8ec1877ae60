"""Give files vectors of the present embedder, where another one made them or nobody."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from lockstitch.activities.ingestion import IngestionActivities
    from lockstitch.starter.ingestion import EMBED_ANEW, EmbedSlice, ingestion_queue
    from lockstitch.workflows.ingestion import LONGEST_WAIT, SLICE_HEARTBEAT, SLICE_TIMEOUT

SLICES = 500
"""After so many, the workflow begins anew where it is: its history stays small however many files there are."""

REST = timedelta(hours=1)
"""How long files are left alone that the embedder refuses; the housekeeping would have them tried every minute."""


@workflow.defn(name=EMBED_ANEW)
class EmbedAnew:
    """Works through all files of all stores, by their numbers. Until it gets to a file, words alone find it."""

    @workflow.run
    async def run(self, part: EmbedSlice) -> None:
        """Make the vectors, however long it takes."""
        refused = 0
        for _ in range(SLICES):
            done = await workflow.execute_activity_method(
                IngestionActivities.embed_files,
                part,
                task_queue=ingestion_queue(workflow.info().task_queue),
                start_to_close_timeout=SLICE_TIMEOUT,
                heartbeat_timeout=SLICE_HEARTBEAT,
                retry_policy=RetryPolicy(maximum_interval=LONGEST_WAIT),
            )
            part, refused = EmbedSlice(after=done.after), refused + done.refused
            if not done.more:
                if refused:
                    await workflow.sleep(REST)
                return
        workflow.continue_as_new(part)
