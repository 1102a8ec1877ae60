"""Carry out calls of the built-in tool ``file_search``: wait for files, look for passages, give them marks."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from temporalio import activity

from lockstitch import telemetry
from lockstitch.activities import built_in_calls
from lockstitch.activities.built_in_calls import BegunCall, BuiltInResult
from lockstitch.activities.heartbeats import heartbeats
from lockstitch.activities.messages import ToolCallDone, UseBuiltInTool
from lockstitch.activities.upstream_errors import raise_for_temporal
from lockstitch.assistants.built_in_arguments import query_of
from lockstitch.assistants.model.tokens import count_tokens
from lockstitch.assistants.search.marks import mark
from lockstitch.assistants.search.query import Found, Query, Search
from lockstitch.assistants.store import rows, tool_calls, vector_stores
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.schema import threads
from lockstitch.errors import LockstitchError

MOST_RESULTS = 20
"""So many passages the API gives the model where nobody says otherwise."""

MOST_TOKENS = 16_000
"""Of all passages together (Assistants API)."""

FILES_AWAITED = 60.0
"""Seconds that a search waits for files of the thread that are being ingested (Assistants API)."""

_LOOK_AGAIN = 0.25

_RANKER = "default_2024_08_21"


class SearchActivities:
    """Searches the vector stores of runs."""

    def __init__(self, database: Database, search: Search, *, files_awaited: float = FILES_AWAITED) -> None:
        self._database = database
        self._search = search
        self._files_awaited = files_awaited

    def activities(self) -> list[Callable[..., Any]]:
        """Return what a worker of the queue of runs registers."""
        return [self.search_files]

    @activity.defn(name="search_files")
    async def search_files(self, call: UseBuiltInTool) -> ToolCallDone:
        """Carry out one call and record what it found."""
        ids = {"run_id": call.run.run_id, "thread_id": call.run.thread_id, "call_id": call.call_id}
        with telemetry.log_context(**ids), heartbeats():
            begun = await built_in_calls.begin(self._database, call)
            if isinstance(begun, ToolCallDone):
                return begun
            try:
                result = await self._result(begun)
            except LockstitchError as error:
                raise_for_temporal(error)
            return await built_in_calls.finish(self._database, begun, result)

    async def _result(self, begun: BegunCall) -> BuiltInResult:
        asked = _Asked(begun.run)
        query = query_of(begun.call["arguments"])
        if not query.strip():
            shown = asked.shown(0, [])
            return BuiltInResult("Error: The arguments have no query.", shown, outcome="invalid_arguments")
        store_ids = await self._stores(begun.run)
        await self._wait_for_files(begun.run)
        looked_for = Query([query], limit=asked.limit, threshold=asked.threshold)
        found = _within_budget(await self._search.search(self._database, store_ids, looked_for))
        number = await self._database.read(lambda connection: tool_calls.search_number(connection, begun.call))
        telemetry.log.info("files_searched", stores=len(store_ids), passages=len(found))
        return BuiltInResult(_told(number, found), asked.shown(number, found))

    async def _stores(self, run: Row) -> list[str]:
        """Return the stores of the run's assistant and thread that can be searched, noting that they are used."""

        def use(connection: Connection) -> list[str]:
            now = int(time.time())
            usable = [each for each in _store_ids(connection, run) if vector_stores.is_usable(connection, each, now)]
            for store_id in usable:
                vector_stores.touch(connection, store_id, now)
            return usable

        return await self._database.write(use)

    async def _wait_for_files(self, run: Row) -> None:
        """Wait for what is being ingested for the thread; after that, what there is has to do."""

        def waits(connection: Connection) -> bool:
            now = int(time.time())
            stores = [each for each in _of_thread(connection, run) if vector_stores.is_usable(connection, each, now)]
            return any(
                vector_stores.get(connection, store_id, now)["file_counts"]["in_progress"] for store_id in stores
            )

        until = time.monotonic() + self._files_awaited
        while await self._database.read(waits):
            if time.monotonic() >= until:
                telemetry.log.warning("files_not_ready", seconds=self._files_awaited)
                return
            await asyncio.sleep(_LOOK_AGAIN)


class _Asked:
    """How the run's tool is set."""

    def __init__(self, run: Row) -> None:
        tool = next(tool for tool in run["tools"] if tool["type"] == "file_search")
        settings: Mapping[str, Any] = tool.get("file_search") or {}
        ranking: Mapping[str, Any] = settings.get("ranking_options") or {}
        self.limit = int(settings.get("max_num_results") or MOST_RESULTS)
        self.threshold = float(ranking.get("score_threshold") or 0.0)
        self._ranker = ranking.get("ranker") or _RANKER

    def shown(self, number: int, found: Sequence[Found]) -> dict[str, Any]:
        """Return what the store keeps of a search: what clients see, and its number, for the marks."""
        return {
            "number": number,
            "ranking_options": {"ranker": self._ranker, "score_threshold": self.threshold},
            "results": [_shown(each) for each in found],
        }


def _shown(found: Found) -> dict[str, Any]:
    return {
        "file_id": found.file_id,
        "file_name": found.filename,
        "score": found.score,
        "attributes": dict(found.attributes),
        "content": [{"type": "text", "text": found.text}],
    }


def _told(number: int, found: Sequence[Found]) -> str:
    """Return what the model reads."""
    if not found:
        return "Nothing was found in the files."
    passages = [f"{mark(number, place, each.filename)}\n{each.text.strip()}" for place, each in enumerate(found)]
    return "\n\n".join(passages)


def _within_budget(found: Sequence[Found]) -> list[Found]:
    """Return the best passages, as many as the model gets."""
    kept, tokens = [], 0
    for each in found:
        tokens += count_tokens(each.text)
        if tokens > MOST_TOKENS:
            break
        kept.append(each)
    return kept


def _store_ids(connection: Connection, run: Row) -> list[str]:
    of_assistant = run["tool_resources"].get("file_search", {}).get("vector_store_ids", [])
    return list(dict.fromkeys([*of_assistant, *_of_thread(connection, run)]))


def _of_thread(connection: Connection, run: Row) -> list[str]:
    thread = rows.get(connection, threads, id=run["thread_id"])
    resources: Mapping[str, Any] = thread["tool_resources"] if thread else {}
    return list(resources.get("file_search", {}).get("vector_store_ids", []))
