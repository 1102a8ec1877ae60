"""What the operations of the API work with."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

from lockstitch import telemetry
from lockstitch.assistants.delivery import CommandDelivery
from lockstitch.assistants.http.open_streams import OpenStreams
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_feed import EventFeed
from lockstitch.assistants.store.rows import Row
from lockstitch.starter.client import Starter
from lockstitch.starter.decision_links import DecisionLinks

T = TypeVar("T")

DELIVERY_SECONDS = 2.0
"""How long a client waits for the Temporal server to take a command; after that the sweep sees to it."""


@dataclass(frozen=True, slots=True)
class Services:
    """The store, what carries commands to the Temporal server, what asks that server, and what belongs to requests."""

    database: Database
    feed: EventFeed
    delivery: CommandDelivery
    starter: Starter
    links: DecisionLinks | None = None
    """``None``: this server has no decision links."""
    streams: OpenStreams = field(default_factory=OpenStreams)

    async def accept(self, unit: Callable[[Connection], tuple[T, Row | None]]) -> T:
        """Run ``unit`` as one transaction, deliver the command that it wrote, and return its result.

        Once the transaction is through, the command is accepted: the Temporal server may be slow or away.
        """
        result, command = await self.database.write(unit)
        if command is not None:
            try:
                async with asyncio.timeout(DELIVERY_SECONDS):
                    await self.delivery.deliver(command)
            except TimeoutError:
                telemetry.log.warning(
                    "command_not_delivered", run_id=command["run_id"], kind=command["kind"], error="timeout"
                )
        return result
