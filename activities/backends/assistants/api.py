"""The Assistants API of another server, as much of it as a run needs, over the openai SDK.

Objects stay what they are on the wire: older and other servers leave fields out that types would ask for. Errors are
translated and counted here; the SDK does not try anything again by itself. Importing this module takes two seconds,
because it imports openai: only import it where a server is used.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, cast
from urllib.parse import quote

import openai

from lockstitch import telemetry
from lockstitch.activities.upstream_errors import ASSISTANTS_SERVER, translate
from lockstitch.errors import UpstreamError

JsonObject = dict[str, Any]

ANSWER_WITHIN = timedelta(seconds=60)
"""How long the server may take for an answer, or for the first event of a stream."""

PAGE = 100
"""The most objects that one page may have, by the API."""

_CONNECT_WITHIN = timedelta(seconds=10)
_STREAM_MAY_BE_SILENT = timedelta(minutes=10)
"""Longer than any patience: whoever follows a stream looks after the run while nothing comes."""

_POLL_AFTER = timedelta(seconds=1)
_SOONEST_POLL, _LATEST_POLL = timedelta(milliseconds=100), timedelta(seconds=10)
_FAILURES = (openai.OpenAIError, TimeoutError, ValueError)
"""What a request and its answer can raise; `ValueError` is an answer that is no JSON."""


class StreamEvent(NamedTuple):
    """An event of a stream as the server sent it."""

    event: str
    data: JsonObject

    @property
    def is_about_the_run(self) -> bool:
        """Whether ``data`` is the run, and not a step or a message of it."""
        return self.event.startswith("thread.run.") and not self.event.startswith("thread.run.step.")


class PolledRun(NamedTuple):
    """A run, and when the server wants to be asked again."""

    run: JsonObject
    poll_after: timedelta


class EventStream:
    """The events that answer one request, sent at ``asked`` (monotonic seconds). It can be closed twice."""

    def __init__(self, events: openai.AsyncStream[object], operation: str, backend: str, asked: float) -> None:
        self._events = events
        self._operation = operation
        self._backend = backend
        self._asked = asked
        self._read: deque[StreamEvent] = deque()
        self._first_token = False

    async def first_run(self) -> JsonObject | None:
        """Read up to the first event that is about the run and return the run; ``None`` where none comes.

        What was read is still there for `next`. Raises `UpstreamError`.
        """
        try:
            async with asyncio.timeout(ANSWER_WITHIN.total_seconds()):
                while (event := await self._receive()) is not None:
                    self._read.append(event)
                    if event.is_about_the_run:
                        return event.data
        except TimeoutError as error:
            raise translate(error, ASSISTANTS_SERVER) from error
        return None

    async def next(self) -> StreamEvent | None:
        """Return the next event, ``None`` after the last; raises `UpstreamError` where the stream breaks off."""
        event = self._read.popleft() if self._read else await self._receive()
        if event is not None and event.event.endswith(".delta") and not self._first_token:
            self._first_token = True
            telemetry.TIME_TO_FIRST_TOKEN.labels(self._backend).observe(time.monotonic() - self._asked)
        return event

    async def aclose(self) -> None:
        """Close the connection; the run goes on."""
        await self._events.close()

    async def _receive(self) -> StreamEvent | None:
        try:
            while True:
                event = _event(await anext(self._events))
                if event is not None:
                    return event
        except StopAsyncIteration:
            return None
        except _FAILURES as error:
            failed = translate(error, ASSISTANTS_SERVER)
            _count(self._backend, f"{self._operation}_stream", failed)
            raise failed from error


class AssistantsApi:
    """A client of one server; ``backend`` is what metrics call it.

    With an ``api_version`` it is addressed as Azure is: ``base_url`` is the resource's, requests go to its
    ``/openai`` with the version in the query, and the key is sent as ``api-key``. An empty ``api_key`` means that
    the server asks for none.
    """

    def __init__(self, *, base_url: str, api_key: str, api_version: str = "", backend: str = "assistants") -> None:
        limits = _limits(ANSWER_WITHIN)
        self._backend = backend
        self._headers: dict[str, Any] = {"OpenAI-Beta": "assistants=v2"}
        if api_version:
            base_url = _azure_url(base_url)
            self._headers |= {"api-key": api_key, "Authorization": openai.Omit()}
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key or "none",  # servers without keys take any, and the SDK wants one
            default_query={"api-version": api_version} if api_version else None,
            timeout=limits,
            max_retries=0,
            http_client=openai.DefaultAioHttpClient(timeout=limits),
        )
        # Where the constructor gets None, it reads the environment, and that is done elsewhere.
        self._client.organization = None
        self._client.project = None

    def __repr__(self) -> str:
        return f"AssistantsApi({str(self._client.base_url)!r})"

    async def aclose(self) -> None:
        """Close the connections; may be called twice."""
        await self._client.close()

    async def create_thread(self, body: JsonObject) -> JsonObject:
        """Create a thread."""
        return (await self._request("create_thread", "POST", "/threads", body=body))[0]

    async def create_run(self, thread_id: str, body: JsonObject) -> tuple[JsonObject | None, EventStream | None]:
        """Create a run; returns its stream, or the run from a server that does not stream."""
        return await self._stream("create_run", _path("threads", thread_id, "runs"), body)

    async def submit(
        self, thread_id: str, run_id: str, outputs: list[JsonObject]
    ) -> tuple[JsonObject | None, EventStream | None]:
        """Give a run its tool outputs; returns what `create_run` does."""
        path = _path("threads", thread_id, "runs", run_id, "submit_tool_outputs")
        return await self._stream("submit_tool_outputs", path, {"tool_outputs": outputs})

    async def run(self, thread_id: str, run_id: str) -> PolledRun:
        """Read a run."""
        run, headers = await self._request("retrieve_run", "GET", _path("threads", thread_id, "runs", run_id))
        return PolledRun(run, _poll_after(headers))

    async def modify_run(self, thread_id: str, run_id: str, metadata: Mapping[str, str]) -> None:
        """Change a run's metadata."""
        path = _path("threads", thread_id, "runs", run_id)
        await self._request("modify_run", "POST", path, body={"metadata": dict(metadata)})

    async def cancel(self, thread_id: str, run_id: str) -> None:
        """Ask the server to cancel a run."""
        await self._request("cancel_run", "POST", _path("threads", thread_id, "runs", run_id, "cancel"))

    async def newest_runs(self, thread_id: str) -> list[JsonObject]:
        """Read the last runs of a thread, newest first."""
        path = _path("threads", thread_id, "runs")
        return _data((await self._request("list_runs", "GET", path, query={"limit": PAGE, "order": "desc"}))[0])

    async def newest_step(self, thread_id: str, run_id: str) -> JsonObject | None:
        """Read the last step of a run."""
        path, query = _path("threads", thread_id, "runs", run_id, "steps"), {"limit": 1, "order": "desc"}
        found = _data((await self._request("list_steps", "GET", path, query=query))[0])
        return found[0] if found else None

    async def steps(self, thread_id: str, run_id: str) -> list[JsonObject]:
        """Read all steps of a run, oldest first."""
        return await self._all("list_steps", _path("threads", thread_id, "runs", run_id, "steps"), {})

    async def messages(self, thread_id: str, run_id: str) -> list[JsonObject]:
        """Read the messages that a run wrote, oldest first."""
        found = await self._all("list_messages", _path("threads", thread_id, "messages"), {"run_id": run_id})
        return [message for message in found if message.get("run_id") == run_id]  # not every server knows the filter

    async def _all(self, operation: str, path: str, query: JsonObject) -> list[JsonObject]:
        found: list[JsonObject] = []
        while True:
            after = {"after": found[-1]["id"]} if found else {}
            asked = {**query, "limit": PAGE, "order": "asc", **after}
            page, _ = await self._request(operation, "GET", path, query=asked)
            found += _data(page)
            if not page.get("has_more") or not _data(page):
                return found

    async def _request(
        self, operation: str, method: str, path: str, *, body: JsonObject | None = None, query: JsonObject | None = None
    ) -> tuple[JsonObject, Mapping[str, str]]:
        """Send a request, and return the object that answers it with the headers."""
        options: Any = {"headers": {**self._headers, "X-Stainless-Raw-Response": "true"}, "params": query or {}}
        async with self._counted(operation):
            answer = await (
                self._client.get(path, cast_to=object, options=options)
                if method == "GET"
                else self._client.post(path, cast_to=object, body=body or {}, options=options)
            )
            raw = cast("Any", answer)  # what the SDK returns for this header has the headers of the answer too
            return _object(raw.parse()), raw.headers

    async def _stream(
        self, operation: str, path: str, body: JsonObject
    ) -> tuple[JsonObject | None, EventStream | None]:
        asked = time.monotonic()
        async with self._counted(operation):
            events = await self._client.post(
                path,
                body={**body, "stream": True},
                cast_to=object,
                options={"headers": self._headers, "timeout": _limits(_STREAM_MAY_BE_SILENT)},
                stream=True,
                stream_cls=openai.AsyncStream[object],
            )
            if "json" in events.response.headers.get("content-type", ""):
                await events.response.aread()
                return _object(events.response.json()), None
        return None, EventStream(events, operation, self._backend, asked)

    @asynccontextmanager
    async def _counted(self, operation: str) -> AsyncIterator[None]:
        with _translated(self._backend, operation):
            async with asyncio.timeout(ANSWER_WITHIN.total_seconds()):
                yield


@contextmanager
def _translated(backend: str, operation: str) -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        failed = translate(error, ASSISTANTS_SERVER)
        _count(backend, operation, failed)
        raise failed from error
    _count(backend, operation)


def _count(backend: str, operation: str, failed: UpstreamError | None = None) -> None:
    status = 200 if failed is None else failed.status
    telemetry.UPSTREAM_REQUESTS.labels(backend, operation, "none" if status is None else str(status)).inc()


def _limits(silence: timedelta) -> openai.Timeout:
    return openai.Timeout(silence.total_seconds(), connect=_CONNECT_WITHIN.total_seconds())


def _path(*segments: str) -> str:
    """Return a path; an id comes from a caller, and must not lead anywhere else."""
    if any(segment in ("", ".", "..") for segment in segments):
        raise UpstreamError(f"{'/'.join(segments)!r} is no path of the Assistants API.", retryable=False)
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)


def _azure_url(base_url: str) -> str:
    """Return where a resource's Assistants API is: under ``/openai``, and under no deployment."""
    base_url = base_url.rstrip("/")
    return base_url if base_url.endswith("/openai") else f"{base_url}/openai"


def _poll_after(headers: Mapping[str, str]) -> timedelta:
    try:
        wait = timedelta(milliseconds=float(headers["openai-poll-after-ms"]))
    except (KeyError, ValueError, OverflowError):
        return _POLL_AFTER
    return min(max(wait, _SOONEST_POLL), _LATEST_POLL)


def _event(received: object) -> StreamEvent | None:
    """Return what the SDK read, where it is an event of the Assistants API."""
    if not isinstance(received, dict):
        return None
    event, data = received.get("event"), received.get("data")
    return StreamEvent(event, data) if isinstance(event, str) and isinstance(data, dict) and "id" in data else None


def _object(answer: object) -> JsonObject:
    if not isinstance(answer, dict):
        raise ValueError("it is no JSON object")
    return answer


def _data(page: JsonObject) -> list[JsonObject]:
    found = page.get("data")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
