"""One call of a built-in tool: carried out here, by the workers that serve it, and never by a client or a person."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutType, is_cancelled_exception
from temporalio.exceptions import TimeoutError as ActivityTimeout

with workflow.unsafe.imports_passed_through():
    from lockstitch.activities.messages import CallFailure, RequestedCall, ToolCallDone, UseBuiltInTool
    from lockstitch.starter.code_queue import code_queue
    from lockstitch.workflows import policy
    from lockstitch.workflows.policy import Limits
    from lockstitch.workflows.tool_call import RoundContext, is_out_of_time


class BuiltInCall:
    """Settles one call; ``code_turn`` lets the calls of one round that run code take turns, in their order.

    A call that cannot be carried out has its failure as output, which the model reads.
    """

    waits_for_client = False

    def __init__(self, context: RoundContext, call: RequestedCall, code_turn: asyncio.Lock) -> None:
        self._round = context
        self._call = call
        self._code_turn = code_turn
        self.handler_is_called = False

    async def settle(self) -> None:
        """Have the call carried out."""
        self.handler_is_called = True
        try:
            self._round.state.handled(await self._carried_out())
        except ActivityError as error:
            if is_cancelled_exception(error) or (is_out_of_time(error) and not _nobody_came(error)):
                raise
            self._round.state.failed(CallFailure(call_id=self._call.call_id, message=_told(error)), 1)
        finally:
            self.handler_is_called = False

    async def _carried_out(self) -> ToolCallDone:
        if self._call.built_in == "file_search":
            limits = policy.search_limits(self._round.policy, self._round.time_left())
            return await self._execute("search_files", None, limits)
        async with self._code_turn:
            return await self._run_code()

    async def _run_code(self) -> ToolCallDone:
        """Run the code in the thread's session, or in a new one where the worker that held it is gone."""
        time_left = self._round.time_left()
        if self._call.session_queue is not None:
            try:
                limits = policy.code_limits(self._round.policy, time_left, in_session=True)
                return await self._execute("run_code", self._call.session_queue, limits)
            except ActivityError as error:
                if not _worker_is_gone(error):
                    raise
        limits = policy.code_limits(self._round.policy, self._round.time_left(), in_session=False)
        return await self._execute("run_code", code_queue(workflow.info().task_queue), limits)

    async def _execute(self, activity: str, task_queue: str | None, limits: Limits) -> ToolCallDone:
        done: ToolCallDone = await workflow.execute_activity(
            activity,
            UseBuiltInTool(run=self._round.run, call_id=self._call.call_id),
            result_type=ToolCallDone,
            task_queue=task_queue,
            summary=f"{self._call.name} {self._call.call_id}",
            **limits,
        )
        return done


def _worker_is_gone(error: ActivityError) -> bool:
    gone = (TimeoutType.SCHEDULE_TO_START, TimeoutType.HEARTBEAT, TimeoutType.START_TO_CLOSE)
    return isinstance(error.cause, ActivityTimeout) and error.cause.type in gone


def _nobody_came(error: ActivityError) -> bool:
    return isinstance(error.cause, ActivityTimeout) and error.cause.type is TimeoutType.SCHEDULE_TO_START


def _told(error: ActivityError) -> str:
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return cause.message
    if _nobody_came(error):
        return "No worker of this server runs code at the moment."
    return f"The tool gave no answer ({cause or error})."
