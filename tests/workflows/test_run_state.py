"""What follows on what, as tables: no server, no clock."""

from datetime import UTC, datetime, timedelta

import pytest

from lockstitch.activities.messages import CallFailure, RequestedCall, RunRef, RunStop, ToolCallDone
from lockstitch.starter.contract import Answer, LastError, RunPolicy, ToolOutput
from lockstitch.tool_policy import ToolPolicy
from lockstitch.workflows.run_state import AwaitEnd, End, Finish, Replace, RunState, SettleCalls, Submit, next_step

RUN = RunRef(run_id="run_1", thread_id="thread_1", assistant_id="asst_1", upstream_id="run_a")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FAILURE = CallFailure(call_id="call_h", message="no answer")
HANDLED = RequestedCall(call_id="call_h", name="lookup", policy=ToolPolicy())
OUTSIDE = RequestedCall(call_id="call_o", name="approve")
STORED = RequestedCall(call_id="call_s", name="lookup", outcome="succeeded")
DONE = ToolCallDone(call_id="call_h", outcome="succeeded", attempts=1, duration=timedelta(seconds=1))
OUTPUT = ToolOutput(tool_call_id="call_o", output="yes")


def asking(*calls: RequestedCall) -> RunState:
    state = RunState(run_id="run_1")
    state.stopped(RunStop(run=RUN, status="requires_action", calls=list(calls)), NOW)
    return state


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "expired", "incomplete"])
def test_a_run_that_has_ended_is_finished(status):
    state = RunState(run_id="run_1")
    state.stopped(RunStop(run=RUN, status=status), NOW)

    assert next_step(state, RunPolicy()) == Finish()


def test_a_run_that_the_upstream_is_cancelling_is_waited_for():
    state = RunState(run_id="run_1")
    state.stopped(RunStop(run=RUN, status="cancelling"), NOW)

    assert next_step(state, RunPolicy()) == AwaitEnd()


def test_open_calls_are_settled_and_those_with_an_output_are_not():
    step = next_step(asking(HANDLED, OUTSIDE, STORED), RunPolicy())

    assert step == SettleCalls(calls=(HANDLED, OUTSIDE))


def test_outputs_are_submitted_when_every_call_of_the_round_is_settled():
    state = asking(HANDLED, OUTSIDE)
    state.handled(DONE)
    assert not state.round_is_over
    state.answered(Answer(outputs=[OUTPUT]))

    assert state.round_is_over
    assert next_step(state, RunPolicy()) == Submit(outputs=(OUTPUT,), failures=())


def test_a_handler_that_failed_for_good_is_submitted_as_a_failure():
    state = asking(HANDLED)
    state.failed(FAILURE, attempts=3)

    step = next_step(state, RunPolicy())
    assert isinstance(step, Submit)
    assert [(failure.call_id, failure.message) for failure in step.failures] == [("call_h", "no answer")]


def test_a_verdict_about_the_run_ends_the_round_whatever_is_open():
    state = asking(HANDLED, OUTSIDE)
    state.verdict = End("failed", LastError(code="server_error", message="no answer"))

    assert state.round_is_over
    assert next_step(state, RunPolicy()) == state.verdict


def test_a_run_that_is_to_be_replaced_leaves_its_round_once_the_handlers_have_finished():
    state = asking(HANDLED, OUTSIDE)
    state.verdict = Replace("nobody decided")

    assert (state.round_is_over, state.leaves_the_round) == (False, True)
    assert next_step(state, RunPolicy()) == Replace("nobody decided")


def broken(replacement: int, status: str = "in_progress") -> RunState:
    state = RunState(run_id="run_1")
    run = RUN.model_copy(update={"replacement": replacement})
    state.stopped(RunStop(run=run, status=status, broken="It vanished."), NOW)
    return state


def test_a_run_that_broke_upstream_is_replaced_as_often_as_the_policy_says():
    policy = RunPolicy(max_replacements=2)
    last = next_step(broken(2), policy)

    assert [next_step(broken(number), policy) for number in range(2)] == [Replace("It vanished.")] * 2
    assert isinstance(last, End)
    assert (last.status, last.error.message) == (
        "failed",
        "It vanished. It was replaced 2 times, which is the most.",
    )


def test_a_run_that_expired_upstream_and_may_not_be_replaced_has_expired():
    assert next_step(broken(0, "expired"), RunPolicy(max_replacements=0)) == End("expired")


def test_the_runs_upstream_are_told_one_after_the_other_with_what_ended_them():
    state = broken(0)
    later = NOW + timedelta(minutes=1)
    state.stopped(RunStop(run=RUN.model_copy(update={"upstream_id": "run_b"}), status="completed"), later)

    told = [(it.upstream_id, it.problem, it.began_at, it.ended_at) for it in state.attempts]
    assert told == [("run_a", "It vanished.", NOW, NOW), ("run_b", None, NOW, later)]


@pytest.mark.parametrize(
    ("stop", "waits", "moved_on"),
    [
        (RunStop(run=RUN, status="requires_action", calls=[HANDLED]), True, False),
        (RunStop(run=RUN, status="requires_action", calls=[OUTSIDE]), False, True),
        (RunStop(run=RUN, status="in_progress"), False, True),
        (RunStop(run=RUN, status="expired", broken="It expired."), False, True),
        (
            RunStop(
                run=RUN,
                status="requires_action",
                calls=[HANDLED.model_copy(update={"outcome": "answered"})],
            ),
            False,
            False,
        ),
    ],
)
def test_a_run_that_is_read_again_tells_whether_a_call_still_waits(stop, waits, moved_on):
    state = asking(HANDLED)

    assert state.read_again("call_h", stop) is waits
    assert (state.moved_on is not None) is moved_on
    assert ("call_h" in state.open_calls) is (waits or moved_on)


def test_a_run_is_carried_on_as_it_was():
    state = asking(HANDLED, OUTSIDE, STORED)
    state.answered(Answer(outputs=[ToolOutput(tool_call_id="call_later", output="early")]))

    carried = RunState.carried_on("run_1", state.carried(NOW))

    assert carried == state


def test_a_model_that_never_stops_calling_tools_fails_the_run():
    state = RunState(run_id="run_1")
    for number in range(3):
        call = RequestedCall(call_id=f"call_{number}", name="lookup", policy=ToolPolicy())
        state.stopped(RunStop(run=RUN, status="requires_action", calls=[call]), NOW)

    assert isinstance(next_step(state, RunPolicy(max_rounds=3)), SettleCalls)
    step = next_step(state, RunPolicy(max_rounds=2))
    assert isinstance(step, End)
    assert step.error.message == "The run asked for more than 2 tool rounds."


def test_an_answer_that_overtakes_the_news_of_its_call_is_kept():
    state = RunState(run_id="run_1")
    state.answered(Answer(outputs=[OUTPUT]))
    state.stopped(RunStop(run=RUN, status="requires_action", calls=[OUTSIDE]), NOW)

    assert next_step(state, RunPolicy()) == Submit(outputs=(OUTPUT,), failures=())


def test_a_second_answer_to_a_call_changes_nothing():
    state = asking(OUTSIDE)
    state.answered(Answer(outputs=[OUTPUT]))
    state.answered(Answer(outputs=[ToolOutput(tool_call_id="call_o", output="no")]))

    assert next_step(state, RunPolicy()) == Submit(outputs=(OUTPUT,), failures=())


def test_outputs_that_are_in_the_store_are_not_sent_again():
    state = asking(OUTSIDE)
    state.answered(Answer(stored_call_ids=["call_o"]))

    assert next_step(state, RunPolicy()) == Submit(outputs=(), failures=())


def test_the_result_reports_every_call_of_every_round():
    state = asking(HANDLED)
    state.handled(DONE)
    state.stopped(RunStop(run=RUN, status="requires_action", calls=[OUTSIDE]), NOW)
    state.stopped(RunStop(run=RUN, status="completed", message_ids=["msg_1"], last_message_text="Done."), NOW)

    result = state.result(timedelta(seconds=2))
    assert [(call.call_id, call.outcome) for call in result.tool_calls] == [
        ("call_h", "succeeded"),
        ("call_o", "unanswered"),
    ]
    assert (result.status, result.last_message_id, result.duration) == ("completed", "msg_1", timedelta(seconds=2))
