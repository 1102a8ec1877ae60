"""A real HTTP server on a real database and a real Temporal server, and a worker that does what a test says."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from jsonschema import Draft202012Validator
from openai import AsyncOpenAI
from sqlalchemy import Connection
from temporalio.client import Client

from lockstitch.activities.backends.local_turn import TurnWriter
from lockstitch.assistants.delivery import CommandDelivery
from lockstitch.assistants.embedding.embedder import Embedder
from lockstitch.assistants.http.app import PATIENCE, build_app
from lockstitch.assistants.http.keyring import Keyring
from lockstitch.assistants.http.open_streams import OpenStreams
from lockstitch.assistants.http.request_heads import guarded_protocol
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.assistants.model.turn import ArgumentsDelta, CallStarted, ModelEvent, TextDelta, TurnFinished, Usage
from lockstitch.assistants.search.query import Search
from lockstitch.assistants.search.semantics import Semantics, open_vector_index
from lockstitch.assistants.store import event_log, runs, steps, vector_store_files
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_feed import EventFeed
from lockstitch.assistants.store.vector_store_files import Chunk
from lockstitch.config import Config
from lockstitch.probes import listen, serving
from lockstitch.starter.client import Starter
from lockstitch.tests.api_description import API_DESCRIPTION
from lockstitch.tools import ToolRegistry
from lockstitch.worker import build_workers

HEADERS = {"openai-beta": "assistants=v2"}
SAID = (TextDelta("Hello"), TextDelta(" there"), TurnFinished("stop", Usage(prompt_tokens=7, completion_tokens=2)))
ASKED = (
    CallStarted(0, "call_a", "get_weather"),
    ArgumentsDelta(0, '{"city":'),
    ArgumentsDelta(0, '"Oslo"}'),
    CallStarted(1, "call_b", "get_weather"),
    ArgumentsDelta(1, '{"city":"Rome"}'),
    TurnFinished("tool_calls", Usage(prompt_tokens=9, completion_tokens=4)),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The SDK says "deprecated" of every method that these tests are about."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning"))


@dataclass
class HandWorker:
    """Does with a run what a worker does, one turn at a time, when a test asks for it."""

    database: Database
    attempt: int = 1

    async def take_turn(self, run_id: str, turn: Iterable[ModelEvent], *, number: int = 1) -> None:
        """Write one turn of the model, each event in a transaction of its own."""
        row = await self.database.read(lambda connection: runs.find(connection, run_id))
        broken = await self.database.read(lambda connection: steps.open_steps(connection, run_id))
        writer = TurnWriter(row, number, handled=(), taken=(), broken=broken)
        fence = await self.database.write(lambda connection: event_log.claim(connection, run_id))
        await self._record(run_id, fence, writer.begin)
        for event in turn:
            for progress in writer.write(event):
                await self._record(run_id, fence, progress)

    async def say(self, run_id: str, **options: Any) -> None:
        """Answer and complete the run."""
        await self.take_turn(run_id, SAID, **options)

    async def begin_to_say(self, run_id: str, **options: Any) -> None:
        """Begin an answer and leave it unfinished."""
        await self.take_turn(run_id, SAID[:1], **options)

    async def ask(self, run_id: str, **options: Any) -> None:
        """Call two functions that nobody handles here, so that the run requires action."""
        await self.take_turn(run_id, ASKED, **options)

    async def end(self, run_id: str, status: Any, **values: Any) -> None:
        """End the run in another way than by an answer."""
        await self.database.write(lambda connection: runs.end(connection, run_id, status, int(time.time()), **values))

    async def ingest(self, ingestion_id: str) -> None:
        """Put "one" into the vector store as the text of each file of an ingestion."""

        def write(connection: Connection) -> None:
            while (file := vector_store_files.begin_next(connection, ingestion_id, 0, 1)) is not None:
                vector_store_files.complete(connection, file, [Chunk(0, "one", ["one"])])

        await self.database.write(write)

    async def _record(self, run_id: str, fence: int, progress: Any) -> None:
        def write(connection: Connection) -> None:
            events = progress(connection)
            event_log.append(connection, run_id, events, fence=fence, attempt=self.attempt)

        await self.database.write(write)


@dataclass
class Server:
    """A server that is up."""

    url: str
    services: Services
    worker: HandWorker

    @property
    def database(self) -> Database:
        return self.services.database


@asynccontextmanager
async def running_server(
    temporal: Client,
    url: str,
    task_queue: str | None = None,
    *,
    keyring: Callable[[Database], Keyring] = Keyring,
    streams: OpenStreams | None = None,
    patience: timedelta = PATIENCE,
    embedder: Embedder | None = None,
    runs_code: bool = False,
    codec_origins: Sequence[str] = (),
) -> AsyncIterator[Server]:
    """Serve a database."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(url))
        feed = await stack.enter_async_context(EventFeed(database))
        starter = await stack.enter_async_context(Starter(temporal, task_queue=task_queue or f"test-{uuid4()}"))
        delivery = CommandDelivery(database, starter)
        semantics = embedder and Semantics(embedder, await open_vector_index(database, upgrades=True))
        options = {"streams": streams or OpenStreams(), "search": Search(semantics), "runs_code": runs_code}
        services = Services(database, feed, delivery, starter, codec_origins=codec_origins, **options)
        listener = listen("127.0.0.1", 0, purpose="a test", option="nothing")
        app = build_app(services, keyring(database), patience=patience)
        await stack.enter_async_context(serving(app, listener, guarded_protocol(patience)))
        stack.callback(feed.dismiss)
        host, port = listener.getsockname()
        yield Server(f"http://{host}:{port}", services, HandWorker(database))


@pytest.fixture(scope="session")
async def server(temporal: Client, make_database: Callable[..., Any]) -> AsyncIterator[Server]:
    """A server, one for all tests on one kind of database."""
    with make_database() as url:
        async with running_server(temporal, url) as up:
            yield up


@pytest.fixture
def another_server(temporal: Client, database_url: str) -> Callable[..., Any]:
    """Start a server of one's own, on another Temporal server where one is given."""
    return lambda client=temporal, **options: running_server(client, database_url, **options)


@pytest.fixture(scope="session")
def problems_with() -> Callable[[str, Any], list[str]]:
    """Tell what about a value does not fit a schema of the API's published description."""

    def find(schema: str, value: Any) -> list[str]:
        reference = {"$ref": f"#/components/schemas/{schema}", "components": API_DESCRIPTION["components"]}
        errors = Draft202012Validator(reference).iter_errors(value)
        return [f"{error.json_path}: {error.message[:300]}" for error in errors]

    return find


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """Start a server on a database of one's own."""
    return running_server


@pytest.fixture(scope="session")
def worker(server: Server) -> HandWorker:
    return server.worker


@pytest.fixture(scope="session")
async def client(server: Server) -> AsyncIterator[AsyncOpenAI]:
    """The SDK, as programs use it."""
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="anything", max_retries=0) as opened:
        yield opened


@pytest.fixture(scope="session")
async def ingesting(temporal: Client, make_database: Callable[..., Any]) -> AsyncIterator[AsyncOpenAI]:
    """The SDK on a server of its own, with a real worker."""
    queue = f"test-{uuid4()}"
    async with AsyncExitStack() as stack:
        url = stack.enter_context(make_database())
        up = await stack.enter_async_context(running_server(temporal, url, task_queue=queue))
        parts = (temporal, Config(task_queue=queue), up.database, OfflineModel(), ToolRegistry())
        for each in build_workers(*parts):
            await stack.enter_async_context(each)
        yield await stack.enter_async_context(AsyncOpenAI(base_url=f"{up.url}/v1", api_key="anything", max_retries=0))


@pytest.fixture(scope="session")
async def http(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    """HTTP without the SDK."""
    async with httpx2.AsyncClient(base_url=server.url, headers=HEADERS, trust_env=False) as opened:
        yield opened


@dataclass
class Frame:
    """One event of a stream, as it was sent."""

    event: str
    data: Any
    id: int | None = None
    attempt: int = 1


@dataclass
class Stream:
    """A stream that is being read; comments are counted."""

    response: httpx2.Response
    comments: list[str] = field(default_factory=list)

    async def __aiter__(self) -> AsyncIterator[Frame]:
        fields: dict[str, str] = {}
        async for line in self.response.aiter_lines():
            if line.startswith(":"):
                self.comments.append(line)
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                yield _frame(fields)
                fields = {}


def _frame(fields: dict[str, str]) -> Frame:
    data = fields["data"] if fields["data"] == "[DONE]" else json.loads(fields["data"])
    number = int(fields["id"]) if "id" in fields else None
    return Frame(fields["event"], data, number, int(fields.get("attempt", "1")))


@pytest.fixture(scope="session")
def open_stream(http: httpx2.AsyncClient) -> Callable[..., Any]:
    """Open a stream of events by path (and body, where it is a POST)."""

    @asynccontextmanager
    async def open_it(
        path: str, body: Any = None, headers: dict[str, str] | None = None, url: str = ""
    ) -> AsyncIterator[Stream]:
        method = "GET" if body is None else "POST"
        async with http.stream(method, url + path, json=body, headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            yield Stream(response)

    return open_it


@pytest.fixture(scope="session")
def read_stream(open_stream: Callable[..., Any]) -> Callable[..., Awaitable[list[Frame]]]:
    """Read a stream to its end."""

    async def read(*args: Any, **options: Any) -> list[Frame]:
        async with open_stream(*args, **options) as stream:
            return [frame async for frame in stream]

    return read


@pytest.fixture
async def assistant(client: AsyncOpenAI) -> Any:
    """An assistant that may call a function."""
    function = {"type": "function", "function": {"name": "get_weather"}}
    return await client.beta.assistants.create(model="test", name="Helper", tools=[function])


@pytest.fixture
async def thread(client: AsyncOpenAI) -> Any:
    """A thread on which somebody has asked something."""
    return await client.beta.threads.create(messages=[{"role": "user", "content": "Hi"}])


@pytest.fixture
async def file_id(client: AsyncOpenAI) -> str:
    """The id of a file that was uploaded."""
    return (await client.files.create(file=("a.png", b"1"), purpose="vision")).id


@pytest.fixture
async def run(client: AsyncOpenAI, assistant: Any, thread: Any) -> Any:
    """A run that is queued."""
    return await client.beta.threads.runs.create(thread.id, assistant_id=assistant.id)
