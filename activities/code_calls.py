"""Carry out calls of the built-in tool ``code_interpreter``: run the code, keep what it made, show what it printed."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import Connection
from temporalio import activity

from lockstitch import telemetry
from lockstitch.activities import built_in_calls
from lockstitch.activities.built_in_calls import BegunCall, BuiltInResult
from lockstitch.activities.code_sessions import CodeSessions, OpenSession
from lockstitch.activities.heartbeats import heartbeats
from lockstitch.activities.messages import ToolCallDone, UseBuiltInTool
from lockstitch.activities.upstream_errors import raise_for_temporal
from lockstitch.assistants import objects
from lockstitch.assistants.built_in_arguments import code_of
from lockstitch.assistants.store import code_files, files
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.files import CHUNK_BYTES
from lockstitch.assistants.store.rows import Row
from lockstitch.errors import LockstitchError, SandboxUnavailable, SessionLost
from lockstitch.sandbox.port import DATA, Displayed, Printed, Raised, Stopped, Value
from lockstitch.starter.contract import ToolOutcome
from lockstitch.starter.identifiers import new_file_id

_STATE_IS_GONE = (
    "Note: this is a new session. The one before was lost, and with it all variables and imports; the files in "
    "/mnt/data are there."
)


@dataclass(slots=True)
class _Output:
    """What one run of code gave."""

    logs: list[str] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)
    files: list["_MadeFile"] = field(default_factory=list)
    files_left_out: int = 0
    outcome: ToolOutcome = "succeeded"

    def take(self, event: Printed | Value | Displayed | Raised | Stopped) -> None:
        """Take what the code did."""
        match event:
            case Printed(_, text):
                self.logs.append(text)
            case Value(text):
                self._add_line(text)
            case Displayed(png):
                self.images.append(png)
            case Raised(_, _, traceback):
                self._add_line(traceback)
            case Stopped(limit):
                self._add_line(f"The code was interrupted: it reached its limit of {_LIMITS[limit]}.")

    def lose(self, error: LockstitchError) -> None:
        """Say that the session or the sandbox is not there any more."""
        self._add_line(f"Error: {error}")
        self.outcome = "failed"

    def _add_line(self, text: str) -> None:
        begins_line = not self.logs or self.logs[-1].endswith("\n")
        self.logs.append(f"{'' if begins_line else chr(10)}{text.rstrip()}\n")


_LIMITS = {"wall": "time", "cpu": "processor time"}


@dataclass(frozen=True, slots=True)
class _MadeFile:
    """A file to keep: its bytes are in ``stored``, on this worker's disk; ``path`` is where code has it."""

    file_id: str
    name: str
    stored: Path
    path: PurePosixPath | None = None

    def write(self, connection: Connection, run: Row) -> None:
        """Put the file into the store."""
        values = {
            "id": self.file_id,
            "created_at": int(time.time()),
            "purpose": "assistants_output",
            "filename": self.name,
            "bytes": self.stored.stat().st_size,
            "project_id": run["project_id"],
        }
        files.create(connection, values, _chunks(self.stored))
        if self.path is not None:
            code_files.add(connection, run["thread_id"], str(self.path), self.file_id)


class CodeActivities:
    """Runs the code of runs in the sessions that this worker holds."""

    def __init__(self, database: Database, sessions: CodeSessions) -> None:
        self._database = database
        self._sessions = sessions

    def activities(self) -> list[Callable[..., Any]]:
        """Return what a worker registers that runs code."""
        return [self.run_code]

    @activity.defn(name="run_code")
    async def run_code(self, call: UseBuiltInTool) -> ToolCallDone:
        """Carry out one call and record what it gave."""
        ids = {"run_id": call.run.run_id, "thread_id": call.run.thread_id, "call_id": call.call_id}
        with telemetry.log_context(**ids), heartbeats(), tempfile.TemporaryDirectory(prefix="lockstitch-") as folder:
            begun = await built_in_calls.begin(self._database, call)
            if isinstance(begun, ToolCallDone):
                return begun
            try:
                return await self._carried_out(begun, Path(folder))
            except LockstitchError as error:
                raise_for_temporal(error)

    async def _carried_out(self, begun: BegunCall, folder: Path) -> ToolCallDone:
        code = code_of(begun.call["arguments"])
        if not code.strip():
            shown = {"input": begun.call["arguments"], "outputs": []}
            refused = BuiltInResult("Error: The arguments have no code.", shown, outcome="invalid_arguments")
            return await built_in_calls.finish(self._database, begun, refused)
        output = _Output()
        try:
            async with self._sessions.use(begun.run) as held:
                await self._run(held, code, output, folder)
                # Where this fails, the session goes too: nobody would know what it has and the store has not.
                return await self._finish(begun, code, output, folder)
        except (SessionLost, SandboxUnavailable) as error:
            output.lose(error)
            return await self._finish(begun, code, output, folder)

    async def _finish(self, begun: BegunCall, code: str, output: _Output, folder: Path) -> ToolCallDone:
        result = _result(begun, code, output, _stored_images(output.images, folder))
        return await built_in_calls.finish(self._database, begun, result)

    async def _run(self, held: OpenSession, code: str, output: _Output, folder: Path) -> None:
        if held.is_new_after_loss:
            output.logs.append(f"{_STATE_IS_GONE}\n")
        async with aclosing(held.session.run(code)) as events:
            async for event in events:
                output.take(event)
        changes = await held.session.changed_files()
        output.files_left_out = changes.left_out
        for number, changed in enumerate(changes.files):
            stored = folder / f"file-{number}"
            with stored.open("wb") as copy:
                async with aclosing(held.session.get(changed.path)) as pieces:
                    async for piece in pieces:
                        copy.write(piece)
            made = _MadeFile(new_file_id(), changed.path.name, stored, changed.path)
            output.files.append(made)
            held.put[str(changed.path)] = made.file_id


def _stored_images(images: Sequence[bytes], folder: Path) -> list[_MadeFile]:
    made = []
    for number, png in enumerate(images, 1):
        stored = folder / f"image-{number}"
        stored.write_bytes(png)
        made.append(_MadeFile(new_file_id(), f"figure-{number}.png", stored))
    return made


def _result(begun: BegunCall, code: str, output: _Output, images: Sequence[_MadeFile]) -> BuiltInResult:
    logs = "".join(output.logs)
    outputs: list[dict[str, Any]] = [{"type": "logs", "logs": logs}] if logs else []
    outputs += [{"type": "image", "image": {"file_id": image.file_id}} for image in images]
    deltas = [objects.code_outputs_delta(begun.call["step_id"], begun.call["position"], outputs)] if outputs else []

    def write(connection: Connection) -> None:
        for made in (*output.files, *images):
            made.write(connection, begun.run)

    telemetry.log.info("code_run", outputs=len(outputs), files=len(output.files), outcome=output.outcome)
    shown = {"input": code, "outputs": outputs}
    return BuiltInResult(_told(logs, output, len(images)), shown, output.outcome, tuple(deltas), write)


def _told(logs: str, output: _Output, images: int) -> str:
    """Return what the model reads."""
    lines = [logs.rstrip("\n")] if logs else []
    if images:
        lines.append(f"Shown to the user: {images} figure{'' if images == 1 else 's'}.")
    lines += [f"Saved: sandbox:{DATA / made.path}" for made in output.files if made.path is not None]
    if output.files_left_out:
        lines.append(f"{output.files_left_out} more files were made and not kept.")
    return "\n".join(lines) or "The code ran and printed nothing."


def _chunks(stored: Path) -> Iterator[bytes]:
    with stored.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            yield chunk
