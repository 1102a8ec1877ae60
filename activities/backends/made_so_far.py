"""What the built-in tools of a run have given so far: what an answer can point to, and pictures that nobody saw yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from lockstitch.activities.backends.annotations import Sources
from lockstitch.assistants.search.marks import mark
from lockstitch.assistants.store import code_files, files, tool_calls
from lockstitch.assistants.store.rows import Row
from lockstitch.sandbox.port import DATA


@dataclass(slots=True)
class MadeSoFar:
    """What built-in tools gave; ``images`` are the files of pictures that no message shows yet."""

    sources: Sources = field(default_factory=Sources)
    images: list[str] = field(default_factory=list)

    def take_images(self) -> list[str]:
        """Return the pictures for the message that begins; the next one does not show them again."""
        taken, self.images = self.images, []
        return taken


def read_made(connection: Connection, run: Row, run_steps: Sequence[Row]) -> MadeSoFar:
    """Return what the run with these steps has, and the files that code has made in any run of its thread.

    What a search found in a file that was deleted since is not there any more, and nothing points to it.
    """
    tool_steps = [step["id"] for step in run_steps if step["type"] == "tool_calls"]
    calls = tool_calls.of_steps(connection, tool_steps)
    passages = {
        mark(call["result"]["number"], position, found["file_name"]): found["file_id"]
        for step_id in tool_steps
        for call in calls[step_id]
        if call["type"] == "file_search" and call["result"]
        for position, found in enumerate(call["result"]["results"])
    }
    made = code_files.of_thread(connection, run["thread_id"])
    there = files.existing(connection, set(passages.values()))
    passages = {marked: file_id for marked, file_id in passages.items() if file_id in there}
    sources = Sources(passages, {str(DATA / path): file_id for path, file_id in made.items()})
    return MadeSoFar(sources, _unseen_images(run_steps, calls))


def _unseen_images(run_steps: Sequence[Row], calls: Mapping[str, Sequence[Row]]) -> list[str]:
    images: list[str] = []
    for step in run_steps:
        if step["type"] == "message_creation":
            images = [] if step["status"] == "completed" else images
            continue
        for call in calls[step["id"]]:
            if call["type"] == "code_interpreter" and call["result"]:
                outputs = call["result"]["outputs"]
                images += [output["image"]["file_id"] for output in outputs if output["type"] == "image"]
    return images
