"""Removes a thread for good: from the Temporal server, and from the store with its files."""

from collections.abc import Collection
from dataclasses import dataclass, field

from lockstitch.assistants.store import purging
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.purging import Holdings, Removal
from lockstitch.errors import ThreadBusy
from lockstitch.starter.thread_traces import Execution, ThreadTraces, in_order


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a thread: in the store, and the executions of workflows."""

    holdings: Holdings
    executions: list[Execution] = field(default_factory=list)
    open_run_ids: frozenset[str] = frozenset()

    @property
    def workflow_ids(self) -> frozenset[str]:
        """The workflows that there are, and those that there were."""
        return self.holdings.run_ids | self.holdings.ingestion_ids | {it.workflow_id for it in self.executions}

    @property
    def counts(self) -> dict[str, int]:
        """How much that is, by table, and ``workflows``."""
        return {**self.holdings.counts, "workflows": len(self.executions)}


class ThreadPurge:
    """Looks for what there is of threads, and removes it.

    Every step may be done again, and what tells of the others goes last: purging a thread again finishes what was
    interrupted. ``with_files`` takes what users uploaded for the thread too (`purging.holdings`).
    """

    def __init__(self, database: Database, traces: ThreadTraces, *, with_files: bool = False) -> None:
        self._database = database
        self._traces = traces
        self._with_files = with_files

    async def look(self, thread_id: str) -> Found:
        """Return what there is of the thread, and which of its runs are open."""
        carried = await self._traces.run_ids(thread_id)
        holdings = await self._database.read(
            lambda connection: purging.holdings(connection, thread_id, carried, with_files=self._with_files), long=True
        )
        known = holdings.run_ids | holdings.ingestion_ids
        newest = [it for each in sorted(known) if (it := await self._traces.newest(each)) is not None]
        open_ids = {it.workflow_id for it, is_open in newest if is_open} & holdings.run_ids
        if holdings.active_run_id is not None:
            open_ids.add(holdings.active_run_id)
        executions = {it for it, _ in newest} | set(await self._traces.executions(known))
        return Found(holdings, in_order(executions), frozenset(open_ids))

    async def remove(self, thread_id: str, *, cancel_open: bool = False) -> dict[str, int]:
        """Remove the thread and return how much that was, by table, ``workflows`` and ``payloads`` outside of Temporal.

        Open runs are cancelled where ``cancel_open`` says so. Raises `ThreadBusy` where it does not, or where a run
        begins meanwhile; `TemporalKeeps` where the Temporal server does not get through in time; what was not removed
        by then is there for another time.
        """
        found = await self.look(thread_id)
        if found.open_run_ids:
            if not cancel_open:
                raise ThreadBusy(thread_id, found.open_run_ids)
            await self._traces.cancel(found.open_run_ids)
            found = await self.look(thread_id)  # ending, they have written more
        workflow_ids = (
            {it.workflow_id for it in found.executions} | found.holdings.run_ids | found.holdings.ingestion_ids
        )
        payloads = await self._traces.delete_payloads(workflow_ids)
        await self._traces.delete(found.executions)
        await self._empty(thread_id, found.holdings)
        if begun := await self._traces.run_ids(thread_id):  # the server's search did not know of it before
            raise ThreadBusy(thread_id, begun)
        return {**found.counts, "payloads": payloads}

    async def _empty(self, thread_id: str, holdings: Holdings) -> None:
        await self._each(purging.remove_file, holdings.file_ids)
        await self._each(purging.remove_vector_store, holdings.vector_store_ids)
        await self._each(purging.remove_run, sorted(holdings.run_ids))
        left = await self._database.write(lambda connection: purging.remove_thread(connection, thread_id), long=True)
        if left:
            raise ThreadBusy(thread_id, left)
        if holdings.vector_store_ids or holdings.file_ids:
            await self._database.write(purging.forget_words, long=True)

    async def _each(self, remove: Removal, object_ids: Collection[str]) -> None:
        """Remove objects, each in a transaction of its own: nobody else should have to wait for all of them."""
        for object_id in object_ids:
            await self._database.write(
                lambda connection, it=object_id: remove(connection, it),  # type: ignore[misc]
                long=True,
            )
