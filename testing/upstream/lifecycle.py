"""The life of a run: queued, in progress, waiting for outputs, cancelled, expired, ended."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any

from lockstitch.assistants import objects, refusals
from lockstitch.assistants.model.turn import ArgumentsDelta, Model, ModelEvent, TextDelta, TurnFinished
from lockstitch.errors import UpstreamError
from lockstitch.starter.contract import RunStatus, ToolOutput
from lockstitch.testing.upstream.changes import Changes
from lockstitch.testing.upstream.feed import RunFeed
from lockstitch.testing.upstream.prompt import next_turn
from lockstitch.testing.upstream.state import Row, State
from lockstitch.testing.upstream.turn_writer import TurnWriter

_END_TIMES = {
    "completed": "completed_at",
    "incomplete": "completed_at",
    "failed": "failed_at",
    "cancelled": "cancelled_at",
}
_STEP_ENDS = {
    "failed": ("failed", "failed_at"),
    "cancelled": ("cancelled", "cancelled_at"),
    "expired": ("expired", "expired_at"),
}
_MESSAGE_ENDS = {"failed": "run_failed", "cancelled": "run_cancelled", "expired": "run_expired"}


class Lifecycle:
    """Moves runs on. Nothing here waits for time to pass; only a script that says so does."""

    def __init__(self, state: State, model: Model, now: Callable[[], int]) -> None:
        self.model = model
        self.changes = Changes()
        """Told whenever a run's status changed."""
        self._state = state
        self._now = now
        self._feeds: dict[str, RunFeed] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Stop working on runs; may be called twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def feed(self, run_id: str) -> RunFeed:
        """The run's events."""
        return self._feeds.setdefault(run_id, RunFeed())

    def take_up(self) -> None:
        """Go on with the runs that an earlier process left unfinished."""
        for run in self._state.runs.values():
            if run["held"] is not None:
                continue
            if run["status"] in ("queued", "in_progress"):
                self._begin(self._take_turn(run))
            elif run["status"] == "cancelling":
                self.cancel_done(run)

    def expire_overdue(self) -> None:
        """Expire what should have ended by now, by the server's clock."""
        for run in self._state.runs.values():
            if run["status"] not in objects.ENDED and self._now() >= run["expires_at"]:
                self.end(run, "expired")

    def start(self, run: Row) -> None:
        """Go on with a run that is queued, unless it is to stay so."""
        if not self._hold(run, "queued"):
            self._begin(self._take_turn(run))

    def resume(self, run: Row) -> None:
        """Go on with a run that was held in ``queued`` or ``in_progress``; any other is left as it is."""
        if run["held"] in ("queued", "in_progress"):
            run["held"] = None
            self._state.changed("run", run["id"])
            self._state.commit()
            self._begin(self._take_turn(run))

    def submit(self, run: Row, outputs: Sequence[ToolOutput]) -> None:
        """Take the outputs that the run asks for, all of them, and queue it; raises `ApiError`."""
        if run["status"] != "requires_action":
            raise refusals.outputs_not_accepted(run["status"])
        [step] = [step for step in self._state.steps_of(run) if step["status"] == "in_progress"]
        wanted = [call["call_id"] for call in step["calls"]]
        if sorted(wanted) != sorted(output.tool_call_id for output in outputs):
            raise refusals.wrong_outputs(wanted, [output.tool_call_id for output in outputs])
        by_id = {output.tool_call_id: output.output for output in outputs}
        for call in step["calls"]:
            call["output"] = by_id[call["call_id"]]
        step |= {"status": "completed", "completed_at": self._now()}
        self._state.changed("step", step["id"])
        self.feed(run["id"]).tell("thread.run.step.completed", objects.run_step(step, step["calls"]))
        self._move(run, "queued", required_action=None)

    def cancel(self, run: Row) -> None:
        """Begin to cancel an open run; raises `ApiError` where it has ended."""
        if run["status"] in objects.ENDED:
            raise refusals.not_cancellable(run["status"])
        if run["status"] != "cancelling":
            run["held"] = None
            self._record_turn(run)
            self._move(run, "cancelling", required_action=None)
            if not self._hold(run, "cancelling"):
                self._begin(self._finish_cancelling(run))

    def cancel_done(self, run: Row) -> None:
        """Let a run that is being cancelled be so."""
        if run["status"] == "cancelling":
            self.end(run, "cancelled")

    def lose(self, run: Row) -> None:
        """Let a run vanish; it does not hold its thread's lock any more."""
        run["lost"] = True
        self._state.changed("run", run["id"])
        self._state.commit()

    def end(self, run: Row, status: RunStatus, **values: Any) -> None:
        """End an open run with its open steps and messages; one that has ended is left as it is."""
        if run["status"] in objects.ENDED:
            return
        now = self._now()
        ended = {"held": None, "hold_in": [], "expire_at": None, "required_action": None, **values}
        if time_column := _END_TIMES.get(status):
            ended[time_column] = now
        if status == "completed":
            ended["expires_at"] = None
        for step in self._state.steps_of(run):
            if step["status"] == "in_progress":
                self._close_step(run, step, status, ended.get("last_error"))
        self._record_turn(run)
        self._move(run, status, **ended)
        self._state.commit()

    def _close_step(self, run: Row, step: Row, status: RunStatus, last_error: Any) -> None:
        feed, now = self.feed(run["id"]), self._now()
        message = self._state.messages.get(step["message_id"] or "")
        if message is not None and message["status"] == "in_progress":
            details = {"reason": _MESSAGE_ENDS.get(status, "max_tokens")}
            message |= {"status": "incomplete", "incomplete_at": now, "incomplete_details": details}
            feed.tell("thread.message.incomplete", objects.message(message))
        step_status, time_column = _STEP_ENDS.get(status, ("completed", "completed_at"))
        step |= {"status": step_status, time_column: now}
        step["last_error"] = last_error if step_status == "failed" else None
        feed.tell(f"thread.run.step.{step_status}", objects.run_step(step, step["calls"]))

    async def _finish_cancelling(self, run: Row) -> None:
        self.cancel_done(run)

    async def _take_turn(self, run: Row) -> None:
        if run["status"] == "queued":
            self._move(run, "in_progress", started_at=self._now())
        if self._hold(run, "in_progress"):
            self._state.commit()
            return
        stream = self.model.stream(next_turn(self._state, run))
        try:
            await self._write_turn(run, stream)
        except UpstreamError as error:
            self.end(run, "failed", last_error={"code": error.code, "message": str(error)})
        except Exception as error:  # noqa: BLE001 - whatever a model raises is why the run failed
            self.end(run, "failed", last_error={"code": "server_error", "message": repr(error)})
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

    async def _write_turn(self, run: Row, stream: AsyncIterator[ModelEvent]) -> None:
        writer = TurnWriter(self._state, run, self.feed(run["id"]), self._now)
        async for event in stream:
            if run["status"] != "in_progress":
                return  # it was cancelled or has expired
            if isinstance(event, TurnFinished):
                self._finish_turn(run, writer.finish(event), event)
                return
            writer.write(event)
            if run["expire_at"] == "mid_turn" and isinstance(event, TextDelta | ArgumentsDelta):
                self.end(run, "expired")

    def _finish_turn(self, run: Row, calls: list[Row], finished: TurnFinished) -> None:
        if calls and finished.reason in ("stop", "tool_calls"):
            self._ask(run, calls)
            return
        match finished.reason:
            case "length":
                self.end(run, "incomplete", incomplete_details={"reason": "max_completion_tokens"})
            case "content_filter":
                error = {"code": "invalid_prompt", "message": "The model's content filter stopped the answer."}
                self.end(run, "failed", last_error=error)
            case _:
                self.end(run, "completed")

    def _ask(self, run: Row, calls: list[Row]) -> None:
        if run["expire_at"] == "requires_action":
            self.end(run, "expired")
            return
        self._record_turn(run)
        self._move(run, "requires_action", required_action=objects.required_action(calls))
        self._state.commit()

    def _record_turn(self, run: Row) -> None:
        """What the turn made is written only now: before, a server that is killed takes it again."""
        steps = self._state.steps_of(run)
        self._state.changed("step", *(step["id"] for step in steps))
        self._state.changed("message", *(step["message_id"] for step in steps if step["message_id"]))
        self._state.changed("thread", run["thread_id"])

    def _move(self, run: Row, status: RunStatus, **values: Any) -> None:
        run |= {"status": status, **values}
        if status != "in_progress":  # a turn that is under way is taken again after a restart
            self._state.changed("run", run["id"])
        self.feed(run["id"]).tell(f"thread.run.{status}", objects.run(run))
        self.changes.tell()

    def _hold(self, run: Row, status: RunStatus) -> bool:
        """Let the run stay in a status if it is to, and tell whether it stays."""
        if status in run["hold_in"]:
            run["hold_in"] = [other for other in run["hold_in"] if other != status]
            run["held"] = status
            self._state.changed("run", run["id"])
            self.changes.tell()
        return bool(run["held"] == status)

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
