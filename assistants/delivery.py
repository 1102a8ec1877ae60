"""Carries what this server has accepted to the Temporal server: at once, or by a sweep after a crash."""

import asyncio
from contextlib import suppress
from typing import Self

from sqlalchemy import Connection
from temporalio.service import RPCError

from lockstitch import telemetry
from lockstitch.assistants.store import commands
from lockstitch.assistants.store.commands import CommandKind
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.rows import Row
from lockstitch.errors import LockstitchError, RunFinished, RunNotFound
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import ThreadRunRequest
from lockstitch.starter.ingestion import Ingestion

SWEEP_SECONDS = 2.0
"""How often the sweep looks for commands that nobody delivered."""

PATIENCE_SECONDS = 5.0
"""How long a command may be under way before the sweep takes its sender for dead. Delivering twice is harmless."""


class CommandDelivery:
    """Delivers commands, and for as long as the ``async with`` lasts sweeps up those that were left behind."""

    def __init__(self, database: Database, starter: Starter) -> None:
        self._database = database
        self._starter = starter
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._sweeper = asyncio.create_task(self._sweep_on(), name="command-sweep")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper

    async def deliver(self, command: Row) -> bool:
        """Deliver one command and tell whether that worked; one that did not stays for the sweep.

        Whoever wrote the command has accepted it already, so nothing that goes wrong here is an error to them.
        """
        try:
            await self._send(command)
        except (LockstitchError, RPCError) as error:
            if not await self._came_too_late(command, error):
                telemetry.log.warning(
                    "command_not_delivered", subject_id=command["subject_id"], kind=command["kind"], error=str(error)
                )
                return False
        await self._database.write(lambda connection: commands.drop(connection, command))
        return True

    async def sweep(self, *, older_than_seconds: float = PATIENCE_SECONDS) -> int:
        """Deliver what was left behind, and return how much that was."""

        def read(connection: Connection) -> list[Row]:
            return commands.undelivered(connection, older_than_seconds=older_than_seconds)

        left_behind = await self._database.read(read)
        delivered = [command for command in left_behind if await self.deliver(command)]
        if delivered:
            telemetry.log.info("commands_swept", count=len(delivered))
        return len(delivered)

    async def _send(self, command: Row) -> None:
        run_id, payload = command["subject_id"], command["payload"]
        kind: CommandKind = command["kind"]
        match kind:
            case "start":
                await self._starter.start(ThreadRunRequest.model_validate(payload), run_id=run_id)
            case "answer":
                await self._starter.outputs_stored(run_id, payload["call_ids"])
            case "cancel":
                await self._starter.cancel(run_id)
            case "ingest":
                await self._starter.ingest(Ingestion.model_validate(payload))

    async def _came_too_late(self, command: Row, error: Exception) -> bool:
        """Tell whether the run has ended, so that an answer or a cancellation means nothing any more."""
        if isinstance(error, RunFinished):
            return True
        if not isinstance(error, RunNotFound):
            return False
        # A run that is unknown because its start waits too will be started by the sweep, and then told the rest.
        run_id = command["subject_id"]
        return not await self._database.read(lambda connection: commands.start_waits(connection, run_id))

    async def _sweep_on(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep()
            except LockstitchError as error:  # the database is out of reach for a moment; the sweep goes on
                telemetry.log.warning("sweep_failed", error=str(error))
