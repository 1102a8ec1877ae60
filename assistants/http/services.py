"""What the operations of the API work with."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

from lockstitch import telemetry
from lockstitch.assistants.delivery import CommandDelivery
from lockstitch.assistants.http.open_streams import OpenStreams
from lockstitch.assistants.search.query import Search
from lockstitch.assistants.store import commands
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_feed import EventFeed
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
    search: Search = field(default_factory=Search)
    runs_code: bool = False
    """Whether there are workers that run code."""
    codec_origins: Sequence[str] = ()
    """Origins of pages that may have payloads decoded."""

    async def accept(self, unit: Callable[[Connection], T], *, long: bool = False) -> T:
        """Run ``unit`` as one transaction, deliver the commands that it wrote, and return its result.

        Once the transaction is through, the commands are accepted: the Temporal server may be slow or away. ``long``
        is as in `Database.write`.
        """
        result, written = await self.database.write(lambda connection: commands.collect(connection, unit), long=long)
        try:
            async with asyncio.timeout(DELIVERY_SECONDS):
                for command in written:
                    await self.delivery.deliver(command)
        except TimeoutError:
            telemetry.log.warning(
                "command_not_delivered",
                subject_id=", ".join(command["subject_id"] for command in written),
                error="timeout",
            )
        return result
