"""What must be true of every run, whatever happened to it."""

import json
from collections import Counter
from datetime import timedelta
from typing import Any

from lockstitch.assistants.store.event_log import ERROR
from lockstitch.starter.contract import OPEN_STATUSES
from lockstitch.tests.activities.test_backend_conformance import check_story
from lockstitch.tests.chaos.world import Execution, Outcome
from lockstitch.workflows.policy import ENDING_GIVEN_UP

SLACK = timedelta(seconds=5)
"""Of timers and of the steps between them."""

_SETTLED = ("succeeded", "answered", "reused")


def check(outcome: Outcome) -> None:
    """Assert everything."""
    it_ended_in_time(outcome)
    people_had_a_deadline(outcome)
    questions_are_closed_once(outcome)
    work_was_done_once(outcome)
    keys_stay_the_same(outcome)
    the_log_tells_one_story(outcome)
    everybody_says_the_same_status(outcome)
    outputs_were_given_once(outcome)


def it_ended_in_time(outcome: Outcome) -> None:
    """A run ends by its deadline and what ending it may take, but for the time in which nobody could end it."""
    assert outcome.result is not None
    assert outcome.result.status not in OPEN_STATUSES, outcome.result
    allowed = timedelta(seconds=outcome.schedule.policy["deadline"]) + ENDING_GIVEN_UP + SLACK
    assert outcome.result.duration <= allowed + outcome.time_without_worker, outcome.result.duration


def people_had_a_deadline(outcome: Outcome) -> None:
    """Whoever was asked had until a deadline that is not behind the run's own."""
    for snapshot in outcome.seen:
        for asked in snapshot.escalations:  # opened after the run began, so its end is a bound that needs no clock
            assert asked.deadline < asked.opened_at + timedelta(seconds=outcome.schedule.policy["deadline"]), asked


def questions_are_closed_once(outcome: Outcome) -> None:
    """Every escalation was closed, with a decision exactly where one closed it, and nothing asks for attention."""
    assert outcome.result is not None
    assert outcome.snapshot is not None
    assert not outcome.snapshot.needs_attention
    assert outcome.snapshot.escalations == outcome.result.escalations
    for asked in outcome.result.escalations:
        assert not asked.is_open, asked
        assert (asked.decision is not None) == (asked.closed_by == "decision"), asked
    closed = {asked.id: asked for asked in outcome.result.escalations}
    for earlier in (asked for snapshot in outcome.seen for asked in snapshot.escalations if not asked.is_open):
        assert closed[earlier.id] == earlier, "what was decided was decided again"


def work_was_done_once(outcome: Outcome) -> None:
    """No handler ran after its result was recorded; what is not safe to repeat was repeated only when that was right.

    Right is it after an attempt that failed, where reconcile said that nothing was done, or a person decided so.
    """
    for number in {execution.number for execution in outcome.executions}:
        executions = [execution for execution in outcome.executions if execution.number == number]
        assert not any(execution.recorded_before for execution in executions), executions
        if outcome.plan(number).retry_safe:
            continue
        retries = _retries(outcome, executions)
        not_done = outcome.reconciled.count((number, False))
        doubtful = [execution for execution in executions[:-1] if execution.ended != "raised"]
        told = f"{executions}, retries={retries}, reconcile said that it was not done: {not_done}"
        assert len(doubtful) <= retries + not_done, told
        assert outcome.effects.count(number) <= 1 + retries, told


def _retries(outcome: Outcome, executions: list[Execution]) -> int:
    assert outcome.result is not None
    call_ids = {execution.call_id for execution in executions}
    decisions = [(it.call_id, it.decision) for it in outcome.result.escalations if it.decision is not None]
    return sum(1 for call_id, decision in decisions if call_id in call_ids and decision.action == "retry")


def keys_stay_the_same(outcome: Outcome) -> None:
    """All attempts at one piece of work have one idempotency key, and no other work has it."""
    keys = {(execution.number, execution.key) for execution in outcome.executions}
    assert len(keys) == len({number for number, _ in keys}) == len({key for _, key in keys}), keys


def the_log_tells_one_story(outcome: Outcome) -> None:
    """Watchers see numbers without gap or repeat and one story that ends."""
    events = list(outcome.events)
    assert events, "watchers saw nothing"
    if events[-1].event == ERROR:  # of a run that was never created
        events = events[:-1]
    check_story(events)
    assert not any(event.event == ERROR for event in events)


def everybody_says_the_same_status(outcome: Outcome) -> None:
    """The result, what operators search by, the store and the event log agree; the upstream where it still knows."""
    result, snapshot = outcome.result, outcome.snapshot
    assert result is not None
    assert snapshot is not None
    assert snapshot.status == result.status
    if outcome.store_run is not None:
        assert outcome.store_run["status"] == result.status
    last = outcome.events[-1]
    if last.event != ERROR:
        assert last.event == f"thread.run.{result.status}", last
        assert json.loads(last.data)["status"] == result.status
    if outcome.upstream is not None:
        _upstream_agrees(outcome, result.status)


def _upstream_agrees(outcome: Outcome, status: str) -> None:
    assert outcome.upstream is not None
    ours = outcome.upstream.runs(metadata={"lockstitch_run": outcome.run_id})
    if not ours:
        assert status in ("failed", "cancelled", "expired")
        return
    carrier = [run for run in ours if run["id"] in {row["upstream_id"] for row in outcome.carriers}][-1:]
    theirs = carrier[0]["status"] if carrier else "cancelled"
    if status in ("completed", "incomplete"):
        assert theirs == status
    elif theirs in ("completed", "incomplete"):
        assert outcome.upstream.planned_faults, "it completed upstream, and not here"
        assert _was_lost(outcome, carrier[0]), f"it {theirs} upstream, and {status} here"
    open_runs = [run["id"] for run in ours if run["status"] in ("queued", "in_progress", "requires_action")]
    lost = [run_id for run_id in open_runs if _was_lost(outcome, {"id": run_id})]
    assert open_runs == lost, f"left open upstream: {open_runs}"


def _was_lost(outcome: Outcome, run: dict[str, Any]) -> bool:
    assert outcome.upstream is not None
    return any("LoseRun" in request.faults and request.run_id == run["id"] for request in outcome.upstream.journal)


def outputs_were_given_once(outcome: Outcome) -> None:
    """Each call has one output; the upstream took each at most once, and of a round that went on exactly once."""
    result = outcome.result
    assert result is not None
    if result.status == "completed":
        assert all(call["output"] is not None for call in outcome.calls if _is_of_the_last_carrier(outcome, call))
    if outcome.upstream is None:
        return
    for run in outcome.upstream.runs(metadata={"lockstitch_run": outcome.run_id}):
        accepted: Counter[str] = outcome.upstream.journal.accepted(run["id"])
        assert set(accepted.values()) <= {1}, accepted
        for step in outcome.upstream.steps(run["id"]):
            calls = step["step_details"].get("tool_calls", [])
            if step["status"] == "completed":
                assert all(accepted[call["id"]] == 1 for call in calls), accepted
            for call in calls:
                _the_store_has_the_same(outcome, run["id"], call)


def _the_store_has_the_same(outcome: Outcome, upstream_id: str, call: dict[str, Any]) -> None:
    given = call["function"]["output"]
    if given is None:
        return
    stored = [
        row["output"]
        for row in outcome.calls
        if row["upstream_id"] == upstream_id and row["arguments"] == call["function"]["arguments"]
    ]
    assert stored == [given]


def _is_of_the_last_carrier(outcome: Outcome, call: Any) -> bool:
    assert outcome.result is not None
    return call["upstream_id"] in (None, outcome.result.attempts[-1].upstream_id)
