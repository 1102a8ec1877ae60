"""Everything that is known of one run: from the Temporal server, and from the store."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from lockstitch.assistants.http.services import Services
from lockstitch.assistants.store import steps, tool_calls, webhook_deliveries
from lockstitch.assistants.store.rows import Row
from lockstitch.errors import RunBroken, RunNotFound
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import RunSnapshot, ThreadRunResult
from lockstitch.starter.run_history import MOST_EVENTS, RunHistory

# Other workflows have ids of other kinds, and are no runs.
_RUN_ID = re.compile(r"run_[A-Za-z0-9_-]{1,60}")


@dataclass(frozen=True, slots=True)
class Dossier:
    """One run."""

    snapshot: RunSnapshot
    history: RunHistory
    result: ThreadRunResult | None = None
    """Of a run that has ended."""
    broken: str | None = None
    """Why a run that has ended has no result."""
    calls: Sequence[Row] = ()
    deliveries: Sequence[Row] = ()
    message_ids: Sequence[str] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Of the calls about which somebody has to decide, by the calls' ids."""


def checked_run_id(run_id: str) -> str:
    """Return the id if a run can have it; raises `RunNotFound`."""
    if not _RUN_ID.fullmatch(run_id):
        raise RunNotFound(run_id)
    return run_id


async def read_dossier(services: Services, run_id: str) -> Dossier:
    """Read what is known of a run; raises `RunNotFound`, `TemporalUnreachable` and `StoreUnavailable`."""
    snapshot, history = await asyncio.gather(services.starter.snapshot(run_id), services.starter.history(run_id))
    result, broken = None, None
    if snapshot.ended_at is not None:
        result, broken = await _result(services.starter, run_id)
    order = {it.summary.rpartition(" ")[2]: place for place, it in enumerate(history.activities)}
    asked_about = {asked.call_id for asked in snapshot.escalations if asked.is_open}

    def read(connection: Connection) -> Dossier:
        found = [(call_id, tool_calls.get(connection, run_id, call_id)) for call_id in asked_about]
        return Dossier(
            snapshot,
            history,
            result,
            broken,
            sorted(
                tool_calls.outcomes_of_run(connection, run_id), key=lambda call: order.get(call["call_id"], MOST_EVENTS)
            ),
            webhook_deliveries.of_run(connection, run_id),
            [step["message_id"] for step in steps.of_run(connection, run_id) if step["message_id"]],
            {call_id: call["arguments"] for call_id, call in found if call is not None},
        )

    return await services.database.read(read)


async def _result(starter: Starter, run_id: str) -> tuple[ThreadRunResult | None, str | None]:
    try:
        return await starter.result(run_id), None
    except RunBroken as error:
        return None, str(error)
