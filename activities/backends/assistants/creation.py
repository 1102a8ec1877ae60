"""Creates runs on an Assistants server so that one of ours never becomes two of theirs."""

from collections.abc import Sequence

from sqlalchemy import Connection

from lockstitch.activities.backends.assistants import bodies, story_log
from lockstitch.activities.backends.assistants.api import EventStream, JsonObject
from lockstitch.activities.backends.assistants.reading import RunReader
from lockstitch.activities.backends.assistants.story import STOPS, Story
from lockstitch.activities.messages import RunRef
from lockstitch.activities.upstream_errors import ASSISTANTS_SERVER, refusal
from lockstitch.assistants.store import upstream_runs
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.assistants.store.rows import Row
from lockstitch.errors import ApiError, UpstreamError, UpstreamRunBroken
from lockstitch.starter.contract import ThreadRunRequest

_UNREADABLE = f"{ASSISTANTS_SERVER.subject} began to stream and did not say which run it created."


class RunCreator:
    """Creates runs, finds those that were created, and takes over those that others created.

    The order is what makes it safe: the thread is written down before the run is created on it, so whoever repeats
    this looks among the thread's runs before creating another.
    """

    def __init__(self, reader: RunReader) -> None:
        self._reader = reader
        self._api = reader.api
        self._database = reader.database

    async def create(self, run_id: str, request: ThreadRunRequest) -> tuple[RunRef, EventStream | None]:
        """Create the run or find it; the stream is there where it was created just now."""
        if request.adopted_run_id is not None:
            return await self._adopt(run_id, request, request.adopted_run_id), None
        body = bodies.new_run(run_id, 0, request)  # refuses what cannot be done before anything is
        known = await self._database.read(lambda connection: upstream_runs.find(connection, run_id, 0))
        intended = known or await self._intend(run_id, request)
        run = RunRef(
            run_id=run_id,
            thread_id=intended["thread_id"],
            assistant_id=request.assistant_id,
            backend="assistants",
            tenant=request.tenant,
        )
        found = await self.find(run) if known is not None else None
        return (found, None) if found is not None else await self.create_on_thread(run, body)

    async def _intend(self, run_id: str, request: ThreadRunRequest) -> Row:
        """Write down on which thread the run will be, and create the thread where it brings messages."""
        if request.thread_id is not None:
            thread_id, told = request.thread_id, []
        else:
            thread = await self._api.create_thread(bodies.new_thread(run_id, request))
            thread_id, told = str(thread["id"]), [NewEvent("thread.created", thread)]
        return await self._database.write(lambda connection: _intend(connection, run_id, thread_id, told))

    async def find(self, run: RunRef) -> RunRef | None:
        """Return the run upstream that an earlier attempt created."""
        row = await self._database.read(lambda connection: upstream_runs.find(connection, run.run_id, run.replacement))
        if row is not None and row["upstream_id"] is not None:
            return run.model_copy(update={"upstream_id": row["upstream_id"]})
        for upstream_run in await self._api.newest_runs(run.thread_id):
            if bodies.is_marked(upstream_run, run.run_id, run.replacement):
                return await self._created(run, str(upstream_run["id"]), upstream_run)
        return None

    async def create_on_thread(self, run: RunRef, body: JsonObject) -> tuple[RunRef, EventStream | None]:
        """Create the run upstream that carries ``run``, where it was not created before."""
        stream: EventStream | None = None
        try:
            upstream_run, stream = await self._api.create_run(run.thread_id, body)
            if stream is not None:
                upstream_run = await stream.first_run()
            if upstream_run is None:
                raise UpstreamError(_UNREADABLE, retryable=True)
        except UpstreamError as error:
            if stream is not None:
                await stream.aclose()
            return await self._find_after(run, error), None
        created = await self._created(run, str(upstream_run["id"]), upstream_run)
        if stream is not None and created.upstream_id != upstream_run["id"]:
            await stream.aclose()
            await self._reader.cancel(run.model_copy(update={"upstream_id": str(upstream_run["id"])}))
            stream = None
        return created, stream

    async def _find_after(self, run: RunRef, error: UpstreamError) -> RunRef:
        """Return the run that was created although the answer was an error, or none; else raise what is wrong."""
        locked = refusal(error) == "thread_locked"
        if not locked and not error.retryable:
            raise error
        found = await self.find(run)
        if found is not None:
            return found
        if locked:  # by a run of somebody else's, which will end
            raise UpstreamError(str(error), status=error.status, code="server_error", retryable=True) from error
        raise error

    async def _created(self, run: RunRef, upstream_id: str, upstream_run: JsonObject) -> RunRef:
        """Write down which run was created, and begin to tell of it; returns the one that was written down first."""

        def write(connection: Connection) -> RunRef:
            stands = upstream_runs.created(connection, run.run_id, run.replacement, upstream_id)
            made = run.model_copy(update={"upstream_id": stands})
            story = story_log.read_story(connection, made, self._reader.handled)
            story_log.begin(connection, run.run_id, story.open(upstream_run))
            return made

        return await self._database.write(write)

    async def _adopt(self, run_id: str, request: ThreadRunRequest, upstream_id: str) -> RunRef:
        run = RunRef(
            run_id=run_id,
            thread_id=request.thread_id or "",
            assistant_id=request.assistant_id,
            backend="assistants",
            upstream_id=upstream_id,
            tenant=request.tenant,
        )
        try:
            upstream_run = (await self._reader.read(run)).run
        except UpstreamRunBroken as error:
            raise ApiError(
                f"There is no run {upstream_id} on the thread {run.thread_id} of the Assistants server, so it cannot "
                "be taken over.",
                status=404,
                param="adopted_run_id",
            ) from error
        await self._mark(run, upstream_run)
        await self._database.write(lambda connection: upstream_runs.intend(connection, run_id, 0, run.thread_id))
        await self._created(run, upstream_id, upstream_run)
        await self._tell_where_it_stands(run, upstream_run)
        return run

    async def _mark(self, run: RunRef, upstream_run: JsonObject) -> None:
        """Say in the run's metadata that it is ours now, where there is room and the server lets us."""
        metadata = {**(upstream_run.get("metadata") or {}), **bodies.marks(run.run_id, 0)}
        if metadata == upstream_run.get("metadata") or len(metadata) > bodies.MOST_METADATA:
            return
        try:
            await self._api.modify_run(run.thread_id, run.upstream_id, metadata)
        except UpstreamError as error:
            if error.retryable:
                raise

    async def _tell_where_it_stands(self, run: RunRef, upstream_run: JsonObject) -> None:
        steps, messages = await self._reader.parts(run)
        now = self._reader.now()

        def news(story: Story) -> list[NewEvent]:
            caught_up = story.catch_up(upstream_run, steps, messages)
            return [*caught_up, *story.stop(upstream_run, now)] if upstream_run["status"] in STOPS else caught_up

        await self._reader.tell(run, news)


def _intend(connection: Connection, run_id: str, thread_id: str, told: Sequence[NewEvent]) -> Row:
    known = upstream_runs.find(connection, run_id, 0)
    if known is not None:  # by an attempt that was taken for dead, on a thread of its own
        return known
    story_log.begin(connection, run_id, told)
    return upstream_runs.intend(connection, run_id, 0, thread_id)
