"""The escalations of one run: asks a person, shows what is asked, takes the decision, tells what became of it."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal

from temporalio import workflow
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from lockstitch.activities.messages import RequestedCall, RunRef
    from lockstitch.activities.notification_messages import Notification, NotificationEvent
    from lockstitch.starter import contract, escalations
    from lockstitch.starter.escalations import Decision, Escalation, LastRung, Reason
    from lockstitch.workflows.notification import DeliverNotification
    from lockstitch.workflows.run_metrics import LadderMeter


class EscalationDesk:
    """Where a run asks people.

    ``run`` tells which run it is, ``changed`` is called when something was asked or decided, and ``carried`` has what
    was asked before.
    """

    def __init__(
        self,
        run: Callable[[], RunRef],
        meter: LadderMeter,
        changed: Callable[[], None],
        carried: Sequence[Escalation] = (),
    ) -> None:
        self._run = run
        self._meter = meter
        self._changed = changed
        self._escalations = {it.id: it for it in carried}
        self._untold: list[str] = []
        self._attention = False

    @property
    def all(self) -> list[Escalation]:
        """Every escalation of the run, oldest first."""
        return list(self._escalations.values())

    @property
    def open(self) -> list[Escalation]:
        """Those about which somebody may still decide."""
        return [it for it in self._escalations.values() if it.is_open]

    async def ask(
        self,
        call: RequestedCall,
        reason: Reason,
        detail: str,
        *,
        until: datetime,
        on_deadline: LastRung,
        settled: Callable[[], bool],
    ) -> Escalation:
        """Ask a person about a call and return the escalation when it is closed.

        It is closed by a decision, by its deadline ``until``, or because the call is ``settled`` in another way.
        """
        opened = self._open(call, reason, detail, until, on_deadline)
        try:
            await self._notify(opened, "escalation.opened")
            _raise_if_given_up()
            await workflow.wait_condition(
                lambda: not self._escalations[opened.id].is_open or settled(),
                timeout=max(until - workflow.now(), timedelta(0)),
                timeout_summary=f"deadline of {opened.id}",
            )
            self._close(opened.id, "answer")
        except TimeoutError:
            self._close(opened.id, "deadline")
        except asyncio.CancelledError:
            self._close(opened.id, "run")
            raise
        await self._tell_what_was_resolved()
        _raise_if_given_up()
        return self._escalations[opened.id]

    async def close(self) -> None:
        """Close what is open because the run has ended, and tell those who were asked."""
        for asked in self.open:
            self._close(asked.id, "run")
        await self._tell_what_was_resolved()

    async def _tell_what_was_resolved(self) -> None:
        while self._untold:
            await self._notify(self._escalations[self._untold.pop(0)], "escalation.resolved")

    def check(self, decision: Decision) -> None:
        """Raise what refuses the decision, in one sentence, where it cannot be taken."""
        asked = self._escalations.get(decision.escalation_id)
        if asked is None:
            problem: str | None = f"Run {self._run().run_id} has no escalation {decision.escalation_id}."
        else:
            problem = asked.refusal(decision)
        if problem is not None:
            raise ApplicationError(problem, type="decision_refused", non_retryable=True)

    def decide(self, decision: Decision) -> Escalation:
        """Take a decision that was checked."""
        self._close(decision.escalation_id, "decision", decision)
        return self._escalations[decision.escalation_id]

    def _open(
        self, call: RequestedCall, reason: Reason, detail: str, until: datetime, on_deadline: LastRung
    ) -> Escalation:
        run_id = self._run().run_id
        opened = Escalation(
            id=escalations.escalation_id(run_id, call.call_id, len(self._escalations)),
            run_id=run_id,
            call_id=call.call_id,
            tool=call.name,
            reason=reason,
            detail=detail,
            opened_at=workflow.now(),
            deadline=until,
            on_deadline=on_deadline,
        )
        self._escalations[opened.id] = opened
        self._meter.opened(reason)
        self._show()
        return opened

    def _close(
        self, escalation_id: str, by: Literal["decision", "answer", "deadline", "run"], decision: Decision | None = None
    ) -> None:
        asked = self._escalations[escalation_id]
        if not asked.is_open:
            return
        closed = asked.model_copy(update={"closed_at": workflow.now(), "closed_by": by, "decision": decision})
        self._escalations[escalation_id] = closed
        self._untold.append(escalation_id)
        self._meter.closed(asked.reason, decision.action if decision else by)
        self._show()

    def _show(self) -> None:
        """Put the escalations where the Temporal server has them for whoever asks."""
        shown = [it.model_dump(mode="json", exclude_none=True) for it in self._escalations.values()]
        workflow.upsert_memo({escalations.ESCALATIONS_MEMO: shown})
        if self._attention != bool(self.open):
            self._attention = bool(self.open)
            workflow.upsert_search_attributes([contract.NEEDS_ATTENTION.value_set(self._attention)])
        self._changed()

    async def _notify(self, escalation: Escalation, event: NotificationEvent) -> None:
        notification = _notification(self._run(), escalation, event)
        with suppress(WorkflowAlreadyStartedError):  # the run was reset to a point before it
            await workflow.start_child_workflow(
                DeliverNotification.run,
                notification,
                id=notification.workflow_id,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=notification.summary,
            )


def _raise_if_given_up() -> None:
    """Raise the cancellation that the SDK forgets where a child workflow starts in spite of it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _notification(run: RunRef, escalation: Escalation, event: NotificationEvent) -> Notification:
    return Notification(
        escalation_id=escalation.id,
        event=event,
        run_id=run.run_id,
        reason=escalation.reason,
        opened_at=escalation.opened_at,
        deadline=escalation.deadline,
        thread_id=run.thread_id,
        assistant_id=run.assistant_id,
        tenant=run.tenant,
        backend=run.backend,
        call_id=escalation.call_id,
        tool=escalation.tool,
        detail=escalation.detail,
        on_deadline=escalation.on_deadline,
        resolution=escalation.decision.action if escalation.decision else escalation.closed_by,
        resolved_by=escalation.decision.by if escalation.decision else None,
        approvable=escalation.reason == "approval",
    )
