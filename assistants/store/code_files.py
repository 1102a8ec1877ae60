"""Files of the code interpreter: what it has from clients, and what code has written in the sessions of a thread."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from sqlalchemy import Connection, bindparam, select

from lockstitch.assistants.store import files, rows
from lockstitch.assistants.store.prepared import Prepared
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.schema import code_files, threads

_OF_THREAD = Prepared(
    select(code_files.c.path, code_files.c.file_id)
    .where(code_files.c.thread_id == bindparam("thread"))
    .order_by(code_files.c.seq)
)


def add(connection: Connection, thread_id: str, path: str, file_id: str) -> None:
    """Take note that code has written a file; ``path`` is relative to the session's folder."""
    rows.put(connection, code_files, {"thread_id": thread_id, "path": path, "file_id": file_id})


def of_thread(connection: Connection, thread_id: str) -> Mapping[str, str]:
    """Return the ids of the files that code has written, by path; the newest of each."""
    return {row["path"]: row["file_id"] for row in _OF_THREAD.all(connection, {"thread": thread_id})}


def given(connection: Connection, run: Row) -> Mapping[str, Row]:
    """Return the files that clients gave to the run's assistant and thread for code, by path.

    Two files of one name get different paths, the same ones every time.
    """
    thread = rows.get(connection, threads, id=run["thread_id"])
    resources = [run["tool_resources"], thread["tool_resources"] if thread else {}]
    file_ids = [each for it in resources for each in it.get("code_interpreter", {}).get("file_ids", [])]
    found = [files.find(connection, file_id, project=run["project_id"]) for file_id in dict.fromkeys(file_ids)]
    return _by_path([file for file in found if file is not None])


def _by_path(given_files: Sequence[Row]) -> dict[str, Row]:
    by_path: dict[str, Row] = {}
    for file in given_files:
        name = _safe_name(file["filename"])
        path, number = name, 1
        while path in by_path:
            number += 1
            path = f"{PurePosixPath(name).stem}-{number}{PurePosixPath(name).suffix}"
        by_path[path] = file
    return by_path


def _safe_name(filename: str) -> str:
    """Return a name for one file in one folder, whatever a client called it."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    name = "".join(character if character.isprintable() else "_" for character in name).strip()
    encoded = name.encode("utf-8", errors="replace")[-_LONGEST_NAME:]  # the end, for the extension is there
    name = encoded.decode("utf-8", errors="ignore")
    return "file" if name in ("", ".", "..") else name


_LONGEST_NAME = 200
