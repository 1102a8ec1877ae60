"""The HTTP server: every route on one screen, and what the operations work with."""

import asyncio
import gc
import ipaddress
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from importlib.metadata import version

from temporalio.runtime import Runtime

from lockstitch import telemetry, tracing
from lockstitch.assistants.delivery import CommandDelivery
from lockstitch.assistants.embedding.opening import EmbeddingsEndpoint
from lockstitch.assistants.fleet_reader import FleetReader
from lockstitch.assistants.http.api import Api
from lockstitch.assistants.http.assistants import Assistants
from lockstitch.assistants.http.codec import codec_operations
from lockstitch.assistants.http.console.operations import console_operations
from lockstitch.assistants.http.console.options import ConsoleOptions
from lockstitch.assistants.http.decisions import Decisions
from lockstitch.assistants.http.files import Files
from lockstitch.assistants.http.health import health_operations
from lockstitch.assistants.http.key_check import KeyCheck
from lockstitch.assistants.http.keyring import Keyring
from lockstitch.assistants.http.messages import Messages
from lockstitch.assistants.http.open_streams import OpenStreams
from lockstitch.assistants.http.request_heads import guarded_protocol
from lockstitch.assistants.http.request_spans import TracedApi
from lockstitch.assistants.http.route_table import Operation
from lockstitch.assistants.http.run_events import RunEvents
from lockstitch.assistants.http.runs import Runs
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.http.starting import StartingApp
from lockstitch.assistants.http.steps import Steps
from lockstitch.assistants.http.threads import Threads
from lockstitch.assistants.http.vector_store_batches import VectorStoreBatches
from lockstitch.assistants.http.vector_store_files import VectorStoreFiles
from lockstitch.assistants.http.vector_stores import VectorStores
from lockstitch.assistants.search.query import Search
from lockstitch.assistants.search.semantics import Semantics, open_semantics
from lockstitch.assistants.store import keys
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_feed import EventFeed
from lockstitch.config import Config
from lockstitch.errors import KeysMissing
from lockstitch.probes import listen, serving
from lockstitch.starter.client import Starter
from lockstitch.starter.decision_links import DecisionLinks
from lockstitch.starter.payload_reader import PayloadReader
from lockstitch.temporal_choice import chosen_temporal

_THREAD = "/threads/{thread_id}"
_MESSAGE = _THREAD + "/messages/{message_id}"
_RUN = _THREAD + "/runs/{run_id}"
_STORE = "/vector_stores/{vector_store_id}"
_STORE_FILE = _STORE + "/files/{file_id}"
_BATCH = _STORE + "/file_batches/{batch_id}"


PATIENCE = timedelta(seconds=30)
"""How long a client may take for the head of a request, and its body beyond what its size takes."""


def build_app(
    services: Services,
    keyring: Keyring | None = None,
    *,
    patience: timedelta = PATIENCE,
    console: ConsoleOptions | None = None,
) -> Api:
    """Return the API; every path answers under ``/v1``, ``/openai`` and the root.

    Without a ``keyring`` that says otherwise, keys are asked for as soon as there are any.
    """
    keyring = keyring or Keyring(services.database)
    operations = [*_operations(services), *console_operations(services, keyring, console or ConsoleOptions())]
    return Api(operations, KeyCheck(keyring), services.streams, patience)


def _operations(services: Services) -> list[Operation]:
    assistants, threads, messages = Assistants(services), Threads(services), Messages(services)
    runs, steps, files = Runs(services), Steps(services), Files(services)
    events, decisions = RunEvents(services), Decisions(services)
    return [
        Operation("GET", _RUN, runs.retrieve),
        Operation("POST", _RUN, runs.modify),
        Operation("POST", _RUN + "/cancel", runs.cancel),
        Operation("POST", _RUN + "/submit_tool_outputs", runs.submit_tool_outputs),
        Operation("GET", _RUN + "/steps", steps.list_page),
        Operation("GET", _RUN + "/steps/{step_id}", steps.retrieve),
        Operation("GET", _RUN + "/events", events.stream),
        Operation("GET", "/runs/{run_id}/events", events.stream),
        Operation("POST", "/threads/runs", runs.create_with_thread),
        Operation("POST", _THREAD + "/runs", runs.create),
        Operation("GET", _THREAD + "/runs", runs.list_page),
        Operation("POST", _THREAD + "/messages", messages.create),
        Operation("GET", _THREAD + "/messages", messages.list_page),
        Operation("GET", _MESSAGE, messages.retrieve),
        Operation("POST", _MESSAGE, messages.modify),
        Operation("DELETE", _MESSAGE, messages.delete),
        Operation("POST", "/threads", threads.create),
        Operation("GET", "/threads", threads.list_page, azure_only=True),
        Operation("GET", _THREAD, threads.retrieve),
        Operation("POST", _THREAD, threads.modify),
        Operation("DELETE", _THREAD, threads.delete),
        Operation("POST", "/assistants", assistants.create),
        Operation("GET", "/assistants", assistants.list_page),
        Operation("GET", "/assistants/{assistant_id}", assistants.retrieve),
        Operation("POST", "/assistants/{assistant_id}", assistants.modify),
        Operation("DELETE", "/assistants/{assistant_id}", assistants.delete),
        Operation("POST", "/files", files.upload),
        Operation("GET", "/files", files.list_page),
        Operation("GET", "/files/{file_id}", files.retrieve),
        Operation("DELETE", "/files/{file_id}", files.delete),
        Operation("GET", "/files/{file_id}/content", files.content),
        *_vector_store_operations(services),
        Operation("GET", "/decisions/{token}", decisions.show, needs_key=False),
        Operation("POST", "/decisions/{token}", decisions.decide, needs_key=False),
        *codec_operations(PayloadReader(services.starter.data_converter), services.codec_origins),
        *health_operations(services),
    ]


def _vector_store_operations(services: Services) -> list[Operation]:
    stores, files, batches = VectorStores(services), VectorStoreFiles(services), VectorStoreBatches(services)
    return [
        Operation("POST", "/vector_stores", stores.create),
        Operation("GET", "/vector_stores", stores.list_page),
        Operation("GET", _STORE, stores.retrieve),
        Operation("POST", _STORE, stores.modify),
        Operation("DELETE", _STORE, stores.delete),
        Operation("POST", _STORE + "/search", stores.search),
        Operation("POST", _STORE + "/files", files.create),
        Operation("GET", _STORE + "/files", files.list_page),
        Operation("GET", _STORE_FILE, files.retrieve),
        Operation("POST", _STORE_FILE, files.modify),
        Operation("DELETE", _STORE_FILE, files.delete),
        Operation("GET", _STORE_FILE + "/content", files.content),
        Operation("POST", _STORE + "/file_batches", batches.create),
        Operation("GET", _BATCH, batches.retrieve),
        Operation("POST", _BATCH + "/cancel", batches.cancel),
        Operation("GET", _BATCH + "/files", batches.list_files),
    ]


@asynccontextmanager
async def open_services(config: Config, runtime: Runtime | None = None) -> AsyncIterator[Services]:
    """Open what the operations work with; raises `LockstitchError` where something is missing.

    ``runtime`` is what the Temporal client runs in, where that is not the process's default.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(_database(config))
        feed = await stack.enter_async_context(EventFeed(database))
        starter = await stack.enter_async_context(
            await Starter.connect(
                chosen_temporal(config),
                runtime=runtime,
                plugins=tracing.temporal_plugins(),
                task_queue=config.task_queue,
            )
        )
        await starter.prepare_namespace()
        delivery = await stack.enter_async_context(CommandDelivery(database, starter))
        streams = OpenStreams(most=config.max_streams, most_per_key=config.max_streams_per_key)
        semantics = await stack.enter_async_context(_semantics(config, database))
        links, search = _decision_links(config), Search(semantics)
        runs_code = config.sandbox != "none"
        origins = config.codec_origins
        yield Services(database, feed, delivery, starter, links, streams, search, runs_code, origins)


def _semantics(config: Config, database: Database) -> AbstractAsyncContextManager[Semantics | None]:
    endpoint = EmbeddingsEndpoint(
        config.embeddings_url,
        config.embeddings_api_key,
        config.embeddings_model,
        config.embeddings_dimensions,
        config.embeddings_timeout,
    )
    return open_semantics(database, config.embedder, endpoint, upgrades=config.database_auto_upgrade)


def _database(config: Config) -> Database:
    return Database(
        config.database_url,
        connections=config.database_connections,
        upgrades=config.database_auto_upgrade,
    )


def _decision_links(config: Config) -> DecisionLinks | None:
    if not config.link_secrets:
        return None
    return DecisionLinks(config.link_secrets, config.public_url or config.server_url)


def _console_options(config: Config) -> ConsoleOptions:
    secret = config.link_secrets[0] if config.link_secrets else ""
    url = config.public_url or config.server_url
    return ConsoleOptions(config.temporal_ui_url, config.temporal_namespace, url, secret)


async def serve(config: Config, stop: asyncio.Event | None = None) -> None:
    """Serve the API until ``stop`` is set; without one, until the process gets SIGTERM or SIGINT.

    From the beginning it answers probes; requests get 503 until everything is open, the tables upgraded where they are
    older. Raises `PortInUse` before anything is started, `KeysMissing` where others than this machine could reach the
    server and no key was ever created, and `LockstitchError` where something else is missing. Streams that are open at
    the end are closed; the runs that they show go on. Other requests have ``config.shutdown_grace`` to finish.
    """
    if stop is None:
        stop = _told_to_stop()
    console = _console_options(config)
    listener = listen(config.host, config.port, purpose="the HTTP server", option="LOCKSTITCH_PORT")
    async with AsyncExitStack() as stack:
        stack.callback(listener.close)
        telemetry.tell_build(version("lockstitch"), config.build, "server")
        stack.enter_context(tracing.exporting(config.traces, "server"))
        app = StartingApp()
        protocol = guarded_protocol(config.request_timeout)
        end_serving = await stack.enter_async_context(serving(app, listener, protocol, grace=config.shutdown_grace))
        services = await stack.enter_async_context(open_services(config, telemetry.buffering_runtime()))
        keyring = await _keyring(config, services.database)
        await stack.enter_async_context(FleetReader(services.starter, services.database))
        api = build_app(services, keyring, patience=config.request_timeout, console=console)
        app.api = TracedApi(api) if tracing.is_on() else api
        stack.push_async_callback(end_serving)  # before what requests work with is closed
        stack.callback(services.feed.dismiss)
        gc.freeze()
        telemetry.log.info("http_server_started", host=config.host, port=listener.getsockname()[1])
        await stop.wait()
        telemetry.log.info("http_server_stopping")


async def _keyring(config: Config, database: Database) -> Keyring:
    """Return the keyring; raises `KeysMissing`."""
    if not _is_loopback(config.host):
        if not await database.read(keys.any_exist):
            raise KeysMissing(config.host)
        return Keyring(database, always_asks=True)
    keyring = Keyring(database)
    if not await keyring.asks():
        hint = "No key was ever created, so whoever reaches this address may do everything."
        telemetry.log.info("no_keys_asked_for", host=config.host, hint=hint)
    return keyring


def _told_to_stop() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
