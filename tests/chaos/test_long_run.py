"""A run of 1,000 tool calls over a thread of 200,000 tokens stays far below Temporal's limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.assistants.model.tokens import count_tokens
from lockstitch.assistants.store import threads
from lockstitch.starter.contract import NewMessage, RunPolicy, ThreadRunRequest
from lockstitch.tools import tool

MOST_EVENTS, MOST_BYTES, LARGEST_PAYLOAD = 51_200, 50 * 1024**2, 2 * 1024**2
"""Temporal's limits of one execution's history, and of one message in it."""

ROUNDS, CALLS_PER_ROUND = 100, 10
TOKENS = 200_000
MESSAGE = " ".join(f"Page {page} tells of seam {page * 7} and thread {page * 13}." for page in range(700))


@dataclass(frozen=True)
class HistorySize:
    """How large the history of one execution is; no payload is larger than its largest event."""

    events: int
    bytes: int
    largest_event: int


async def histories(temporal: Client, run_id: str) -> Sequence[HistorySize]:
    """Walk the chain of executions that carried the run, the newest first."""
    sizes = []
    execution: str | None = None
    while execution != "":
        history = await temporal.get_workflow_handle(run_id, run_id=execution).fetch_history()
        lengths = [event.ByteSize() for event in history.events]
        sizes.append(HistorySize(len(lengths), sum(lengths), max(lengths)))
        execution = history.events[0].workflow_execution_started_event_attributes.continued_execution_run_id
    return sizes


def script(rounds: int) -> list[dict[str, Any]]:
    """Let the model call for so many rounds. Only the first turn counts the tokens of its prompt, which is slow."""
    known = {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    calls = [
        {"round": number, "call": [{"name": "read_page", "arguments": {"page": number * CALLS_PER_ROUND + call}}
                                   for call in range(CALLS_PER_ROUND)]} | (known if number else {})
        for number in range(rounds)
    ]  # fmt: skip
    return [*calls, {"round": rounds, "say": "All pages are read.", **known}]


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_run_of_a_thousand_calls_over_a_long_thread_stays_far_below_the_limits_of_every_history(
    engine, temporal
):
    pages: list[int] = []

    @tool(timeout=timedelta(minutes=1))
    async def read_page(page: int) -> str:
        """Read a page."""
        pages.append(page)
        return f"Page {page} is read."

    async with engine([read_page], ScriptedModel(script(ROUNDS))) as lockstitch:
        thread_id = await long_thread(lockstitch, TOKENS)
        request = ThreadRunRequest(
            assistant_id=await lockstitch.assistant(),
            thread_id=thread_id,
            policy=RunPolicy(max_rounds=ROUNDS, deadline=timedelta(hours=1)),
        )
        result = await lockstitch.starter.run(request)
        sizes = await histories(temporal, result.run_id)

    assert (result.status, result.last_message_text) == ("completed", "All pages are read.")
    assert result.usage.prompt_tokens >= TOKENS
    assert sorted(pages) == list(range(ROUNDS * CALLS_PER_ROUND))
    assert {(call.outcome, call.attempts) for call in result.tool_calls} == {("succeeded", 1)}
    assert len(result.tool_calls) == len(pages)
    assert len(sizes) >= 3, "the run left its history behind"
    for size in sizes:
        assert size.events < MOST_EVENTS / 10
        assert size.bytes < MOST_BYTES / 10
        assert size.largest_event < LARGEST_PAYLOAD / 10


async def long_thread(lockstitch: Any, tokens: int) -> str:
    """Make a thread of at least so many tokens."""
    message = NewMessage(role="user", content=MESSAGE)
    count = tokens // count_tokens(MESSAGE) + 1

    def fill(connection: Any) -> str:
        thread_id = str(threads.create(connection, {}, 0)["id"])
        for _ in range(count):
            threads.add_message(connection, thread_id, message, 0)
        return thread_id

    return str(await lockstitch.database.write(fill))
