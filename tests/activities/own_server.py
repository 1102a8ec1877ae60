"""This project's own server and worker, as the upstream of a backend."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from temporalio.client import Client

from lockstitch.assistants.delivery import CommandDelivery
from lockstitch.assistants.http.app import build_app
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_feed import EventFeed
from lockstitch.probes import listen, serving
from lockstitch.starter.client import Starter


@asynccontextmanager
async def own_server_on(temporal: Client, database: Database, task_queue: str) -> AsyncIterator[str]:
    """Serve the database and yield the base URL; the runs are the worker's of the task queue."""
    async with AsyncExitStack() as stack:
        feed = await stack.enter_async_context(EventFeed(database))
        starter = await stack.enter_async_context(Starter(temporal, task_queue=task_queue))
        delivery = await stack.enter_async_context(CommandDelivery(database, starter))
        listener = listen("127.0.0.1", 0, purpose="a test", option="nothing")
        await stack.enter_async_context(serving(build_app(Services(database, feed, delivery, starter)), listener))
        stack.callback(feed.dismiss)
        host, port = listener.getsockname()
        yield f"http://{host}:{port}/v1"
