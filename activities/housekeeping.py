"""Remove what has expired or is too old, and go on with ingestions that were left behind."""

import time
from datetime import timedelta

from pydantic import BaseModel
from temporalio import activity

from lockstitch import telemetry
from lockstitch.activities.heartbeats import heartbeats
from lockstitch.assistants.store import files, vector_store_files, vector_stores, webhook_deliveries
from lockstitch.assistants.store.database import Database
from lockstitch.starter.client import Starter

AT_ONCE = 20
"""So much is removed in one transaction: nobody else writes meanwhile where writers take turns."""

DELIVERIES_AT_ONCE = 1000

STRANDED_LIMIT = 500


class Chores(BaseModel):
    """One round of the house."""

    stranded_after: timedelta = timedelta(minutes=10)
    """An ingestion whose files have waited for so long is started again, in case somebody ended its workflow."""


class ChoresDone(BaseModel):
    """What one round did."""

    files_removed: int = 0
    vector_stores_emptied: int = 0
    ingestions_started: int = 0
    deliveries_removed: int = 0
    embeds_anew: bool = False


class HousekeepingActivities:
    """Does what no request asks for; ``embedder`` is the name of the one whose vectors files should have.

    The delivery log of webhooks goes back as far as ``deliveries_kept``; ``None``: for ever.
    """

    def __init__(
        self,
        database: Database,
        starter: Starter,
        embedder: str | None = None,
        deliveries_kept: timedelta | None = None,
    ) -> None:
        self._deliveries_kept = deliveries_kept
        self._database = database
        self._starter = starter
        self._embedder = embedder

    @activity.defn(name="do_chores")
    async def do_chores(self, chores: Chores) -> ChoresDone:
        """Do one round; doing it again does what is left."""
        now, done = int(time.time()), ChoresDone()
        with heartbeats():
            while removed := await self._remove_files(now):
                done.files_removed += removed
            while emptied := await self._empty_stores(now):
                done.vector_stores_emptied += emptied
            while removed := await self._remove_deliveries(now):
                done.deliveries_removed += removed
            done.ingestions_started = await self._start_stranded(now - int(chores.stranded_after.total_seconds()))
            done.embeds_anew = await self._embed_anew()
        if done != ChoresDone():
            telemetry.log.info("chores_done", **done.model_dump())
        return done

    async def _remove_files(self, now: int) -> int:
        return await self._database.write(lambda connection: files.remove_expired(connection, now, AT_ONCE), long=True)

    async def _empty_stores(self, now: int) -> int:
        return await self._database.write(
            lambda connection: vector_stores.remove_expired(connection, now, AT_ONCE), long=True
        )

    async def _remove_deliveries(self, now: int) -> int:
        kept = self._deliveries_kept
        if kept is None:
            return 0
        before = now - int(kept.total_seconds())
        return await self._database.write(
            lambda connection: webhook_deliveries.remove_old(connection, before, DELIVERIES_AT_ONCE), long=True
        )

    async def _start_stranded(self, before: int) -> int:
        left_behind = await self._database.read(
            lambda connection: vector_store_files.stranded(connection, before, STRANDED_LIMIT)
        )
        for ingestion in left_behind:
            await self._starter.ingest(ingestion)  # one that goes on is left alone
        return len(left_behind)

    async def _embed_anew(self) -> bool:
        """Have vectors made that are missing, because the embedder is another one than it was, or new."""
        embedder = self._embedder
        if embedder is None:
            return False
        outdated = await self._database.read(
            lambda connection: vector_store_files.next_outdated(connection, embedder, after=0), long=True
        )
        if outdated is not None:
            await self._starter.embed_anew()
        return outdated is not None
