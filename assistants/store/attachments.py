"""Files that come with messages: they become what the tools of the thread may use."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from lockstitch.assistants import refusals
from lockstitch.assistants.store import files, rows, vector_store_files, vector_stores
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.schema import threads
from lockstitch.assistants.store.vector_store_files import AddedFile
from lockstitch.starter.contract import Attachment

STORE_EXPIRES_AFTER = {"anchor": "last_active_at", "days": 7}
"""A vector store that was made for attachments goes when nobody uses it for so long (Assistants API)."""

MAX_CODE_FILES = 20
"""So many files may the code interpreter of a thread have (Assistants API)."""


def take_in(connection: Connection, thread_id: str, attachments: Sequence[Attachment], now: int) -> None:
    """Give a thread's tools the files that are attached for them.

    Files for search go into the thread's vector store, which is made for the first of them. Raises `ApiError`: 404 for
    a file that does not exist, 400 where a tool gets too many.
    """
    wanted = {tool: _for_tool(attachments, tool) for tool in ("code_interpreter", "file_search")}
    if not any(wanted.values()):
        return
    # Written as it is, so that nobody else changes it before this is through.
    thread = rows.change(connection, threads, {"id": thread_id}, {"id": thread_id})
    if thread is None:
        raise refusals.no_thread(thread_id)
    resources: dict[str, Any] = dict(thread["tool_resources"])
    if wanted["code_interpreter"]:
        resources["code_interpreter"] = _with_code_files(connection, thread, wanted["code_interpreter"])
    if wanted["file_search"]:
        store_id = _usable_store(connection, thread, now) or _new_store(connection, thread, now)
        _add_to_store(connection, store_id, wanted["file_search"], now)
        resources["file_search"] = {"vector_store_ids": [store_id]}
    rows.overwrite(connection, threads, {"id": thread_id}, {"tool_resources": resources})


def _for_tool(attachments: Sequence[Attachment], tool: str) -> list[str]:
    wanted = [attachment.file_id for attachment in attachments if any(each.type == tool for each in attachment.tools)]
    return list(dict.fromkeys(wanted))


def _with_code_files(connection: Connection, thread: Row, file_ids: Sequence[str]) -> dict[str, list[str]]:
    files.check(connection, file_ids, project=thread["project_id"])
    known = thread["tool_resources"].get("code_interpreter", {}).get("file_ids", [])
    together = list(dict.fromkeys([*known, *file_ids]))
    if len(together) > MAX_CODE_FILES:
        raise refusals.too_many_code_files(MAX_CODE_FILES)
    return {"file_ids": together}


def _usable_store(connection: Connection, thread: Row, now: int) -> str | None:
    for store_id in thread["tool_resources"].get("file_search", {}).get("vector_store_ids", []):
        if vector_stores.is_usable(connection, store_id, now):
            return str(store_id)
    return None


def _new_store(connection: Connection, thread: Row, now: int) -> str:
    values = {"project_id": thread["project_id"], "expires_after": STORE_EXPIRES_AFTER}
    return str(vector_stores.create(connection, values, now)["id"])


def _add_to_store(connection: Connection, store_id: str, file_ids: Sequence[str], now: int) -> None:
    added = [AddedFile(each) for each in file_ids if not vector_store_files.holds(connection, store_id, each)]
    if added:
        vector_store_files.add(connection, store_id, added, now)
