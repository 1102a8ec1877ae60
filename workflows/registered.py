"""Every workflow that a worker carries, and what a new version of the workers means for each.

A `ThreadRun` is pinned: it ends on the version on which it began, so a new release may carry runs another way. The
others move to the current version with their next step: they are short, or would keep an old version alive for a day
(`DeliverNotification`) or without end (`EmbedAnew`), or block the schedule that starts them when the workers of their
version are gone (`AdoptionSweep`, `Housekeeping`). So a change of one of those has to replay the histories of the
version before it.
"""

from lockstitch.workflows.adoption import AdoptionSweep
from lockstitch.workflows.embedding import EmbedAnew
from lockstitch.workflows.housekeeping import Housekeeping
from lockstitch.workflows.ingestion import IngestFiles
from lockstitch.workflows.notification import DeliverNotification
from lockstitch.workflows.thread_run import ThreadRun

WORKFLOWS: tuple[type, ...] = (ThreadRun, DeliverNotification, AdoptionSweep, IngestFiles, EmbedAnew, Housekeeping)
