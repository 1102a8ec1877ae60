"""The worker: builds the activities, hands them to Temporal, runs until told to stop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from itertools import product
from typing import Any, get_args
from uuid import uuid4

from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowRunner

from lockstitch import telemetry, tracing
from lockstitch.activities.adoption import AdoptionActivities, StrandedRuns
from lockstitch.activities.backends.base import Backend
from lockstitch.activities.backends.local import LocalBackend
from lockstitch.activities.code_calls import CodeActivities
from lockstitch.activities.code_sessions import CodeSessions
from lockstitch.activities.escalations import NotificationActivities
from lockstitch.activities.file_searches import SearchActivities
from lockstitch.activities.housekeeping import HousekeepingActivities
from lockstitch.activities.ingestion import IngestionActivities, IngestionOutcome
from lockstitch.activities.notification_messages import AttemptOutcome, NotificationEvent
from lockstitch.activities.runs import RunActivities
from lockstitch.activities.tool_calls import ToolActivities
from lockstitch.activities.webhooks import Webhook
from lockstitch.assistants.delivery import CommandDelivery
from lockstitch.assistants.embedding.opening import EmbeddingsEndpoint
from lockstitch.assistants.fleet_reader import FleetReader
from lockstitch.assistants.ingestion.documents import DocumentParser
from lockstitch.assistants.ingestion.parsing import FileParser, TextParser
from lockstitch.assistants.model import local_server
from lockstitch.assistants.model.turn import Model
from lockstitch.assistants.search.query import Search
from lockstitch.assistants.search.semantics import Semantics, open_semantics
from lockstitch.assistants.store.database import Database
from lockstitch.config import Config
from lockstitch.errors import LockstitchError
from lockstitch.metrics.model_prices import ModelPrices
from lockstitch.metrics.tenant_classes import TenantClasses
from lockstitch.namespace_setup import ensure_namespace
from lockstitch.probes import Check, listen, opening_tables, probe_app, serving
from lockstitch.sandbox.port import Sandbox
from lockstitch.sandbox_choice import chosen_sandbox, limits_of
from lockstitch.starter.client import Starter, connect_temporal
from lockstitch.starter.code_queue import code_queue
from lockstitch.starter.decision_links import DecisionLinks
from lockstitch.starter.ingestion import ingestion_queue
from lockstitch.temporal_choice import chosen_temporal
from lockstitch.tools import ToolRegistry
from lockstitch.worker_group import becoming_first_version, running, version_options
from lockstitch.workflows.registered import VERSIONED_WORKFLOWS, WORKFLOWS

STICKY_TIMEOUT = timedelta(seconds=2)
"""How long Temporal waits for the worker that has a run in its memory; the default of ten seconds is lost time
after that worker was killed."""

HEARTBEAT_THROTTLE = timedelta(seconds=2)
"""The SDK sends heartbeats at most so often; a cancellation reaches a handler with the next one."""

HANDLER_THREADS = 200
"""How many handlers that are not async run at a time; one that was given up at its timeout keeps its thread."""

CODE_CALLS_AT_A_TIME = 4
"""How many calls of the code interpreter one worker takes at a time, of each of its two task queues."""

STOP_MARGIN = timedelta(seconds=8)
"""So much longer than its grace may a worker take to stop; what gives it less time may kill it."""

FILES_AT_A_TIME = 2
"""How many activities that parse files one worker takes at a time: they need a processor."""


async def run_worker(config: Config, stop: asyncio.Event) -> None:
    """Run a worker until ``stop`` is set; what is under way then has ``config.shutdown_grace`` to finish.

    Raises `LockstitchError` where a setting is wrong or something it needs is missing, before it takes any work.
    """
    tools = ToolRegistry.load(config.tools)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(HANDLER_THREADS, "handler"))
    listener = listen(
        config.metrics_host,
        config.metrics_port,
        purpose="the worker's metrics",
        option="LOCKSTITCH_METRICS_PORT",
    )
    async with AsyncExitStack() as stack:
        stack.callback(listener.close)
        stack.enter_context(tracing.exporting(config.traces, "worker"))
        started = asyncio.Event()
        checks: dict[str, Check] = {"database": opening_tables, "worker": lambda: _check_working(started, stop)}
        # While the tables are upgraded, which may take long, the process is seen to live.
        end_probes = await stack.enter_async_context(serving(probe_app(checks), listener))
        database = await stack.enter_async_context(_database(config))
        takes_turns = "runs" in config.worker_serves
        model = await stack.enter_async_context(open_model(config)) if takes_turns else None
        semantics = await stack.enter_async_context(_semantics(config, database))
        client = await connect_temporal(chosen_temporal(config), _set_up_metrics(config), tracing.temporal_plugins())
        await ensure_namespace(client, config.task_queue)
        starter = await stack.enter_async_context(Starter(client, task_queue=config.task_queue))
        await stack.enter_async_context(CommandDelivery(database, starter))
        await stack.enter_async_context(FleetReader(starter, database))
        checks |= {"temporal": starter.fleet.check, "database": database.check}
        stack.push_async_callback(end_probes)  # before what they ask is closed
        remote = await stack.enter_async_context(open_remote_backends(config, database, tools))
        options: dict[str, Any] = {"remote": remote, "semantics": semantics}
        sandbox = await stack.enter_async_context(open_sandbox(config))
        if sandbox is not None:
            options["parser"] = DocumentParser(sandbox, TextParser())
            options["code"] = await stack.enter_async_context(_code_sessions(config, database, sandbox))
        await stack.enter_async_context(running(build_workers(client, config, database, model, tools, **options)))
        if config.deployment_name and "runs" in config.worker_serves:
            await stack.enter_async_context(becoming_first_version(client, config.deployment_name, config.build))
        started.set()
        _tell_started(config, model, tools)
        await stop.wait()
        telemetry.log.info("worker_stopping", grace_seconds=config.shutdown_grace.total_seconds())


def _tell_started(config: Config, model: Model | None, tools: ToolRegistry) -> None:
    telemetry.log.info(
        "worker_started",
        task_queue=config.task_queue,
        serves=config.worker_serves,
        model=None if model is None else model.name,
        embedder=config.embedder,
        tools=list(tools),
        build_id=config.build,
    )


def _set_up_metrics(config: Config) -> Runtime:
    telemetry.tell_build(version("lockstitch"), config.build, "worker")
    telemetry.MODELS.set_up(ModelPrices(config.model_prices), config.budget_dollars_per_day)
    _count_from_zero(config)
    return telemetry.buffering_runtime(TenantClasses(config.tenant_classes))


def _count_from_zero(config: Config) -> None:
    """Show the counters that alerts watch for a single increase: in a series that begins at 1 nobody sees one."""
    if "runs" in config.worker_serves:
        for event, outcome in product(get_args(NotificationEvent), get_args(AttemptOutcome)):
            telemetry.NOTIFICATIONS.labels(event, outcome)
    if "files" in config.worker_serves:
        for outcome in get_args(IngestionOutcome):
            telemetry.FILES_INGESTED.labels(outcome)


async def _check_working(started: asyncio.Event, stop: asyncio.Event) -> None:
    if stop.is_set():
        raise LockstitchError("it is stopping")
    if not started.is_set():
        raise LockstitchError("it is starting")


WORKFLOW_RUNNER = UnsandboxedWorkflowRunner()
"""What runs workflows. The sandbox, which refuses what is not deterministic, takes a fifth of the processor time of a
run; it belongs where workflow code changes, so the tests run with it, and no worker that serves does."""


def build_workers(
    client: Client,
    config: Config,
    database: Database,
    model: Model | None,
    tools: ToolRegistry,
    *,
    remote: Sequence[Backend] = (),
    semantics: Semantics | None = None,
    parser: FileParser | None = None,
    code: CodeSessions | None = None,
    workflow_runner: WorkflowRunner = WORKFLOW_RUNNER,
) -> list[Worker]:
    """Return the workers of runs, tools, files and code, as far as the settings want them.

    Without a ``model`` no runs are carried. ``remote`` are the backends beside the one whose runs are our own; without
    ``semantics`` files are found by words alone, without a ``parser`` only those are read that are text, and without
    ``code`` none is run here.
    """
    workers: list[Worker] = []
    if "runs" in config.worker_serves and model is not None:
        workers.append(_run_worker(client, config, database, model, tools, remote, semantics, workflow_runner))
    if "tools" in config.worker_serves:
        workers += _tool_workers(client, config, database, tools)
    if "files" in config.worker_serves:
        ingestion = IngestionActivities(database, parser or TextParser(), semantics).activities()
        few = min(FILES_AT_A_TIME, config.max_concurrent_activities)
        workers.append(build_worker(client, config, ingestion_queue(config.task_queue), ingestion, slots=few))
    if "code" in config.worker_serves and code is not None:
        workers += _code_workers(client, config, database, code)
    return workers


def _run_worker(
    client: Client,
    config: Config,
    database: Database,
    model: Model,
    tools: ToolRegistry,
    remote: Sequence[Backend],
    semantics: Semantics | None,
    workflow_runner: WorkflowRunner,
) -> Worker:
    """Return the worker of runs, which calls the tools that have no task queue of their own too."""
    runs_code = config.sandbox != "none"
    local = LocalBackend(database, model, tools, _context_tokens(config), runs_code=runs_code)
    backends = {backend.name: backend for backend in (local, *remote)}
    starter = Starter(client, task_queue=config.task_queue)  # opens no connection of its own, so nothing to close
    elsewhere = [backend for backend in remote if isinstance(backend, StrandedRuns)]
    embedder = None if semantics is None else semantics.embedder.name
    activities: list[Callable[..., Any]] = [
        *RunActivities(database, backends, tools).activities(),
        *SearchActivities(database, Search(semantics)).activities(),
        NotificationActivities(database, _webhook(config), _decision_links(config)).deliver_notification,
        AdoptionActivities(database, starter, elsewhere, config.adopt_threads).adopt_stranded_runs,
        HousekeepingActivities(
            database, starter, embedder, deliveries_kept=timedelta(days=config.deliveries_kept_days)
        ).do_chores,
        *ToolActivities(database, tools).activities(),
    ]
    workflows = VERSIONED_WORKFLOWS if config.deployment_name else WORKFLOWS
    return build_worker(client, config, config.task_queue, activities, workflows, workflow_runner)


def _tool_workers(client: Client, config: Config, database: Database, tools: ToolRegistry) -> Iterator[Worker]:
    """Yield a worker for each task queue that a tool asks for."""
    calls = ToolActivities(database, tools).activities()
    own_queues = {tool.policy.task_queue for tool in tools.tools if tool.policy.task_queue} - {config.task_queue}
    for queue in sorted(own_queues):
        yield build_worker(client, config, queue, calls)


def _code_workers(client: Client, config: Config, database: Database, sessions: CodeSessions) -> Iterator[Worker]:
    """Yield the workers of calls that need a session, and of those whose session is here."""
    activities = CodeActivities(database, sessions).activities()
    few = min(CODE_CALLS_AT_A_TIME, config.max_concurrent_activities)
    yield build_worker(client, config, code_queue(config.task_queue), activities, slots=few)
    # Temporal takes a hundred task queues for one version, and each process has one of these. They need no version: who
    # asks for one knows which process it is.
    yield build_worker(client, config, sessions.task_queue, activities, slots=few, versioned=False)


def _context_tokens(config: Config) -> int | None:
    if config.model_context_tokens or config.model != "local":
        return config.model_context_tokens or None
    return local_server.COUNTED_TOKENS


def _webhook(config: Config) -> Webhook | None:
    if not config.webhook_url:
        return None
    return Webhook(config.webhook_url, config.webhook_secrets, allow_private=config.webhook_allow_private)


def _decision_links(config: Config) -> DecisionLinks | None:
    if not config.link_secrets:
        return None
    return DecisionLinks(config.link_secrets, config.public_url or config.server_url)


def build_worker(
    client: Client,
    config: Config,
    task_queue: str,
    activities: list[Callable[..., Any]],
    workflows: Sequence[type] = (),
    workflow_runner: WorkflowRunner = WORKFLOW_RUNNER,
    *,
    slots: int | None = None,
    versioned: bool = True,
) -> Worker:
    """Return one worker with the options that all of ours have; ``slots`` is how many activities it takes at a time.

    One that is not ``versioned`` takes what is on its task queue, whichever version it comes from.
    """
    return Worker(
        client,
        task_queue=task_queue,
        workflows=workflows,
        activities=activities,
        workflow_runner=workflow_runner,
        max_concurrent_activities=config.max_concurrent_activities if slots is None else slots,
        graceful_shutdown_timeout=config.shutdown_grace,
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        default_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        **version_options(config.deployment_name if versioned else "", config.build),
    )


@asynccontextmanager
async def open_sandbox(config: Config) -> AsyncIterator[Sandbox | None]:
    """Build what confines code and the reading of documents; ``None`` where the settings want none of either.

    Raises `SandboxUnavailable` where it does not confine anything here: nothing runs without it.
    """
    if config.sandbox == "none" or not {"files", "code"} & set(config.worker_serves):
        yield None
        return
    sandbox = chosen_sandbox(config)
    try:
        await sandbox.probe()
        yield sandbox
    finally:
        await sandbox.aclose()


def _code_sessions(config: Config, database: Database, sandbox: Sandbox) -> CodeSessions:
    """Return what holds this worker's sessions of the code interpreter."""
    own_queue = f"{code_queue(config.task_queue)}-{uuid4().hex}"
    return CodeSessions(database, sandbox, limits_of(config), own_queue)


def _semantics(config: Config, database: Database) -> AbstractAsyncContextManager[Semantics | None]:
    endpoint = EmbeddingsEndpoint(
        config.embeddings_url,
        config.embeddings_api_key,
        config.embeddings_model,
        config.embeddings_dimensions,
        config.embeddings_timeout,
    )
    searches = {"runs", "files"} & set(config.worker_serves)
    choice = config.embedder if searches else "none"
    return open_semantics(database, choice, endpoint, upgrades=config.database_auto_upgrade)


def _database(config: Config) -> Database:
    return Database(
        config.database_url,
        connections=config.database_connections,
        upgrades=config.database_auto_upgrade,
    )


@asynccontextmanager
async def open_model(config: Config) -> AsyncIterator[Model]:
    """Build the model that takes the turns of our own runs, as the settings say."""
    model = await _model(config)
    try:
        yield model
    finally:
        await model.aclose()


async def _model(config: Config) -> Model:
    if config.model_script:
        from lockstitch.assistants.model.script import ScriptedModel

        return ScriptedModel.from_file(config.model_script)
    if config.uses_offline_model:
        from lockstitch.assistants.model.offline import OfflineModel

        return OfflineModel()
    if config.model == "local":
        from lockstitch.assistants.model.local import LocalModel

        return await LocalModel.start()
    from lockstitch.assistants.model.endpoint import OpenAIEndpoint

    return OpenAIEndpoint(
        base_url=config.openai_base_url,
        api_key=config.openai_api_key or "none",  # servers without keys take any, and the SDK wants one
        timeout=config.model_timeout,
        api=config.model_api,
    )


@asynccontextmanager
async def open_remote_backends(
    config: Config, database: Database, tools: ToolRegistry
) -> AsyncIterator[Sequence[Backend]]:
    """Build the backends on other servers that the settings name."""
    if not config.assistants_url or "runs" not in config.worker_serves:
        yield ()
        return
    from lockstitch.activities.backends.assistants.api import AssistantsApi
    from lockstitch.activities.backends.assistants.backend import AssistantsBackend

    api = AssistantsApi(
        base_url=config.assistants_url,
        api_key=config.assistants_api_key,
        api_version=config.assistants_api_version,
    )
    backend = AssistantsBackend(database, api, tools)
    try:
        yield (backend,)
    finally:
        await backend.aclose()
