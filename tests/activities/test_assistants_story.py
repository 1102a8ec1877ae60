"""What is told of runs on servers that tell less, tell it twice, or tell it in another order."""

import json
from typing import Any

import pytest

from lockstitch.activities.backends.assistants.rounds import CallNames
from lockstitch.activities.backends.assistants.story import Story
from lockstitch.activities.messages import RunRef
from lockstitch.assistants.store.event_log import LoggedEvent, NewEvent
from lockstitch.tests.activities.stories import check_story, told_texts

RUN = RunRef(run_id="run_1", thread_id="thread_1", assistant_id="asst_1", backend="assistants", upstream_id="run_up")


def run(status: str, **values: Any) -> dict[str, Any]:
    return {"id": "run_up", "object": "thread.run", "status": status, "metadata": None, **values}


def step(status: str = "in_progress", kind: str = "message_creation", **details: Any) -> dict[str, Any]:
    what = details or {"message_id": "msg_1"}
    return {
        "id": "step_1",
        "object": "thread.run.step",
        "run_id": "run_up",
        "type": kind,
        "status": status,
        "step_details": {"type": kind, kind: what.get("calls", what)},
    }


def message(text: str, **values: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": {"value": text, "annotations": []}}] if text else []
    return {"id": "msg_1", "object": "thread.message", "run_id": "run_up", "content": content, **values}


def delta(text: str, *, first: bool = False) -> dict[str, Any]:
    value = {"value": text, "annotations": []} if first else {"value": text}
    content = [{"index": 0, "type": "text", "text": value}]
    return {"id": "msg_1", "object": "thread.message.delta", "delta": {"content": content}}


class Told:
    """A story and everything that it told."""

    def __init__(self, *handled: str) -> None:
        self.story = Story(RUN, handled, CallNames(RUN, ()))
        self.events: list[NewEvent] = self.story.open(run("queued"))

    def hear(self, event: str, data: dict[str, Any]) -> None:
        self.events += self.story.hear(f"thread.{event}", data)

    def finish(self, upstream_run: dict[str, Any], steps: Any = (), messages: Any = ()) -> None:
        self.events += self.story.catch_up(upstream_run, steps, messages)
        self.events += self.story.stop(upstream_run, 7)

    @property
    def logged(self) -> list[LoggedEvent]:
        return [LoggedEvent(seq, it.event, json.dumps(it.data), 1) for seq, it in enumerate(self.events, 1)]

    @property
    def names(self) -> list[str]:
        check_story(self.logged)
        return [it.event.removeprefix("thread.") for it in self.events[2:]]

    @property
    def said(self) -> list[str]:
        return [
            it.data["delta"]["content"][0]["text"]["value"] for it in self.events if it.event == "thread.message.delta"
        ]


WHOLE_RUN = [
    "run.in_progress",
    "run.step.created",
    "run.step.in_progress",
    "message.created",
    "message.in_progress",
    "message.delta",
    "message.completed",
    "run.step.completed",
    "run.completed",
]


def test_a_run_that_was_only_read_is_told_like_one_that_was_streamed():
    told = Told()
    told.finish(run("completed"), [step("completed")], [message("Hello.")])

    assert told.names == WHOLE_RUN
    assert told.said == ["Hello."]


def test_a_server_that_has_no_steps_still_has_messages():
    told = Told()
    told.finish(run("completed"), [], [message("Hello.")])

    assert told.names == [name for name in WHOLE_RUN if "step" not in name]


def test_events_that_a_server_leaves_out_are_told():
    told = Told()
    told.hear("message.completed", message("Hello.", status="completed"))
    told.finish(run("completed"))

    assert told.names == ["run.in_progress", "message.created", "message.delta", "message.completed", "run.completed"]


@pytest.mark.parametrize("text", ["ha ha ha", "ha ha"])
def test_a_word_that_may_have_been_said_twice_or_sent_twice_waits_for_the_whole(text):
    told = Told()
    told.hear("message.created", message(""))
    for said in (delta("ha", first=True), delta(" ha"), delta(" ha")):
        told.hear("message.delta", said)
    told.hear("message.completed", message(text))
    told.finish(run("completed"))

    assert told_texts(told.logged) == {"msg_1": text}
    assert told.names.count("message.completed") == 1


def test_a_first_delta_that_is_sent_twice_is_told_once_and_nothing_waits():
    told = Told()
    told.hear("message.created", message(""))
    for said in (delta("ha", first=True), delta("ha", first=True), delta(" ho")):
        told.hear("message.delta", said)

    assert told.said == ["ha", " ho"]


def test_signs_and_numbers_are_said_twice_without_waiting():
    told = Told()
    told.hear("message.created", message(""))
    for said in (delta("|", first=True), delta("---|"), delta("---|"), delta(" a")):
        told.hear("message.delta", said)

    assert told.said == ["|", "---|", "---|", " a"]


def test_a_text_that_is_not_what_was_told_is_told_by_its_end_only():
    told = Told()
    told.hear("message.created", message(""))
    told.hear("message.delta", delta("Good ", first=True))
    told.hear("message.completed", message("Bad day."))

    assert told.said == ["Good "]
    assert told.events[-1].data["content"][0]["text"]["value"] == "Bad day."


def test_a_call_that_was_told_to_its_middle_is_told_to_its_end_before_outputs_are_asked_for():
    call = {"id": "call_a", "type": "function", "function": {"name": "find", "arguments": '{"n": 1}'}}
    asked = {"submit_tool_outputs": {"tool_calls": [call]}, "type": "submit_tool_outputs"}
    told = Told()
    told.hear("run.step.created", step(kind="tool_calls", calls=[]))
    begun = {"index": 0, "id": "call_a", "type": "function", "function": {"name": "find", "arguments": '{"n"'}}
    details = {"type": "tool_calls", "tool_calls": [begun]}
    told.hear("run.step.delta", {"id": "step_1", "object": "thread.run.step.delta", "delta": {"step_details": details}})
    told.finish(run("requires_action", required_action=asked), [step(kind="tool_calls", calls=[call])])

    deltas = [it.data["delta"]["step_details"]["tool_calls"] for it in told.events if it.event.endswith("delta")]
    assert "".join(entry["function"]["arguments"] for [entry] in deltas) == '{"n": 1}'
    assert told.names[-1] == "run.requires_action"


def test_only_calls_that_nobody_handles_here_are_asked_for():
    calls = [
        {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        for name in ("find", "price")
    ]
    asked = {"submit_tool_outputs": {"tool_calls": calls}, "type": "submit_tool_outputs"}
    told = Told("find")
    told.finish(run("requires_action", required_action=asked), [step(kind="tool_calls", calls=calls)])

    awaited = told.events[-1].data["required_action"]["submit_tool_outputs"]["tool_calls"]
    assert [call["function"]["name"] for call in awaited] == ["price"]


@pytest.mark.parametrize("status", ["completed", "failed", "incomplete", "cancelled"])
def test_what_a_server_leaves_open_ends_with_the_run(status):
    told = Told()
    told.hear("run.step.created", step())
    told.hear("message.created", message(""))
    told.hear("message.delta", delta("Hello", first=True))
    told.events += told.story.stop(run(status), 7)

    ended = "completed" if status == "completed" else "incomplete"
    step_ended = "completed" if status == "incomplete" else status
    assert told.names[-3:] == [f"message.{ended}", f"run.step.{step_ended}", f"run.{status}"]


def test_the_story_goes_on_from_the_log():
    first = Told()
    first.hear("run.step.created", step())
    first.hear("message.created", message(""))
    first.hear("message.delta", delta("Hel", first=True))
    second = Told()
    second.story = Story(RUN, (), CallNames(RUN, ()))
    second.story.read(first.logged)
    second.events = list(first.events)
    second.finish(run("completed"), [step("completed")], [message("Hello.")])

    assert second.said == ["Hel", "lo."]
    assert second.names.count("message.created") == second.names.count("run.step.created") == 1


def test_an_old_event_says_completed_of_a_run_that_is_incomplete():
    told = Told()
    told.finish(run("incomplete"), [step("completed")], [message("Hello", status="incomplete")])

    assert told.names[-3:] == ["message.incomplete", "run.step.completed", "run.incomplete"]
