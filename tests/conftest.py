"""The real things that tests run on: a Temporal dev server, and on it an engine of their own for each test."""

import asyncio
import gc
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from xdist.scheduler import LoadScopeScheduling

from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.assistants.model.turn import Model
from lockstitch.assistants.search.semantics import Semantics
from lockstitch.assistants.store import assistants, event_log
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import LoggedEvent
from lockstitch.config import Config
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, RunPolicy, ThreadRunRequest
from lockstitch.tests.postgresql_server import PostgresqlServer, started_postgresql
from lockstitch.tests.temporal_server import started_temporal
from lockstitch.tools import ToolRegistry
from lockstitch.worker import build_workers

TESTS = Path(__file__).parent

# What is tested talks to this machine alone. Whom the machine trusts takes 50 ms to load, for each client anew.
os.environ["SSL_CERT_FILE"] = str(TESTS / "data" / "nobody.pem")

ON_BOTH_DATABASES = (
    "activities/test_backend_conformance.py",
    "activities/test_event_recorder.py",
    "activities/test_local_turn.py",
    "activities/test_tool_activities.py",
    "http/test_end_to_end.py",
    "http/test_projects.py",
    "http/test_runs.py",
    "http/test_streams.py",
    "http/test_threads.py",
    "search/test_search.py",
    "store/",
)
"""What concerns the database most. The rest runs on SQLite, and on PostgreSQL where TEST_DATABASE says so."""

SHARED_STACKS = {
    "processes/test_cli.py": "a stack",
    "processes/test_console.py": "a stack",
    "processes/test_decision_links.py": "a stack",
    "processes/test_openai_sdk.py": "a stack",
    "processes/test_uploads.py": "a stack",
    "processes/test_kill.py": "a stack whose processes die",
    "processes/test_stopping.py": "a stack whose processes die",
}
"""The files whose tests run on the stack of ``processes/conftest.py``, and on which one."""

MakeDatabase = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="session")
async def temporal() -> AsyncIterator[Client]:
    """A Temporal dev server, one for all tests."""
    async with started_temporal() as client:
        yield client


@pytest.fixture(scope="session")
def workflow_sandbox() -> SandboxedWorkflowRunner:
    """What runs workflows in tests: it refuses what is not deterministic."""
    passed_through = ("lockstitch", "pydantic", "pydantic_core", "structlog", "openai", "sqlalchemy")
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*passed_through))


class Companies(LoadScopeScheduling):
    """Gives tests to one process that share what takes long to start: those of a file, and those of one stack."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0].removeprefix("tests/")
        return SHARED_STACKS.get(file, file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Have several processes run the tests company by company, in their order: the longest ones are not the last."""
    config.option.loadscopereorder = False
    return Companies(config, log)


def pytest_collection_finish() -> None:
    """Leave everything that was loaded out of garbage collections.

    Looking through it all takes up to a second, in which a process does nothing else: workflows seem to hang then.
    """
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let each test that concerns the database run on both, and the others on SQLite; or all on the one that is named.

    A test that is about one of the two says so with the mark ``on_database``.
    """
    if "database_kind" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("on_database")
    path = metafunc.definition.path.relative_to(TESTS).as_posix()
    if mark is not None:
        kinds = list(mark.args)
    elif named := os.environ.get("TEST_DATABASE"):
        kinds = [named]
    else:
        kinds = ["sqlite", "postgresql"] if path.startswith(ON_BOTH_DATABASES) else ["sqlite"]
    metafunc.parametrize("database_kind", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
def database_kind(request: pytest.FixtureRequest) -> str:
    """The kind of database that the test runs on."""
    return str(request.param)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A PostgreSQL server, one for all tests."""
    with started_postgresql() as server:
        yield server


@pytest.fixture(scope="session")
async def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of which the others on SQLite are copies: making the tables takes longer than copying them."""
    path = tmp_path_factory.mktemp("template") / "lockstitch.db"
    async with Database(f"sqlite:///{path}"):
        return path


@pytest.fixture(scope="session")
def make_database(
    request: pytest.FixtureRequest,
    database_kind: str,
    sqlite_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> MakeDatabase:
    """Make a database of the kind that the test runs on for as long as the ``with`` lasts, which has its URL.

    It has no rows; one that is ``empty`` has no tables either.
    """

    @contextmanager
    def file(*, empty: bool = False) -> Iterator[str]:
        path = tmp_path_factory.mktemp("database") / "lockstitch.db"
        if not empty:
            shutil.copyfile(sqlite_template, path)
        yield f"sqlite:///{path}"

    if database_kind == "sqlite":
        return file
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.new_database


@pytest.fixture
def database_url(make_database: MakeDatabase) -> Iterator[str]:
    """The URL of an empty database."""
    with make_database() as url:
        yield url


@pytest.fixture
def empty_database_url(make_database: MakeDatabase) -> Iterator[str]:
    """The URL of a database without tables."""
    with make_database(empty=True) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty database."""
    async with Database(database_url) as opened:
        yield opened


@dataclass
class Engine:
    """A worker with its database and a starter, as a backend service would use them."""

    starter: Starter
    database: Database
    temporal: Client
    tools: ToolRegistry
    task_queue: str

    async def assistant(self, **values: Any) -> str:
        """Create an assistant that may call every registered tool, and return its id."""
        columns = {"model": "test", "tools": self.tools.definitions(), "tool_resources": {}, "metadata": {}, **values}
        row = await self.database.write(lambda connection: assistants.create(connection, columns, int(time.time())))
        return str(row["id"])

    async def request(self, text: str, policy: RunPolicy | None = None, **parameters: Any) -> ThreadRunRequest:
        """Make a request that asks an assistant of its own ``text`` on a new thread."""
        return ThreadRunRequest(
            assistant_id=await self.assistant(),
            messages=[NewMessage(role="user", content=text)],
            policy=policy or RunPolicy(),
            **parameters,
        )

    async def events(self, run_id: str) -> list[LoggedEvent]:
        """Return the run's event log."""
        return await self.database.read(lambda connection: event_log.after(connection, run_id, 0))

    async def event_names(self, run_id: str) -> list[str]:
        """Return the names of the run's events, without their prefix; a row of deltas counts as one."""
        names = [event.event.removeprefix("thread.") for event in await self.events(run_id)]
        return [name for i, name in enumerate(names) if i == 0 or not name.endswith("delta") or names[i - 1] != name]


EngineFactory = Callable[..., AbstractAsyncContextManager[Engine]]


@pytest.fixture
def engine(temporal: Client, database: Database, workflow_sandbox: SandboxedWorkflowRunner) -> EngineFactory:
    """Start an engine with ``tools`` and a ``model``; several share the test's database, not the task queue.

    ``client`` is one of their own, where messages travel in another way.
    """

    @asynccontextmanager
    async def start(
        tools: Sequence[Any] = (),
        model: Model | None = None,
        task_queue: str | None = None,
        workers: bool = True,
        semantics: Semantics | None = None,
        client: Client | None = None,
    ) -> AsyncIterator[Engine]:
        registry = ToolRegistry(tools)
        queue = task_queue or f"test-{uuid4()}"
        config = Config(task_queue=queue)
        connected = client or temporal
        async with AsyncExitStack() as stack:
            patient = Starter(connected, task_queue=queue, decision_timeout=timedelta(minutes=1))
            starter = await stack.enter_async_context(patient)
            if workers:
                parts = (connected, config, database, model or OfflineModel(), registry)
                for worker in build_workers(*parts, workflow_runner=workflow_sandbox, semantics=semantics):
                    await stack.enter_async_context(worker)
            yield Engine(starter, database, connected, registry, queue)

    return start


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Wait until an async condition holds, and return what it returned."""

    async def wait(condition: Callable[[], Any], timeout: float = 20) -> Any:
        async with asyncio.timeout(timeout):
            while not (value := await condition()):
                await asyncio.sleep(0.01)
        return value

    return wait
