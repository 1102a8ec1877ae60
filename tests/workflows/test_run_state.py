"""What follows on what, as tables: no server, no clock."""

from datetime import timedelta

import pytest

from lockstitch.activities.messages import RequestedCall, RunRef, RunStop, ToolCallDone
from lockstitch.starter.contract import Answer, LastError, RunPolicy, ToolOutput
from lockstitch.tool_policy import ToolPolicy
from lockstitch.workflows.run_state import AwaitEnd, Fail, Finish, RunState, SettleCalls, Submit, next_step

RUN = RunRef(run_id="run_1", thread_id="thread_1", assistant_id="asst_1")
HANDLED = RequestedCall(call_id="call_h", name="lookup", policy=ToolPolicy())
OUTSIDE = RequestedCall(call_id="call_o", name="approve")
STORED = RequestedCall(call_id="call_s", name="lookup", outcome="succeeded")
DONE = ToolCallDone(call_id="call_h", outcome="succeeded", attempts=1, duration=timedelta(seconds=1))
OUTPUT = ToolOutput(tool_call_id="call_o", output="yes")


def asking(*calls: RequestedCall) -> RunState:
    state = RunState(run_id="run_1")
    state.stopped(RunStop(run=RUN, status="requires_action", calls=list(calls)))
    return state


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "expired", "incomplete"])
def test_a_run_that_has_ended_is_finished(status):
    state = RunState(run_id="run_1")
    state.stopped(RunStop(run=RUN, status=status))

    assert next_step(state, RunPolicy()) == Finish()


def test_a_run_that_the_upstream_is_cancelling_is_waited_for():
    state = RunState(run_id="run_1")
    state.stopped(RunStop(run=RUN, status="cancelling"))

    assert next_step(state, RunPolicy()) == AwaitEnd()


def test_open_calls_are_handled_or_waited_for():
    step = next_step(asking(HANDLED, OUTSIDE, STORED), RunPolicy())

    assert step == SettleCalls(to_handle=(HANDLED,), to_wait_for=(OUTSIDE,))


def test_outputs_are_submitted_when_every_call_of_the_round_is_settled():
    state = asking(HANDLED, OUTSIDE)
    state.handled(DONE)
    assert not state.round_is_over
    state.answered(Answer(outputs=[OUTPUT]))

    assert state.round_is_over
    assert next_step(state, RunPolicy()) == Submit(outputs=(OUTPUT,), failures=())


def test_a_handler_that_failed_for_good_is_submitted_as_a_failure():
    state = asking(HANDLED)
    state.handler_failed(HANDLED, "no answer", 3, fatal=False)

    step = next_step(state, RunPolicy())
    assert isinstance(step, Submit)
    assert [(failure.call_id, failure.message) for failure in step.failures] == [("call_h", "no answer")]


def test_a_failure_that_is_fatal_ends_the_round_and_fails_the_run():
    state = asking(HANDLED, OUTSIDE)
    state.handler_failed(HANDLED, "no answer", 3, fatal=True)

    assert state.round_is_over
    assert next_step(state, RunPolicy()) == Fail(
        LastError(code="server_error", message="The tool 'lookup' failed: no answer")
    )


def test_a_model_that_never_stops_calling_tools_fails_the_run():
    state = RunState(run_id="run_1")
    for number in range(3):
        call = RequestedCall(call_id=f"call_{number}", name="lookup", policy=ToolPolicy())
        state.stopped(RunStop(run=RUN, status="requires_action", calls=[call]))

    assert isinstance(next_step(state, RunPolicy(max_rounds=3)), SettleCalls)
    step = next_step(state, RunPolicy(max_rounds=2))
    assert isinstance(step, Fail)
    assert step.error.message == "The run asked for more than 2 tool rounds."


def test_an_answer_that_overtakes_the_news_of_its_call_is_kept():
    state = RunState(run_id="run_1")
    state.answered(Answer(outputs=[OUTPUT]))
    state.stopped(RunStop(run=RUN, status="requires_action", calls=[OUTSIDE]))

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
    state.stopped(RunStop(run=RUN, status="requires_action", calls=[OUTSIDE]))
    state.stopped(RunStop(run=RUN, status="completed", message_ids=["msg_1"], last_message_text="Done."))

    result = state.result(timedelta(seconds=2))
    assert [(call.call_id, call.outcome) for call in result.tool_calls] == [
        ("call_h", "succeeded"),
        ("call_o", "unanswered"),
    ]
    assert (result.status, result.last_message_id, result.duration) == ("completed", "msg_1", timedelta(seconds=2))
