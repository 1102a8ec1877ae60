"""The calls that a model makes in one turn of a run of our own server: of functions, and of built-in tools."""

from collections.abc import Container, Iterable
from typing import Any

from lockstitch.assistants import objects
from lockstitch.assistants.built_in_arguments import code_of
from lockstitch.assistants.model.turn import ArgumentsDelta, CallStarted
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.assistants.store.rows import Row
from lockstitch.starter.identifiers import new_id


class _Call:
    """One call while its arguments come."""

    def __init__(self, call_id: str, name: str, kind: str) -> None:
        self.call_id = call_id
        self.name = name
        self.kind = kind
        self.arguments = ""
        self._code_told = 0

    def more_code(self) -> str:
        """Return what has come of the code since this was asked last."""
        code = code_of(self.arguments, partial=True)
        told, self._code_told = self._code_told, max(self._code_told, len(code))
        return code[told:]


class TurnCalls:
    """Collects the calls of one turn, and says what watchers are told of them.

    ``taken`` are the ids of the run's earlier calls.
    """

    def __init__(self, run: Row, taken: Container[str]) -> None:
        self._run = run
        self._taken = taken
        self._built_in = built_in_tools(run)
        self._calls: list[_Call] = []

    def __bool__(self) -> bool:
        return bool(self._calls)

    def start(self, step_id: str, event: CallStarted) -> NewEvent:
        """Begin a call and return what tells it."""
        # Some models number their calls anew in every turn; within a run, an id has to mean one call.
        call_id = event.call_id if event.call_id and event.call_id not in self._taken else new_id("call")
        kind = event.name if event.name in self._built_in else "function"
        self._calls.append(_Call(call_id, event.name, kind))
        return NewEvent(
            "thread.run.step.delta", objects.call_started_delta(step_id, event.index, call_id, event.name, kind)
        )

    def add_arguments(self, step_id: str, event: ArgumentsDelta) -> NewEvent | None:
        """Take more of a call's arguments and return what tells them, where clients see them."""
        call = self._calls[event.index]
        call.arguments += event.delta
        if call.kind == "function":
            delta = objects.call_arguments_delta(step_id, event.index, event.delta)
        elif call.kind == "code_interpreter" and (code := call.more_code()):
            delta = objects.code_input_delta(step_id, event.index, code)
        else:
            return None
        return NewEvent("thread.run.step.delta", delta)

    def rows(self, step_id: str) -> list[dict[str, Any]]:
        """Return the calls as the store keeps them."""
        return [
            {
                "run_id": self._run["id"],
                "call_id": call.call_id,
                "thread_id": self._run["thread_id"],
                "step_id": step_id,
                "position": position,
                "name": call.name,
                "arguments": call.arguments,
                "type": call.kind,
            }
            for position, call in enumerate(self._calls)
        ]


def built_in_tools(run: Row) -> frozenset[str]:
    """Return which built-in tools the run has."""
    return frozenset(tool["type"] for tool in run["tools"]) - {"function"}


def awaited_of(rows: Iterable[Row], handled: Container[str]) -> list[Row]:
    """Return the calls that somebody outside has to answer."""
    return [row for row in rows if row["type"] == "function" and row["name"] not in handled]
