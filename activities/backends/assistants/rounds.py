"""The tool calls of a run upstream, and what they are called here."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from lockstitch.activities.messages import RunRef
from lockstitch.assistants.store import rows, tool_calls
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.schema import tool_calls as table
from lockstitch.starter.identifiers import id_for_key

JsonObject = dict[str, Any]


class PendingCall(NamedTuple):
    """A call that a run upstream asks outputs for; ``call_id`` is ours, ``upstream_id`` the upstream's own."""

    call_id: str
    upstream_id: str
    name: str
    arguments: str


class CallNames:
    """Gives every call of a run an id that means this call only.

    A run that takes another's place, and some servers in every round, number their calls anew; within our run, an id
    has to mean one call. The same call gets the same id whenever it is asked for.
    """

    def __init__(self, run: RunRef, known: Collection[Row]) -> None:
        self._run = run
        self._owners = {row["call_id"]: (row["upstream_id"], row["step_id"]) for row in known}

    def own(self, step_id: str, call_id: str) -> str:
        """Return our id of a call of a step."""
        owner = (self._run.upstream_id, stored_step_id(self._run, step_id))
        name = next(name for name in self._candidates(call_id) if self._owners.get(name, owner) == owner)
        self._owners[name] = owner
        return name

    def _candidates(self, call_id: str) -> Iterator[str]:
        yield call_id
        yield f"{call_id}~{self._run.replacement}"
        count = 1
        while True:
            yield f"{call_id}~{self._run.replacement}.{count}"
            count += 1


def stored_step_id(run: RunRef, step_id: str) -> str:
    """Return what a step is called in the table of tool calls.

    Where the upstream is this very server, its own calls of the step stand in the same table under the step's id.
    """
    return id_for_key("step", run.run_id, step_id)


def requested_calls(upstream_run: Mapping[str, Any]) -> list[JsonObject]:
    """Return the calls that a run object asks outputs for."""
    action = upstream_run.get("required_action") or {}
    return list((action.get("submit_tool_outputs") or {}).get("tool_calls") or ())


def pending_calls(upstream_run: Mapping[str, Any], step_id: str, names: CallNames) -> list[PendingCall]:
    """Return the round of calls at which a run has stopped, with our ids."""
    return [
        PendingCall(
            names.own(step_id, call["id"]),
            call["id"],
            call["function"]["name"],
            call["function"].get("arguments") or "",
        )
        for call in requested_calls(upstream_run)
    ]


def round_step_id(upstream_run: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the id of the step that made the calls at which the run has stopped; ``None`` where it is not there."""
    wanted = {call["id"] for call in requested_calls(upstream_run)}
    opened = [step for step in steps if step.get("type") == "tool_calls" and step.get("status") == "in_progress"]
    for step in reversed(opened):
        details = step.get("step_details") or {}
        calls = {call.get("id") for call in details.get("tool_calls") or ()}
        if not calls or wanted <= calls:
            return str(step["id"])
    return None


def of_run(connection: Connection, run_id: str) -> Sequence[Row]:
    """Return all calls of the run, whichever run upstream made them."""
    return rows.find(connection, table, "position", run_id=run_id)


def record_round(connection: Connection, run: RunRef, step_id: str, calls: Sequence[PendingCall]) -> None:
    """Write the calls of a round into the store; those that are there are left as they are."""
    missing = [
        {
            "run_id": run.run_id,
            "call_id": call.call_id,
            "thread_id": run.thread_id,
            "step_id": stored_step_id(run, step_id),
            "position": position,
            "name": call.name,
            "arguments": call.arguments,
            "upstream_id": run.upstream_id,
        }
        for position, call in enumerate(calls)
        if tool_calls.get(connection, run.run_id, call.call_id) is None
    ]
    if missing:
        tool_calls.add(connection, missing)
