"""What a run asks people, and what becomes of it: on a real Temporal server with a real worker."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from lockstitch.errors import DecisionRefused, EscalationNotFound, NoWorker, RunFinished
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import RunPolicy, ThreadRunRequest, ToolOutput
from lockstitch.starter.escalations import Decision, Escalation
from lockstitch.tools import NOT_DONE, ToolContext, tool

QUICKLY = {"initial_interval": timedelta(milliseconds=20), "max_interval": timedelta(milliseconds=50)}
SOON = RunPolicy(decision_timeout=timedelta(milliseconds=300))


def refund_tool(**options: Any) -> Any:
    """Make a tool that keeps a list of the attempts at it, and fails as often as it is told."""
    attempts: list[str] = []
    failures: list[Exception] = options.pop("failures", [])

    @tool(**QUICKLY, **options)
    async def refund_order(order: int, context: ToolContext) -> str:
        """Refund an order."""
        attempts.append(context.idempotency_key)
        if failures:
            raise failures.pop(0)
        return f"refunded {order}"

    refund_order.attempts = attempts
    return refund_order


@pytest.fixture
def asked(eventually):
    """Start a run and wait until it asks a person."""

    async def start(lockstitch, policy: RunPolicy | None = None, **parameters: Any) -> Escalation:
        request = await lockstitch.request("Refund order 17.", policy, **parameters)
        run_id = await lockstitch.starter.start(request)

        async def open_escalation() -> Escalation | None:
            return next((it for it in await lockstitch.starter.escalations(run_id) if it.is_open), None)

        return await eventually(open_escalation)

    return start


async def decide(lockstitch, escalation: Escalation, action: str, **values: Any) -> Escalation:
    decision = Decision(escalation_id=escalation.id, action=action, by="ada", **values)
    return await lockstitch.starter.decide(escalation.run_id, decision)


# --- approval


async def test_a_tool_that_needs_approval_is_called_when_somebody_approved(engine, asked):
    refund = refund_tool(approval=True)
    async with engine([refund]) as lockstitch:
        escalation = await asked(lockstitch)
        called_before = list(refund.attempts)
        closed = await decide(lockstitch, escalation, "approve")
        result = await lockstitch.starter.result(escalation.run_id)

    assert (escalation.reason, escalation.tool, escalation.on_deadline) == ("approval", "refund_order", "deny")
    assert called_before == []
    assert (closed.closed_by, closed.decision.by) == ("decision", "ada")
    assert (result.status, result.tool_calls[0].outcome, len(refund.attempts)) == ("completed", "succeeded", 1)
    assert [(it.decision.action, it.decision.by) for it in result.escalations] == [("approve", "ada")]


async def test_the_model_reads_that_a_call_was_denied(engine, asked):
    refund = refund_tool(approval=True)
    async with engine([refund]) as lockstitch:
        escalation = await asked(lockstitch)
        await decide(lockstitch, escalation, "deny", message="Too expensive.")
        result = await lockstitch.starter.result(escalation.run_id)

    assert (result.status, result.tool_calls[0].outcome, refund.attempts) == ("completed", "denied", [])
    assert "Denied: Too expensive." in result.last_message_text


async def test_a_call_that_nobody_approves_in_time_is_denied(engine):
    refund = refund_tool(approval=True, approval_timeout=timedelta(milliseconds=200))
    async with engine([refund]) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request("Refund order 17."))

    assert (result.tool_calls[0].outcome, refund.attempts) == ("denied", [])
    assert result.escalations[0].closed_by == "deadline"


async def test_an_approval_outlives_the_worker(engine, asked, eventually):
    refund = refund_tool(approval=True)
    async with engine([refund]) as lockstitch:
        escalation = await asked(lockstitch)
    async with engine([refund], task_queue=lockstitch.task_queue) as another:
        await decide(another, escalation, "approve")
        result = await another.starter.result(escalation.run_id)

    assert (result.status, len(refund.attempts)) == ("completed", 1)


# --- no handler


@pytest.fixture
def only_offered():
    """The definition of a tool that no worker has."""
    return [refund_tool().__lockstitch_tool__.definition()]


async def test_a_call_without_a_handler_is_put_before_a_person_who_answers_it(engine, asked, only_offered, eventually):
    async with engine([]) as lockstitch:
        escalation = await asked(lockstitch, tools=only_offered)
        snapshot = await lockstitch.starter.snapshot(escalation.run_id)

        async def listed() -> bool:  # the server's search follows a moment later
            return escalation.id in [it.id for it in await lockstitch.starter.escalations()]

        await eventually(listed)
        await decide(lockstitch, escalation, "answer", output="Refunded by hand.")
        result = await lockstitch.starter.result(escalation.run_id)
        after = await lockstitch.starter.snapshot(escalation.run_id)

    assert (snapshot.needs_attention, snapshot.status) == (True, "requires_action")
    assert (result.status, result.tool_calls[0].outcome) == ("completed", "answered")
    assert "Refunded by hand." in result.last_message_text
    assert (after.needs_attention, [it.closed_by for it in after.escalations]) == (False, ["decision"])


async def test_an_answer_from_outside_closes_the_question(engine, asked, only_offered):
    async with engine([]) as lockstitch:
        escalation = await asked(lockstitch, tools=only_offered)
        output = ToolOutput(tool_call_id=escalation.call_id, output="Refunded elsewhere.")
        await lockstitch.starter.answer(escalation.run_id, [output])
        result = await lockstitch.starter.result(escalation.run_id)

    assert (result.tool_calls[0].outcome, result.escalations[0].closed_by) == ("answered", "answer")


@pytest.mark.parametrize(
    ("policy", "status", "outcome"),
    [("error_output", "completed", "unresolved"), ("cancel", "cancelled", "unanswered")],
)
async def test_what_nobody_decided_in_time_ends_as_the_policy_says(engine, only_offered, policy, status, outcome):
    limits = SOON.model_copy(update={"on_unresolved": policy})
    async with engine([]) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request("Refund order 17.", limits, tools=only_offered))

    assert (result.status, result.tool_calls[0].outcome) == (status, outcome)
    assert result.escalations[0].closed_by == "deadline"


async def test_a_question_ends_early_enough_for_the_run_to_go_on(engine, only_offered):
    policy = RunPolicy(deadline=timedelta(seconds=8), decision_timeout=timedelta(hours=1))
    async with engine([]) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request("Refund order 17.", policy, tools=only_offered))

    assert (result.status, result.tool_calls[0].outcome) == ("completed", "unresolved")
    [question] = result.escalations
    assert question.deadline - question.opened_at < timedelta(seconds=8) * 0.9


async def test_a_run_that_is_cancelled_closes_its_questions(engine, asked, only_offered):
    async with engine([]) as lockstitch:
        escalation = await asked(lockstitch, tools=only_offered)
        await lockstitch.starter.cancel(escalation.run_id)
        result = await lockstitch.starter.result(escalation.run_id)
        after = await lockstitch.starter.snapshot(escalation.run_id)
        told = await lockstitch.temporal.get_workflow_handle(f"notify-{escalation.id}-resolved").describe()

    assert (result.status, after.needs_attention) == ("cancelled", False)
    assert [it.closed_by for it in after.escalations] == ["run"]
    assert told.workflow_type == "DeliverNotification"


# --- a handler that failed, or of which nobody knows


async def test_a_person_may_have_a_handler_called_again(engine, asked):
    refund = refund_tool(on_failure="escalate", max_attempts=2, failures=[ConnectionError("no bank")] * 2)
    async with engine([refund]) as lockstitch:
        escalation = await asked(lockstitch)
        await decide(lockstitch, escalation, "retry")
        result = await lockstitch.starter.result(escalation.run_id)

    assert (escalation.reason, escalation.detail) == ("handler_failed", "ConnectionError: no bank")
    assert (result.status, result.tool_calls[0].outcome, result.tool_calls[0].attempts) == ("completed", "succeeded", 3)
    assert len(set(refund.attempts)) == 1


@pytest.mark.parametrize(
    ("action", "outcome", "status"), [("error", "failed", "completed"), ("cancel", "unanswered", "cancelled")]
)
async def test_a_person_may_give_a_call_up(engine, asked, action, outcome, status):
    refund = refund_tool(on_failure="escalate", max_attempts=1, failures=[ConnectionError("no bank")])
    async with engine([refund]) as lockstitch:
        escalation = await asked(lockstitch)
        await decide(lockstitch, escalation, action)
        result = await lockstitch.starter.result(escalation.run_id)

    assert (result.status, result.tool_calls[0].outcome) == (status, outcome)


class Bank:
    """A handler that is too slow once, and what became of its call."""

    def __init__(self, **options: Any) -> None:
        self.keys: list[str] = []

        @tool(timeout=timedelta(milliseconds=100), **QUICKLY, **options)
        async def refund_order(order: int, context: ToolContext) -> str:
            """Refund an order."""
            self.keys.append(context.idempotency_key)
            if len(self.keys) == 1:
                await asyncio.Event().wait()
            return "refunded at last"

        self.tool = refund_order


async def test_a_handler_whose_outcome_is_unknown_is_not_called_again_unless_a_person_says_so(engine, asked):
    bank = Bank()
    async with engine([bank.tool]) as lockstitch:
        escalation = await asked(lockstitch)
        called_before = len(bank.keys)
        await decide(lockstitch, escalation, "retry")
        result = await lockstitch.starter.result(escalation.run_id)

    assert escalation.reason == "outcome_unknown"
    assert "did not finish within 0.1 s" in escalation.detail
    assert called_before == 1
    assert (result.tool_calls[0].outcome, len(bank.keys), len(set(bank.keys))) == ("succeeded", 2, 1)


async def test_a_handler_that_is_safe_to_repeat_is_called_again_without_asking(engine):
    bank = Bank(retry_safe=True)
    async with engine([bank.tool]) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request("Refund order 17."))

    assert (result.tool_calls[0].outcome, len(bank.keys), result.escalations) == ("succeeded", 2, [])


async def test_reconcile_says_that_an_attempt_took_effect_and_it_is_not_repeated(engine):
    def find_refund(order: int) -> str:
        return f"refund of {order} found"

    bank = Bank(reconcile=find_refund)
    async with engine([bank.tool]) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request("Refund order 17."))

    assert (result.tool_calls[0].outcome, len(bank.keys)) == ("succeeded", 1)
    assert "refund of 17 found" in result.last_message_text


async def test_reconcile_says_that_an_attempt_did_nothing_and_it_is_repeated(engine):
    async def find_refund(order: int) -> Any:
        return NOT_DONE

    bank = Bank(reconcile=find_refund)
    async with engine([bank.tool]) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request("Refund order 17."))

    assert (result.tool_calls[0].outcome, len(bank.keys), len(set(bank.keys))) == ("succeeded", 2, 1)


async def test_a_person_is_asked_where_reconcile_cannot_tell(engine, asked):
    async def find_refund(order: int) -> str:
        raise ConnectionError("the bank is away")

    bank = Bank(reconcile=find_refund)
    async with engine([bank.tool]) as lockstitch:
        escalation = await asked(lockstitch)
        await decide(lockstitch, escalation, "answer", output="It was refunded.")
        result = await lockstitch.starter.result(escalation.run_id)

    assert "the bank is away" in escalation.detail
    assert (result.tool_calls[0].outcome, len(bank.keys)) == ("answered", 1)


# --- what is refused


async def test_of_two_decisions_at_the_same_time_one_counts_and_the_other_is_refused(engine, asked):
    refund = refund_tool(approval=True)
    async with engine([refund]) as lockstitch:
        escalation = await asked(lockstitch)
        said = await asyncio.gather(
            *(decide(lockstitch, escalation, action) for action in ("approve", "deny")), return_exceptions=True
        )
        result = await lockstitch.starter.result(escalation.run_id)

    [refused] = [it for it in said if isinstance(it, DecisionRefused)]
    [closed] = [it for it in said if isinstance(it, Escalation)]
    assert f"was decided already: {closed.decision.action} by ada at" in str(refused)
    expected = {"approve": "succeeded", "deny": "denied"}[closed.decision.action]
    assert result.tool_calls[0].outcome == expected


async def test_what_does_not_fit_the_question_is_refused_and_changes_nothing(engine, asked):
    async with engine([refund_tool(approval=True)]) as lockstitch:
        escalation = await asked(lockstitch)
        with pytest.raises(DecisionRefused, match="does not take 'retry'; it takes approve, deny, cancel"):
            await decide(lockstitch, escalation, "retry")
        other = escalation.model_copy(update={"id": "esc_unknown"})
        with pytest.raises(DecisionRefused, match="has no escalation esc_unknown"):
            await decide(lockstitch, other, "approve")
        with pytest.raises(EscalationNotFound, match="esc_unknown"):
            await lockstitch.starter.escalation("esc_unknown")
        still = await lockstitch.starter.escalation(escalation.id)
        await decide(lockstitch, escalation, "deny")
        await lockstitch.starter.result(escalation.run_id)
        with pytest.raises((RunFinished, DecisionRefused)):
            await decide(lockstitch, escalation, "approve")

    assert still == escalation


async def test_a_decision_without_a_worker_says_that_none_took_it(engine, asked):
    async with engine([refund_tool(approval=True)]) as lockstitch:
        escalation = await asked(lockstitch)
    async with engine([], task_queue=lockstitch.task_queue, workers=False) as without:
        decision = Decision(escalation_id=escalation.id, action="approve")
        impatient = Starter(without.temporal, decision_timeout=timedelta(milliseconds=500))
        with pytest.raises(NoWorker, match="start one"):
            await impatient.decide(escalation.run_id, decision)
        await without.temporal.get_workflow_handle(escalation.run_id).terminate()


def test_a_run_of_our_own_cannot_be_told_to_be_replaced():
    with pytest.raises(ValueError, match="cannot be replaced"):
        ThreadRunRequest(assistant_id="asst_1", thread_id="thread_1", policy=RunPolicy(on_unresolved="replace"))
