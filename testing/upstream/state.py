"""What the server knows: objects by kind and id, in memory and, where there is a file, written through to it."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from lockstitch.errors import StoreUnavailable

Row = dict[str, Any]
Kind = Literal["assistant", "thread", "message", "run", "step", "request", "faults"]

_CREATE = """create table if not exists rows (
    kind text not null, id text not null, content text not null, primary key (kind, id)
)"""
_PUT = """insert into rows (kind, id, content) values (?, ?, ?)
    on conflict (kind, id) do update set content = excluded.content"""


class State:
    """Objects of each kind, in the order in which they were made.

    What is changed has to be told with `changed`; `commit` writes it into the file, in one transaction. What a
    model turn has made so far is not told before the turn is over, so a server that is killed takes it again.
    """

    def __init__(self, file: Path | None = None) -> None:
        """Read what the file holds; raises `StoreUnavailable`."""
        self.assistants: dict[str, Row] = {}
        self.threads: dict[str, Row] = {}
        self.messages: dict[str, Row] = {}
        self.runs: dict[str, Row] = {}
        self.steps: dict[str, Row] = {}
        self.requests: dict[str, Row] = {}
        self.faults: dict[str, Row] = {}
        self._changed: dict[tuple[Kind, str], None] = {}
        self._file = None if file is None else _open(file)
        for kind, row_id, content in _rows(self._file):
            self._of(kind)[row_id] = content
        self._forget_unwritten()

    def changed(self, kind: Kind, *ids: str) -> None:
        """Have these objects written with the next `commit`; one that is not there any more is deleted."""
        self._changed |= dict.fromkeys((kind, row_id) for row_id in ids)

    def commit(self) -> None:
        """Write what was changed; it then survives whatever kills the process."""
        changed, self._changed = self._changed, {}
        if self._file is None or not changed:
            return
        with self._file:
            for kind, row_id in changed:
                content = self._of(kind).get(row_id)
                if content is None:
                    self._file.execute("delete from rows where kind = ? and id = ?", (kind, row_id))
                else:
                    self._file.execute(_PUT, (kind, row_id, json.dumps(content)))

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def steps_of(self, run: Row) -> list[Row]:
        """Return the run's steps, oldest first."""
        return [self.steps[step_id] for step_id in run["step_ids"]]

    def messages_of(self, thread: Row) -> list[Row]:
        """Return the thread's messages, oldest first."""
        return [self.messages[message_id] for message_id in thread["message_ids"]]

    def runs_of(self, thread: Row) -> list[Row]:
        """Return the thread's runs, oldest first, but for those that were lost."""
        runs = [self.runs[run_id] for run_id in thread["run_ids"]]
        return [run for run in runs if not run["lost"]]

    def _forget_unwritten(self) -> None:
        """Drop the ids of what a turn had made that was not over when the process was killed."""
        for run in self.runs.values():
            run["step_ids"] = [step_id for step_id in run["step_ids"] if step_id in self.steps]
        for thread in self.threads.values():
            thread["message_ids"] = [message_id for message_id in thread["message_ids"] if message_id in self.messages]

    def _of(self, kind: Kind) -> dict[str, Row]:
        rows: dict[str, Row] = self.faults if kind == "faults" else getattr(self, f"{kind}s")
        return rows


def _open(file: Path) -> sqlite3.Connection:
    try:
        opened = sqlite3.connect(file, check_same_thread=False)
        # A process that is killed loses nothing of what was committed; only a machine that stops would.
        opened.execute("pragma journal_mode=wal")
        opened.execute("pragma synchronous=normal")
        with opened:
            opened.execute(_CREATE)
    except sqlite3.Error as error:
        raise StoreUnavailable(str(file), str(error)) from error
    return opened


def _rows(file: sqlite3.Connection | None) -> Iterator[tuple[Kind, str, Row]]:
    found: Iterable[Any] = () if file is None else file.execute("select kind, id, content from rows order by rowid")
    for kind, row_id, content in found:
        yield kind, row_id, json.loads(content)
