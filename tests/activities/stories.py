"""What the events of a run have to be like, whichever backend tells them."""

import json
from collections.abc import Sequence
from typing import get_args

from lockstitch.activities.messages import EndRun
from lockstitch.assistants.store.event_log import LoggedEvent

ENDINGS = get_args(EndRun.model_fields["status"].annotation)
ENDS = {"completed", "incomplete", *ENDINGS}
OPEN = {"created", "in_progress", "delta"}


def check_story(events: Sequence[LoggedEvent]) -> None:
    """Numbers have no gap; steps and messages are created first, end, and nothing is open when the run has ended.

    What was completed may be taken back once, by an attempt that does it again or by the end of the run.
    """
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    stage: dict[str, str] = {}
    for event in events:
        owner, what = json.loads(event.data)["id"], event.event.rpartition(".")[2]
        if owner.startswith(("run_", "thread_")):
            assert not stage or "ended" not in stage
            if what in ENDS:
                assert not set(stage.values()) & OPEN
                stage["ended"] = what
            continue
        allowed = {"created": {None}, "delta": OPEN, "in_progress": OPEN, "completed": OPEN}
        assert stage.get(owner) in allowed.get(what, OPEN | {"completed"}), f"{event.event} of {owner}: {stage}"
        stage[owner] = what


def told_texts(events: Sequence[LoggedEvent]) -> dict[str, str]:
    """Return the text of each message as its deltas make it."""
    texts: dict[str, str] = {}
    for event in events:
        if event.event == "thread.message.delta":
            data = json.loads(event.data)
            said = "".join(part["text"]["value"] for part in data["delta"]["content"])
            texts[data["id"]] = texts.get(data["id"], "") + said
    return texts
