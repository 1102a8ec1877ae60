"""Every workflow that a worker carries, and what a new version of the workers means for each.

A `ThreadRun` is pinned: it ends on the version on which it began, so a new release may carry runs another way. The
others move to the current version with their next step: they are short, or would keep an old version alive for a day
(`DeliverNotification`) or without end (`EmbedAnew`), or block the schedule that starts them when the workers of their
version are gone (`AdoptionSweep`, `Housekeeping`). So a change of one of those has to replay the histories of the
version before it.

Pinned is what a worker with a version takes every workflow for that says nothing else. That one moves has to be said by
the workflow's definition, and Temporal refuses what such a definition does on a worker without a version: hence each of
those has a class of its own for workers that have one.
"""

from temporalio import workflow
from temporalio.common import VersioningBehavior

with workflow.unsafe.imports_passed_through():
    from lockstitch.activities.adoption import Sweep, Swept
    from lockstitch.activities.housekeeping import Chores, ChoresDone
    from lockstitch.activities.notification_messages import Notification, NotificationResult
    from lockstitch.starter.ingestion import EMBED_ANEW, INGEST_FILES, EmbedSlice, Ingestion
    from lockstitch.workflows.adoption import AdoptionSweep
    from lockstitch.workflows.embedding import EmbedAnew
    from lockstitch.workflows.housekeeping import Housekeeping
    from lockstitch.workflows.ingestion import IngestFiles
    from lockstitch.workflows.notification import DeliverNotification
    from lockstitch.workflows.thread_run import ThreadRun

WORKFLOWS: tuple[type, ...] = (ThreadRun, DeliverNotification, AdoptionSweep, IngestFiles, EmbedAnew, Housekeeping)
"""On workers without a version."""


@workflow.defn(name="DeliverNotification", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class MovingDeliverNotification(DeliverNotification):
    """`DeliverNotification` on workers with a version."""

    @workflow.run
    async def run(self, notification: Notification) -> NotificationResult:
        """Deliver the notification within a day."""
        return await super().run(notification)


@workflow.defn(name="AdoptionSweep", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class MovingAdoptionSweep(AdoptionSweep):
    """`AdoptionSweep` on workers with a version."""

    @workflow.run
    async def run(self, sweep: Sweep) -> Swept:
        """Sweep once, and tell what was taken over."""
        return await super().run(sweep)


@workflow.defn(name=INGEST_FILES, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class MovingIngestFiles(IngestFiles):
    """`IngestFiles` on workers with a version."""

    @workflow.run
    async def run(self, ingestion: Ingestion) -> int:
        """Ingest the files and return how many were looked at."""
        return await super().run(ingestion)


@workflow.defn(name=EMBED_ANEW, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class MovingEmbedAnew(EmbedAnew):
    """`EmbedAnew` on workers with a version."""

    @workflow.run
    async def run(self, part: EmbedSlice) -> None:
        """Make the vectors, however long it takes."""
        await super().run(part)


@workflow.defn(name="Housekeeping", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class MovingHousekeeping(Housekeeping):
    """`Housekeeping` on workers with a version."""

    @workflow.run
    async def run(self, chores: Chores) -> ChoresDone:
        """Do one round, and tell what was done."""
        return await super().run(chores)


VERSIONED_WORKFLOWS: tuple[type, ...] = (
    ThreadRun,
    MovingDeliverNotification,
    MovingAdoptionSweep,
    MovingIngestFiles,
    MovingEmbedAnew,
    MovingHousekeeping,
)
"""The same on workers with a version."""
