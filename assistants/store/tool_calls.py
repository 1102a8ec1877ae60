"""The tool calls of runs and what became of each. An output is written once and never changed."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, or_, select, update

from lockstitch.assistants.store import rows
from lockstitch.assistants.store.prepared import Prepared
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.schema import tool_calls

_BEGIN_ATTEMPT = Prepared(
    update(tool_calls)
    .where(
        tool_calls.c.run_id == bindparam("run"),
        tool_calls.c.call_id == bindparam("call"),
        tool_calls.c.output.is_(None),
    )
    .values(attempts=tool_calls.c.attempts + 1)
    .returning(tool_calls)
)
_OUTCOMES = Prepared(
    select(*(tool_calls.c[name] for name in ("call_id", "name", "outcome", "attempts", "duration_ms")))
    .where(tool_calls.c.run_id == bindparam("run"))
    .order_by(tool_calls.c.step_id, tool_calls.c.position)
)
_UNANSWERED = Prepared(
    select(tool_calls.c.call_id)
    .where(tool_calls.c.run_id == bindparam("run"), tool_calls.c.output.is_(None))
    .order_by(tool_calls.c.position)
)


# A thread has one run at a time, so all its other steps are earlier ones.
_SEARCHES_BEFORE = Prepared(
    select(func.count(tool_calls.c.call_id)).where(
        tool_calls.c.thread_id == bindparam("thread_id"),
        tool_calls.c.type == bindparam("type"),
        or_(tool_calls.c.step_id != bindparam("step_id"), tool_calls.c.position < bindparam("position")),
    )
)


def add(connection: Connection, calls: Sequence[Row]) -> None:
    """Record the calls of a step, which have no output yet."""
    rows.put(connection, tool_calls, *calls)


def get(connection: Connection, run_id: str, call_id: str) -> Row | None:
    """Return one call."""
    return rows.get(connection, tool_calls, run_id=run_id, call_id=call_id)


def begin_attempt(connection: Connection, run_id: str, call_id: str) -> Row | None:
    """Count one more attempt of a handler and return the call; a call that has an output is left as it is.

    The attempt is taken for one whose outcome is unknown until `end_attempt` or `settle` tells how it ended.
    """
    return _BEGIN_ATTEMPT.one(connection, {"run": run_id, "call": call_id}) or get(connection, run_id, call_id)


def end_attempt(connection: Connection, run_id: str, call_id: str, attempt: int) -> None:
    """Take note that the attempt failed, so that its outcome is known."""
    rows.overwrite(connection, tool_calls, {"run_id": run_id, "call_id": call_id}, {"ended_attempt": attempt})


def outcomes_of_run(connection: Connection, run_id: str) -> Sequence[Row]:
    """Return what became of each call of the run, in the order in which the model made them, without any content."""
    return _OUTCOMES.all(connection, {"run": run_id})


def earlier_outcome_is_unknown(call: Row) -> bool:
    """Tell of a call whose attempt has begun whether it is unknown what the attempt before did."""
    return bool(call["ended_attempt"] < call["attempts"] - 1)


def recognise_repeats(connection: Connection, run_id: str, upstream_id: str) -> list[str]:
    """Find the calls of a run upstream that repeat calls of a run whose place it took, and reuse what is known.

    The same function with the same arguments is the same work, each call of the replaced run counting once: an output
    is taken over, and where its handler gave none, what is known of the attempts. Returns the ids of the calls that
    got an output.
    """
    calls = rows.find(connection, tool_calls, "position", run_id=run_id)
    known = {call["repeats"] for call in calls if call["repeats"]}
    earlier = [call for call in calls if call["upstream_id"] != upstream_id and call["call_id"] not in known]
    reused = []
    for call in calls:
        if call["upstream_id"] != upstream_id or call["repeats"] or call["output"] is not None:
            continue
        original = next((it for it in earlier if _work(it) == _work(call) and _is_worth_knowing(it)), None)
        if original is None:
            continue
        earlier.remove(original)
        _take_over(connection, call, original)
        if original["outcome"] in _REUSABLE:
            reused.append(call["call_id"])
    return reused


_REUSABLE = ("succeeded", "answered", "reused")


def _work(call: Row) -> tuple[str, str]:
    try:
        return call["name"], json.dumps(json.loads(call["arguments"]), sort_keys=True)
    except ValueError:  # a model may write what is no JSON; then the text itself has to be the same
        return call["name"], call["arguments"]


def _is_worth_knowing(call: Row) -> bool:
    # What the model was told of a call that failed is no output of its handler, which may have taken effect.
    return call["outcome"] in _REUSABLE or (call["attempts"] > 0 and call["outcome"] != "invalid_arguments")


def _take_over(connection: Connection, call: Row, original: Row) -> None:
    values: dict[str, Any] = {"repeats": original["repeats"] or original["call_id"]}
    if original["outcome"] in _REUSABLE:
        values |= {"output": original["output"], "outcome": "reused"}
    else:
        values |= {name: original[name] for name in ("attempts", "ended_attempt")}
    where = {"run_id": call["run_id"], "call_id": call["call_id"], "output": None}
    rows.overwrite(connection, tool_calls, where, values)


def record_output(
    connection: Connection,
    run_id: str,
    call_id: str,
    output: str,
    outcome: str,
    duration: timedelta = timedelta(0),
) -> bool:
    """Write the call's output; ``False`` where it already has one, which then stays."""
    return settle(connection, run_id, call_id, output, outcome, duration) is not None


def settle(
    connection: Connection,
    run_id: str,
    call_id: str,
    output: str,
    outcome: str,
    duration: timedelta = timedelta(0),
    result: Row | None = None,
) -> Row | None:
    """Do what `record_output` does and return the call; ``None`` where it already has an output.

    ``result`` is what clients see of a call of a built-in tool; ``output`` is what the model reads.
    """
    values = {"output": output, "outcome": outcome, "duration_ms": round(duration.total_seconds() * 1000)}
    if result is not None:
        values["result"] = result
    return rows.change(connection, tool_calls, {"run_id": run_id, "call_id": call_id, "output": None}, values)


def of_steps(connection: Connection, step_ids: Collection[str]) -> Mapping[str, list[Row]]:
    """Return the calls of each of the steps, in the order in which the model made them."""
    found: dict[str, list[Row]] = {step_id: [] for step_id in step_ids}
    if found:
        for call in rows.find(connection, tool_calls, "position", step_id=frozenset(step_ids)):
            found[call["step_id"]].append(call)
    return found


def search_number(connection: Connection, call: Row) -> int:
    """Return how many searches of files came before this one in its thread."""
    values = {name: call[name] for name in ("thread_id", "type", "step_id", "position")}
    return int(_SEARCHES_BEFORE.value(connection, values))


def unanswered(connection: Connection, run_id: str) -> list[str]:
    """Return the ids of the run's calls that have no output."""
    return [call["call_id"] for call in _UNANSWERED.all(connection, {"run": run_id})]
