"""Start runs, follow them, answer them and cancel them; what a backend service imports."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import httpx2
from temporalio.api.workflowservice.v1 import ListWorkflowExecutionsRequest
from temporalio.client import (
    Client,
    Plugin,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    Priority,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from lockstitch.errors import (
    AnswerRefused,
    DecisionRefused,
    EscalationNotFound,
    KeyRefused,
    NoWorker,
    PageUnknown,
    RunBroken,
    RunFinished,
    RunNotFound,
    ServerUnreachable,
)
from lockstitch.starter import contract
from lockstitch.starter.certificates import trusted_for
from lockstitch.starter.contract import (
    OPEN_STATUSES,
    Answer,
    BackendName,
    PendingCall,
    RunEvent,
    RunPolicy,
    RunSnapshot,
    RunStatus,
    ThreadRunRequest,
    ThreadRunResult,
    ToolOutput,
)
from lockstitch.starter.earliest_runs import MOST_RUNS, earliest_runs
from lockstitch.starter.escalations import DECIDE_UPDATE, ESCALATIONS_MEMO, Decision, Escalation
from lockstitch.starter.event_stream import read_events
from lockstitch.starter.fleet import Fleet
from lockstitch.starter.identifiers import id_for_key, new_id
from lockstitch.starter.ingestion import EMBED_ANEW, INGEST_FILES, EmbedSlice, Ingestion
from lockstitch.starter.payload_check import check_payload_keys
from lockstitch.starter.payload_keys import PayloadKeys
from lockstitch.starter.payload_store import payload_store_at
from lockstitch.starter.payloads import data_converter_with
from lockstitch.starter.run_history import RunHistory, read_history
from lockstitch.starter.search_attributes import ensure_search_attributes, missing_search_attributes
from lockstitch.starter.temporal_errors import temporal_errors
from lockstitch.starter.temporal_server import DEFAULT_ADDRESS, DEFAULT_NAMESPACE, TemporalServer

MAX_ANSWER_BYTES = 512 * 1024
"""The most that the outputs of one `Starter.answer` may hold together; Temporal takes 2 MB in one message."""

DECISION_TIMEOUT = timedelta(seconds=10)
"""How long `Starter.decide` waits for a worker, if nothing else is said."""

UNKNOWN_ASSISTANT = "unknown"
"""What a run that was adopted shows as its assistant until it is known."""

DEFAULT_SERVER_URL = "http://127.0.0.1:8700"
RECONNECT_FOR = timedelta(minutes=1)
"""How long `Starter.stream` tries to reach a server that does not answer."""

_RECONNECT_PAUSE_SECONDS = 0.2
# A run that has left a long history behind is one run all the same.
_IS_A_RUN = f"WorkflowType = '{contract.THREAD_RUN}' AND ExecutionStatus != 'ContinuedAsNew'"


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some of the runs of a list.

    ``next_token`` leads to those that follow; it is empty where there are none, and where it is not there may be none
    all the same.
    """

    runs: Sequence[RunSnapshot] = ()
    next_token: bytes = b""


class Starter:
    """Starts runs and follows them.

    Everything but `stream` needs the Temporal server only: no worker has to be up for a run, an answer or a
    cancellation to be accepted. `stream` reads the event log through a Lockstitch server (``server_url``).

    ::

        async with await Starter.connect() as starter:
            result = await starter.run(ThreadRunRequest(assistant_id="asst_...", thread_id="thread_..."))
    """

    def __init__(
        self,
        client: Client,
        *,
        task_queue: str = contract.DEFAULT_TASK_QUEUE,
        server_url: str = DEFAULT_SERVER_URL,
        api_key: str | None = None,
        decision_timeout: timedelta = DECISION_TIMEOUT,
    ) -> None:
        """Use a Temporal client that exists, as `connect_temporal` makes them.

        ``decision_timeout`` is how long `decide` waits for a worker.
        """
        self._client = client
        self._task_queue = task_queue
        self._decision_timeout = decision_timeout
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx2.AsyncClient(
            base_url=server_url,
            headers=headers,
            timeout=httpx2.Timeout(10, read=60),
            trust_env=False,
            verify=trusted_for(server_url),
        )

    @classmethod
    async def connect(
        cls,
        server: TemporalServer | str = DEFAULT_ADDRESS,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        runtime: Runtime | None = None,
        plugins: Sequence[Plugin] = (),
        **options: Any,
    ) -> Self:
        """Connect to the Temporal server; ``options`` are those of the constructor.

        An address with a ``namespace`` is enough for a server without TLS, keys and encrypted payloads; ``plugins`` are
        the Temporal SDK's, such as one that carries traces into the runs. Raises
        `TemporalUnreachable`, `TemporalRefused`, `SettingsInvalid` and `PayloadError`.
        """
        named = TemporalServer(server, namespace) if isinstance(server, str) else server
        starter = cls(await connect_temporal(named, runtime, plugins), **options)
        with temporal_errors(starter._client, ""):
            await check_payload_keys(starter._client, starter._task_queue)
        return starter

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    @property
    def temporal(self) -> Client:
        """The connection to the Temporal server."""
        return self._client

    async def aclose(self) -> None:
        """Close the connections to the server; may be called twice."""
        await self._http.aclose()

    async def prepare_namespace(self) -> None:
        """Give the namespace the search attributes of runs, without which none can be started.

        Raises `SettingsInvalid` where there is no such namespace, and `SearchAttributesMissing` where they cannot be
        added from here.
        """
        with temporal_errors(self._client, ""):
            await ensure_search_attributes(self._client)

    async def lacks(self) -> Collection[str]:
        """Return the search attributes that the namespace still has to get; raises as `prepare_namespace` does."""
        with temporal_errors(self._client, ""):
            return list(await missing_search_attributes(self._client))

    def __repr__(self) -> str:
        return f"Starter(namespace={self._client.namespace!r}, task_queue={self._task_queue!r})"

    @property
    def data_converter(self) -> DataConverter:
        """What messages to the Temporal server go through."""
        return self._client.data_converter

    async def start(self, request: ThreadRunRequest, *, key: str | None = None, run_id: str | None = None) -> str:
        """Start a run and return its id.

        With a ``key``, starting again with the same key and tenant means the same run. ``run_id`` is for a run that
        has its id already.
        """
        return (await self._start(request, key, run_id)).id

    async def run(self, request: ThreadRunRequest, *, key: str | None = None) -> ThreadRunResult:
        """Start a run and wait until it has ended."""
        return await _result(self._client, await self._start(request, key))

    async def _start(
        self, request: ThreadRunRequest, key: str | None, run_id: str | None = None
    ) -> WorkflowHandle[Any, ThreadRunResult]:
        run_id = run_id or (id_for_key("run", request.tenant, key) if key else new_id("run"))
        try:
            with temporal_errors(self._client, run_id):
                return await self._client.start_workflow(
                    contract.THREAD_RUN,
                    request,
                    id=run_id,
                    task_queue=self._task_queue,
                    id_reuse_policy=_reuse_policy(request),
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    search_attributes=_search_attributes(request, run_id),
                    static_summary=_summary(request),
                    priority=Priority(priority_key=request.priority, fairness_key=_fairness_key(request.tenant)),
                    result_type=ThreadRunResult,
                )
        except WorkflowAlreadyStartedError:
            return self._handle(run_id)  # it ran and ended: asking again for the same run is no error

    async def ingest(self, ingestion: Ingestion) -> None:
        """See to it that files which were added to a vector store are ingested; what is done already is not repeated.

        The server does this for whoever adds files.
        """
        with temporal_errors(self._client, ingestion.ingestion_id):
            await self._client.start_workflow(
                INGEST_FILES,
                ingestion,
                id=ingestion.ingestion_id,
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=f"{ingestion.files} files for {ingestion.vector_store_id}",
            )

    async def embed_anew(self) -> None:
        """See to it that files get vectors of the present embedder; where that is under way, it goes on.

        The housekeeping does this once the embedder is another one.
        """
        with temporal_errors(self._client, EMBED_ANEW):
            await self._client.start_workflow(
                EMBED_ANEW,
                EmbedSlice(),
                id=f"embed-anew-{self._task_queue}",
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary="Vectors of another embedder are made anew",
            )

    async def result(self, run_id: str) -> ThreadRunResult:
        """Wait until the run has ended and return how.

        Raises `RunNotFound`, and `RunBroken` where the workflow was terminated.
        """
        return await _result(self._client, self._handle(run_id))

    async def snapshot(self, run_id: str) -> RunSnapshot:
        """Return the run as it is now; raises `RunNotFound`."""
        with temporal_errors(self._client, run_id):
            return await _snapshot(await self._handle(run_id).describe())

    async def list(
        self,
        *,
        status: RunStatus | None = None,
        thread_id: str | None = None,
        assistant_id: str | None = None,
        tenant: str | None = None,
        limit: int = 100,
    ) -> Sequence[RunSnapshot]:
        """Return runs; with ``status``, ``thread_id``, ``assistant_id`` or ``tenant`` only those.

        Open runs come first, the newest before the others, then those that have ended, the last to end before the
        others; `page` gives them page by page. The Temporal server needs a moment until a change shows here;
        `snapshot` has it at once.
        """
        query = _query(status, thread_id, assistant_id, tenant)
        if query is None:
            return []
        with temporal_errors(self._client, ""):
            found = self._client.list_workflows(query, limit=limit, page_size=min(limit, 1000))
            return [await _snapshot(execution) async for execution in found]

    async def page(
        self,
        *,
        status: RunStatus | None = None,
        thread_id: str | None = None,
        assistant_id: str | None = None,
        tenant: str | None = None,
        size: int = 100,
        token: bytes = b"",
    ) -> RunPage:
        """Return a page of the runs that `list` returns, in the same order: the first, or that of a ``token``.

        ``token`` is the ``next_token`` of the page before, which was asked for with the same filters. Raises
        `PageUnknown` where the Temporal server takes no such token.
        """
        query = _query(status, thread_id, assistant_id, tenant)
        if query is None:
            return RunPage()
        with temporal_errors(self._client, ""):
            if token:
                await self._check_page_token(query, token)
            found = self._client.list_workflows(query, page_size=size, next_page_token=token)
            await found.fetch_next_page()
            runs = [await _snapshot(execution) for execution in found.current_page or []]
        return RunPage(runs=runs, next_token=found.next_page_token or b"")

    async def _check_page_token(self, query: str, token: bytes) -> None:
        """Ask once: the Temporal server calls a token it cannot read a failure of its own, which is tried ten times."""
        asked = ListWorkflowExecutionsRequest(
            namespace=self._client.namespace, query=query, page_size=1, next_page_token=token
        )
        try:
            await self._client.workflow_service.list_workflow_executions(asked)
        except RPCError as error:
            if error.status in (RPCStatusCode.UNKNOWN, RPCStatusCode.INTERNAL, RPCStatusCode.INVALID_ARGUMENT):
                raise PageUnknown from error
            raise

    async def overdue(
        self, *, status: RunStatus | None = None, thread_id: str | None = None, limit: int = 100
    ) -> Sequence[RunSnapshot]:
        """Return open runs whose deadline has passed, the longest overdue first, with the filters of `list`.

        Where more than 5,000 are, at least the first 4,000 of them are read, or ``limit`` if that is more.
        """
        query, deadline = _query(status, thread_id), contract.DEADLINE.name
        if query is None:
            return []
        query = f"{query} AND ExecutionStatus = 'Running' AND {deadline} < '{datetime.now(UTC).isoformat()}'"
        with temporal_errors(self._client, ""):
            found = earliest_runs(self._client, query, deadline, max(limit, MOST_RUNS))
            late = sorted([execution async for execution in found], key=_deadline_of)
            return [await _snapshot(execution) for execution in late[:limit]]

    async def count(self, status: RunStatus) -> int:
        """Return how many runs have a status, in the whole namespace; one that was terminated is not open any more."""
        query = f"{_IS_A_RUN} AND LockstitchStatus = '{status}'"
        if status in OPEN_STATUSES:
            query += " AND ExecutionStatus = 'Running'"  # nobody carries a run any more that was terminated
        with temporal_errors(self._client, ""):
            return (await self._client.count_workflows(query)).count

    @property
    def fleet(self) -> Fleet:
        """What concerns all runs and workers together."""
        return Fleet(self._client, self._task_queue)

    async def carried_run_ids(self) -> frozenset[str]:
        """Return the ids of all runs that a workflow carries, as far as the server's search knows by now."""
        with temporal_errors(self._client, ""):
            found = self._client.list_workflows(f"{_IS_A_RUN} AND ExecutionStatus = 'Running'", page_size=1000)
            return frozenset([execution.id async for execution in found])

    async def is_carried(self, run_id: str) -> bool:
        """Tell whether a workflow carries the run now."""
        try:
            with temporal_errors(self._client, run_id):
                return (await self._handle(run_id).describe()).status is WorkflowExecutionStatus.RUNNING
        except RunNotFound:
            return False

    async def history(self, run_id: str) -> RunHistory:
        """Return how the run went so far, as the Temporal server knows it; raises `RunNotFound`."""
        with temporal_errors(self._client, run_id):
            return await read_history(self._client, run_id)

    async def answer(self, run_id: str, outputs: Sequence[ToolOutput]) -> None:
        """Give the run outputs of calls that wait for one (`RunSnapshot.pending_calls`); the rest may follow.

        Raises `RunNotFound`, `RunFinished`, and `AnswerRefused` where an output is for another call, is given
        twice, or is too large; nothing is taken then.
        """
        snapshot = await self.snapshot(run_id)
        if snapshot.status not in OPEN_STATUSES or snapshot.ended_at is not None:
            raise RunFinished(run_id, snapshot.status)
        _check_answer(run_id, outputs, {call.call_id for call in snapshot.pending_calls})
        await self._signal(run_id, Answer(outputs=list(outputs)))

    async def outputs_stored(self, run_id: str, call_ids: Sequence[str]) -> None:
        """Tell the run that outputs of these calls are in the store; whoever stored them has checked them."""
        await self._signal(run_id, Answer(stored_call_ids=list(call_ids)))

    async def cancel(self, run_id: str) -> None:
        """Ask the run to end as ``cancelled``; raises `RunNotFound`, and `RunFinished` where it has ended."""
        with temporal_errors(self._client, run_id):
            description = await self._handle(run_id).describe()
            if description.close_time is not None:
                raise RunFinished(run_id, (await _snapshot(description)).status)
            await self._handle(run_id).cancel()

    async def escalations(self, run_id: str | None = None, *, limit: int = 100) -> Sequence[Escalation]:
        """Return the escalations that wait for a decision, oldest first; of one run, also those that are closed.

        Of more than ``limit`` the newest are left out. Where more than 5,000 runs ask something, only those count that
        began first: 4,000 at least, or ``limit`` if that is more. Raises `RunNotFound`.
        """
        if run_id is not None:
            return (await self.snapshot(run_id)).escalations
        query = f"{_IS_A_RUN} AND ExecutionStatus = 'Running' AND {contract.NEEDS_ATTENTION.name} = true"
        with temporal_errors(self._client, ""):
            found = earliest_runs(self._client, query, "StartTime", max(limit, MOST_RUNS))
            asked = [it async for execution in found for it in await _escalations(execution) if it.is_open]
        return sorted(asked, key=lambda escalation: escalation.opened_at)[:limit]

    async def escalation(self, escalation_id: str, *, run_id: str | None = None) -> Escalation:
        """Return one escalation; ``run_id`` is needed where it is closed. Raises `EscalationNotFound`."""
        for found in await self.escalations(run_id, limit=10_000):
            if found.id == escalation_id:
                return found
        raise EscalationNotFound(escalation_id)

    async def decide(self, run_id: str, decision: Decision) -> Escalation:
        """Decide about an escalation of the run, once; a second decision is refused and changes nothing.

        Needs a worker, for only the run itself knows whether it still waits. Raises `RunNotFound`, `RunFinished`,
        `DecisionRefused`, and `NoWorker` where none answers within the ``decision_timeout``.
        """
        give_up_at = time.monotonic() + self._decision_timeout.total_seconds()
        with temporal_errors(self._client, run_id):
            while True:
                try:
                    return await self._update(run_id, decision)
                except RPCError as error:
                    # The run's step was thrown away because something else came meanwhile, and the decision with it.
                    if error.status is not RPCStatusCode.FAILED_PRECONDITION or time.monotonic() > give_up_at:
                        raise
                await asyncio.sleep(_RECONNECT_PAUSE_SECONDS)

    async def _update(self, run_id: str, decision: Decision) -> Escalation:
        try:
            closed: Escalation = await self._handle(run_id).execute_update(
                DECIDE_UPDATE, decision, result_type=Escalation, rpc_timeout=self._decision_timeout
            )
        except WorkflowUpdateFailedError as error:
            raise DecisionRefused(decision.escalation_id, _problem(error)) from error
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            raise NoWorker(run_id, self._decision_timeout.total_seconds()) from error
        return closed

    async def adopt(
        self,
        thread_id: str,
        run_id: str,
        *,
        backend: BackendName = "assistants",
        assistant_id: str = UNKNOWN_ASSISTANT,
        tenant: str = "default",
        policy: RunPolicy | None = None,
    ) -> str:
        """Take over a run that another process created, and return the id under which it goes on.

        It goes on from where it stands upstream: a run that was left in ``requires_action`` gets its calls answered. A
        run of our own store keeps its id; it is taken over only where no workflow carries it. Adopting again means the
        same run.
        """
        request = ThreadRunRequest(
            assistant_id=assistant_id,
            thread_id=thread_id,
            adopted_run_id=run_id,
            backend=backend,
            tenant=tenant,
            policy=policy or RunPolicy(),
        )
        own_id = run_id if backend == "local" else id_for_key("run", "adopted", backend, thread_id, run_id)
        return (await self._start(request, None, own_id)).id

    async def stream(self, run_id: str, *, after: int = 0) -> AsyncIterator[RunEvent]:
        """Yield the run's events that follow number ``after``, as they come, until the run has ended.

        A connection that breaks is made again, and goes on where it broke. Raises `RunNotFound`, `KeyRefused`, and
        `ServerUnreachable` where no server answers for a minute.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + RECONNECT_FOR.total_seconds()
        while True:
            try:
                async for event in self._connect_stream(run_id, after):
                    if event is None:
                        return
                    after = event.seq
                    give_up_at = loop.time() + RECONNECT_FOR.total_seconds()
                    yield event
                reason = "the stream ended early"
            except httpx2.TransportError as error:
                reason = str(error) or type(error).__name__
            if loop.time() > give_up_at:
                raise ServerUnreachable(str(self._http.base_url), reason)
            await asyncio.sleep(_RECONNECT_PAUSE_SECONDS)

    async def _connect_stream(self, run_id: str, after: int) -> AsyncIterator[RunEvent | None]:
        url = f"/v1/runs/{run_id}/events"
        async with self._http.stream("GET", url, headers={"last-event-id": str(after)}) as response:
            if response.status_code == 404:
                raise RunNotFound(run_id)
            if response.status_code == 401:
                raise KeyRefused(str(self._http.base_url))
            if response.status_code == 429 or response.status_code >= 500:
                return
            if response.status_code != 200:
                raise ServerUnreachable(str(self._http.base_url), f"it answered {response.status_code}")
            async for event in read_events(response.aiter_lines()):
                yield event

    async def _signal(self, run_id: str, answer: Answer) -> None:
        with temporal_errors(self._client, run_id):
            await self._handle(run_id).signal(contract.ANSWER_SIGNAL, answer)

    def _handle(self, run_id: str) -> WorkflowHandle[Any, ThreadRunResult]:
        return self._client.get_workflow_handle(run_id, result_type=ThreadRunResult)


async def connect_temporal(
    server: TemporalServer, runtime: Runtime | None = None, plugins: Sequence[Plugin] = ()
) -> Client:
    """Connect to a Temporal server as the starter and the worker do; ``plugins`` are the SDK's, such as for traces.

    Raises `TemporalUnreachable`, `TemporalRefused`, and `SettingsInvalid` or `PayloadStoreUnavailable` where something
    of the settings cannot be used.
    """
    tls = server.tls_config()
    keys = PayloadKeys.parse(server.payloads.keys)
    store = payload_store_at(server.payloads.store)
    if store is not None:
        await store.check()
    try:
        return await Client.connect(
            server.address,
            namespace=server.namespace,
            api_key=server.api_key or None,
            tls=tls or False,
            data_converter=data_converter_with(keys, store, server.payloads.store_over),
            runtime=runtime,
            plugins=plugins,
        )
    except (RuntimeError, ValueError) as error:  # what the SDK raises when it cannot connect, or for no address
        raise server.refusal(str(error)) from error


async def _result(client: Client, run: WorkflowHandle[Any, ThreadRunResult]) -> ThreadRunResult:
    with temporal_errors(client, run.id):
        try:
            return await run.result()
        except WorkflowFailureError as error:
            raise RunBroken(run.id, str(error.cause)) from error


def _problem(error: WorkflowUpdateFailedError) -> str:
    """Return the sentence with which the run refused; the SDK puts the name of the error's type before it."""
    return error.cause.message if isinstance(error.cause, ApplicationError) else str(error.cause)


def _check_answer(run_id: str, outputs: Sequence[ToolOutput], pending: set[str]) -> None:
    given = [output.tool_call_id for output in outputs]
    if not given:
        raise AnswerRefused(run_id, "there are none.")
    if unknown := sorted(set(given) - pending):
        raise AnswerRefused(run_id, f"it does not wait for {', '.join(unknown)}; it waits for {sorted(pending)}.")
    if len(set(given)) < len(given):
        raise AnswerRefused(run_id, "a call has two.")
    size = sum(len(output.output.encode()) for output in outputs)
    if size > MAX_ANSWER_BYTES:
        raise AnswerRefused(run_id, f"they hold {size} bytes, and {MAX_ANSWER_BYTES} is the most.")


def _search_attributes(request: ThreadRunRequest, run_id: str) -> TypedSearchAttributes:
    now = datetime.now(UTC)
    return TypedSearchAttributes(
        [
            SearchAttributePair(contract.STATUS, "queued"),
            SearchAttributePair(contract.THREAD, request.thread_id or contract.new_thread_id(run_id)),
            SearchAttributePair(contract.ASSISTANT, request.assistant_id),
            SearchAttributePair(contract.BACKEND, request.backend),
            SearchAttributePair(contract.TENANT, request.tenant),
            SearchAttributePair(contract.NEEDS_ATTENTION, False),
            SearchAttributePair(contract.STATUS_SINCE, now),
            SearchAttributePair(contract.DEADLINE, _deadline(now, request.policy)),
        ]
    )


def _deadline(now: datetime, policy: RunPolicy) -> datetime:
    try:
        return now + policy.deadline
    except OverflowError:  # of a run that may take for ever
        return datetime.max.replace(tzinfo=UTC)


def _summary(request: ThreadRunRequest) -> str:
    return f"{request.assistant_id} on {request.thread_id or 'a new thread'} ({request.backend})"


def _reuse_policy(request: ThreadRunRequest) -> WorkflowIDReusePolicy:
    """Return whether a run may begin again: only one of our own store that lost its workflow."""
    if request.backend == "local" and request.adopted_run_id is not None:
        return WorkflowIDReusePolicy.ALLOW_DUPLICATE
    return WorkflowIDReusePolicy.REJECT_DUPLICATE


def _fairness_key(tenant: str) -> str:
    """Return the tenant, cut to the 64 bytes that Temporal takes."""
    return tenant.encode()[:64].decode(errors="ignore")


def _query(
    status: str | None, thread_id: str | None, assistant_id: str | None = None, tenant: str | None = None
) -> str | None:
    """Return the query for runs that are like that; ``None`` where no run can be."""
    wanted = {"Status": status, "Thread": thread_id, "Assistant": assistant_id, "Tenant": tenant}
    given = {name: value for name, value in wanted.items() if value is not None}
    if not all(re.fullmatch(contract.NAME_PATTERN, value) for value in given.values()):
        return None  # no run has such a name, and it might mean something else inside a query
    return " AND ".join([_IS_A_RUN, *(f"Lockstitch{name} = '{value}'" for name, value in given.items())])


def _deadline_of(execution: WorkflowExecution) -> datetime:
    return execution.typed_search_attributes.get(contract.DEADLINE) or datetime.max.replace(tzinfo=UTC)


async def _escalations(execution: WorkflowExecution) -> Sequence[Escalation]:
    asked: Sequence[Escalation] = await execution.memo_value(ESCALATIONS_MEMO, default=[], type_hint=list[Escalation])
    return asked


async def _snapshot(execution: WorkflowExecution) -> RunSnapshot:
    attributes = execution.typed_search_attributes
    pending: Sequence[PendingCall] = await execution.memo_value(
        contract.PENDING_MEMO, default=[], type_hint=list[PendingCall]
    )
    status = attributes.get(contract.STATUS) or "queued"
    if execution.status not in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED):
        status = "failed"  # terminated or timed out: nobody carries the run any more
    return RunSnapshot.model_validate(
        {
            "run_id": execution.id,
            "status": status,
            "thread_id": attributes.get(contract.THREAD) or None,
            "assistant_id": attributes.get(contract.ASSISTANT),
            "backend": attributes.get(contract.BACKEND) or "local",
            "tenant": attributes.get(contract.TENANT) or "default",
            "needs_attention": attributes.get(contract.NEEDS_ATTENTION) or False,
            "pending_calls": pending,
            "escalations": await _escalations(execution),
            "started_at": execution.start_time,
            "deadline": attributes.get(contract.DEADLINE),
            "ended_at": execution.close_time,
        }
    )
