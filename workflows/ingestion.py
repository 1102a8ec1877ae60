"""Bring files into a vector store: one workflow for all files that were added together."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from lockstitch.activities.ingestion import IngestionActivities, IngestSlice
    from lockstitch.starter.ingestion import INGEST_FILES, Ingestion, ingestion_queue

LANES = 4
"""So many activities work on one ingestion at a time, at most; others want to get on too."""

FILES_PER_LANE = 5
"""Fewer files do not need another lane."""

SLICE_TIMEOUT = timedelta(hours=6)
"""The largest file that is read, with an embedder that takes a quarter of a second for a chunk, needs an hour."""

SLICE_HEARTBEAT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(minutes=1)


@workflow.defn(name=INGEST_FILES)
class IngestFiles:
    """Has the files of one ingestion worked on until none waits any more.

    Which files those are and what became of each stands in the store, so that nobody has to tell the workflow of a
    cancelled batch or a deleted store: there is nothing left to do. An activity that breaks is tried again for as long
    as it takes, for the database may be away; files that break it are given up one by one.
    """

    def __init__(self) -> None:
        self._done = 0

    @workflow.run
    async def run(self, ingestion: Ingestion) -> int:
        """Ingest the files and return how many were looked at."""
        lanes = min(LANES, -(-ingestion.files // FILES_PER_LANE))
        parts = [
            IngestSlice(ingestion_id=ingestion.ingestion_id, lane=lane, lanes=lanes) for lane in range(max(lanes, 1))
        ]
        await asyncio.gather(*(self._work(part, ingestion.files) for part in parts))
        return self._done

    async def _work(self, part: IngestSlice, files: int) -> None:
        more = True
        while more:
            ingested = await workflow.execute_activity_method(
                IngestionActivities.ingest_files,
                part,
                task_queue=ingestion_queue(workflow.info().task_queue),
                start_to_close_timeout=SLICE_TIMEOUT,
                heartbeat_timeout=SLICE_HEARTBEAT,
                retry_policy=RetryPolicy(maximum_interval=LONGEST_WAIT),
            )
            more = ingested.more
            self._done += ingested.files
            workflow.set_current_details(f"{self._done} of {files} files.")
