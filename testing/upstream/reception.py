"""Takes each request: writes it down, lets faults happen to it, has it carried out, answers."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lockstitch.assistants import objects, refusals
from lockstitch.errors import ApiError
from lockstitch.starter.identifiers import new_id
from lockstitch.testing.upstream import answers, faults
from lockstitch.testing.upstream.changes import Changes
from lockstitch.testing.upstream.connections import Connections
from lockstitch.testing.upstream.faults import FaultPlan
from lockstitch.testing.upstream.journal import Journal, Operation, ReceivedRequest
from lockstitch.testing.upstream.lifecycle import Lifecycle
from lockstitch.testing.upstream.operations import Call, Done
from lockstitch.testing.upstream.state import Row, State

_LETS_START: tuple[Operation, ...] = ("create_run", "submit_tool_outputs")


class Reception:
    """What stands between a request and its operation."""

    def __init__(
        self,
        state: State,
        lifecycle: Lifecycle,
        connections: Connections,
        *,
        poll_after: timedelta | None,
        expire_by_clock: bool,
    ) -> None:
        self.changes = Changes()
        """Told whenever something became of a request."""
        self.journal = Journal(self.changes)
        self.plan = FaultPlan()
        self.poll_after = poll_after
        self._state = state
        self._lifecycle = lifecycle
        self._connections = connections
        self._expire_by_clock = expire_by_clock
        self._release = asyncio.Event()
        for _, row in sorted(state.requests.items()):
            self.journal.add(ReceivedRequest(**row))
        self.plan.restore(state.faults.get("plan", {}).get("planned", []))

    def release_answers(self) -> None:
        """Send the answers that are being held."""
        waited, self._release = self._release, asyncio.Event()
        waited.set()

    def inject(self, planned: tuple[faults.Fault, ...]) -> None:
        """Add faults to the plan."""
        self.plan.inject(planned)
        self._save()

    def clear_faults(self) -> None:
        """Empty the plan."""
        self.plan.clear()
        self._save()

    def endpoint(
        self, operation: Operation, carry_out: Callable[[Call], Done]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Make the endpoint of an operation."""

        async def answer(request: Request) -> Response:
            raw = await request.body()
            entry = ReceivedRequest(len(self.journal) + 1, operation, request.method, request.url.path)
            entry.ids = dict(request.path_params)
            self.journal.add(entry)
            try:
                entry.body = _body(raw)
                entry.metadata = self._metadata(entry)
                self._save(entry)
                answered = await self._answer(entry, carry_out, dict(request.query_params))
            except ApiError as error:
                answered = answers.error_answer(error)
            if not isinstance(answered, answers.NoAnswer):
                entry.status = answered.status_code
            self._save(entry)
            return answered

        return answer

    async def _answer(
        self, entry: ReceivedRequest, carry_out: Callable[[Call], Done], query: dict[str, str]
    ) -> Response:
        if instead := self.plan.take_one(entry, faults.INSTEAD):
            return self._instead(entry, instead)
        done = self._carry_out(entry, carry_out, query)
        for fault in self.plan.take(entry, faults.TO_ANSWER):
            if isinstance(fault, faults.LoseAnswer):
                return answers.NoAnswer(self._connections)
            if isinstance(fault, faults.DelayAnswer):
                self._save(entry)
                await self._wait(fault.delay)
        if entry.streams and done.run is not None and entry.operation in _LETS_START:
            to_stream = self.plan.take(entry, faults.TO_STREAM)
            return answers.stream_answer(self._lifecycle.feed(done.run["id"]).after(done.seen), to_stream)
        return answers.json_answer(done.object, headers=self._poll_headers(done.run))

    def _carry_out(self, entry: ReceivedRequest, carry_out: Callable[[Call], Done], query: dict[str, str]) -> Done:
        """Carry the request out; from the first look at the state to the last nothing else happens."""
        if self._expire_by_clock:
            self._lifecycle.expire_overdue()
        run = self._known_run(entry)
        if run is not None:
            self._happen_to(run, entry)
        done = carry_out(Call(entry.ids, entry.body, query))
        entry.carried_out = True
        if entry.operation == "create_run" and done.run is not None:
            entry.ids |= {"run_id": done.run["id"], "thread_id": done.run["thread_id"]}
            self._happen_to(done.run, entry)
            done = Done(objects.run(done.run), done.run, done.seen)
        if entry.operation in _LETS_START and done.run is not None and done.run["status"] == "queued":
            self._lifecycle.start(done.run)
        self._save(entry)
        return done

    def _happen_to(self, run: Row, entry: ReceivedRequest) -> None:
        """Let the faults that are about a run happen to it, or arm it so that they will."""
        holds = {
            faults.StayQueued: "queued",
            faults.StayInProgress: "in_progress",
            faults.HangInCancelling: "cancelling",
        }
        for fault in self.plan.take(entry, faults.TO_RUN):
            match fault:
                case faults.ExpireRun(at="now"):
                    self._lifecycle.end(run, "expired")
                case faults.ExpireRun(at=at):
                    run["expire_at"] = at
                case faults.LoseRun():
                    self._lifecycle.lose(run)
                case _:
                    run["hold_in"] = [*run["hold_in"], holds[type(fault)]]
            self._state.changed("run", run["id"])

    def _instead(self, entry: ReceivedRequest, fault: faults.Fault) -> Response:
        match fault:
            case faults.FailRequest():
                return answers.failed_answer(fault)
            case faults.WrongThreadLock(active_run_id=run_id):
                refuse = refusals.run_while_run_is_active
                if entry.operation == "create_message":
                    refuse = refusals.message_while_run_is_active
                raise refuse(entry.thread_id or "", run_id or new_id("run"))
            case _:
                return answers.NoAnswer(self._connections)

    async def _wait(self, delay: timedelta | None) -> None:
        if delay is None:
            await self._release.wait()
        else:
            await asyncio.sleep(delay.total_seconds())

    def _known_run(self, entry: ReceivedRequest) -> Row | None:
        return None if entry.run_id is None else self._state.runs.get(entry.run_id)

    def _metadata(self, entry: ReceivedRequest) -> dict[str, str]:
        run = self._known_run(entry)
        metadata = entry.body.get("metadata") if run is None else run["metadata"]
        return dict(metadata) if isinstance(metadata, dict) else {}

    def _poll_headers(self, run: Row | None) -> dict[str, str]:
        if run is None or self.poll_after is None or run["status"] in objects.ENDED:
            return {}
        return {"openai-poll-after-ms": str(round(self.poll_after / timedelta(milliseconds=1)))}

    def _save(self, entry: ReceivedRequest | None = None) -> None:
        """Write what was changed, together with what is told of it, before anybody is answered."""
        if entry is not None:
            number = f"{entry.number:09}"
            self._state.requests[number] = entry.as_json()
            self._state.changed("request", number)
        self._state.faults["plan"] = {"planned": self.plan.as_json()}
        self._state.changed("faults", "plan")
        self._state.commit()
        self.changes.tell()


def _body(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw or b"{}")
    except ValueError as error:
        raise refusals.not_json() from error
    if not isinstance(body, dict):
        raise refusals.wrong_body_type("an array" if isinstance(body, list) else "another value")
    return body
