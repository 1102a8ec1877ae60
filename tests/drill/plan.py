"""The fifty runs of the drill, and what happens meanwhile."""

import asyncio
import io
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import openai
from temporalio.service import RPCError

from lockstitch.errors import LockstitchError
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, RunPolicy, ThreadRunRequest
from lockstitch.starter.escalations import Decision
from lockstitch.tests.drill.handlers import charge_card, look_up, pay_back
from lockstitch.tests.drill.stack import PRICED, UNPRICED, DrillStack, WebhookReceiver
from lockstitch.tools import ToolRegistry

POLICY = RunPolicy(deadline=timedelta(minutes=5), decision_timeout=timedelta(seconds=100))
"""An escalation is about to reach its deadline from its beginning, and has reached it before the drill ends."""

ASKED: tuple[tuple[str, int, float, float], ...] = (
    # what is asked, how often, from which second, and every so many seconds
    ("Tell me something.", 14, 0, 3),
    ("Please look up my order.", 8, 1, 5),
    ("Please charge my card.", 6, 4, 6),
    ("Send a fax to my bank.", 3, 6, 6),
    ("I want you to pay back my order.", 5, 8, 4),
    ("Please ask my client.", 2, 10, 8),
    ("Are you overloaded?", 6, 12, 1),
)
"""What is asked while everything is up; what is asked of a fleet without workers comes on top."""

WHILE_STOPPED = 6
STOPPED_SECONDS = 95.0
"""Longer than the 75 seconds after which a worker that does not poll counts as gone."""

MARKED_SECONDS = 18.0
"""After so much of it the numbers of the pictures are read: failures still show, and the oldest task has an age."""

TOLD_BY_PUSH = {"Send a fax to my bank.", "I want you to pay back my order.", "Please charge my card."}
"""What a service asks through the starter; the rest comes over HTTP."""

TENANTS = ("acme", "free-1", "somebody")
_READ_SCREEN: dict[str, Any] = {"type": "function", "function": {"name": "read_screen"}}
_SEND_FAX: dict[str, Any] = {"type": "function", "function": {"name": "send_fax"}}


@dataclass
class Drill:
    """One drill: what it asked, and how it ended."""

    stack: DrillStack
    receiver: WebhookReceiver
    starter: Starter
    api: openai.AsyncOpenAI
    run_ids: list[str] = field(default_factory=list)
    assistants: dict[str, str] = field(default_factory=dict)
    marked: float = 0.0
    """A moment at which much is wrong, as the clock says."""

    async def prepare(self) -> None:
        """Make the assistants, and a vector store with a file."""
        tools: Any = [*ToolRegistry([look_up, charge_card, pay_back]).definitions(), _READ_SCREEN, _SEND_FAX]
        for model in (PRICED, UNPRICED):
            self.assistants[model] = (await self.api.beta.assistants.create(model=model, tools=tools)).id
        store = await self.api.vector_stores.create(name="Handbook")
        book = io.BytesIO(b"A refund is paid within a week.")
        book.name = "handbook.txt"
        await self.api.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=book)

    async def play(self) -> None:
        """Ask everything, stop the worker for a while, and wait until nothing is open any more."""
        async with asyncio.TaskGroup() as group:
            for text, times, first, pause in ASKED:
                for number in range(times):
                    group.create_task(self._ask_at(first + number * pause, text, number))
        await self._approve_two()
        await self._stop_the_worker()
        self.receiver.works = True
        await self._cancel_what_nobody_answers()

    async def ends(self) -> Counter[str]:
        """Wait for the end of every run and return how many ended in which way."""
        return Counter([(await self.starter.result(run_id)).status for run_id in self.run_ids])

    async def _ask_at(self, second: float, text: str, number: int) -> None:
        await asyncio.sleep(second)
        if text in TOLD_BY_PUSH:
            await self._ask_by_starter(text, TENANTS[number % len(TENANTS)])
        else:
            await self._ask_over_http(text, UNPRICED if number % 8 == 7 else PRICED)

    async def _ask_by_starter(self, text: str, tenant: str) -> None:
        asked = [NewMessage(role="user", content=text)]
        request = ThreadRunRequest(assistant_id=self.assistants[PRICED], messages=asked, policy=POLICY, tenant=tenant)
        self.run_ids.append(await self.starter.start(request))

    async def _ask_over_http(self, text: str, model: str) -> None:
        stream = await self.api.beta.threads.create_and_run(
            assistant_id=self.assistants[model],
            thread={"messages": [{"role": "user", "content": text}]},
            stream=True,
        )
        async for event in stream:
            if event.event == "thread.run.created":
                self.run_ids.append(event.data.id)

    async def _approve_two(self) -> None:
        """Decide about two of the calls that wait for approval, one after the other; nobody decides about the rest."""
        waiting = [asked for asked in await self.starter.escalations() if asked.reason == "approval"]
        for asked in waiting[:2]:
            decision = Decision(escalation_id=asked.id, action="approve", by="the drill")
            await self.starter.decide(asked.run_id, decision)
            await asyncio.sleep(2)

    async def _stop_the_worker(self) -> None:
        began = time.monotonic()
        await self.stack.stop_worker()
        for _ in range(WHILE_STOPPED):
            run = await self.api.beta.threads.create_and_run(
                assistant_id=self.assistants[PRICED],
                thread={"messages": [{"role": "user", "content": "Is anybody there?"}]},
            )
            self.run_ids.append(run.id)
        await asyncio.sleep(MARKED_SECONDS)
        self.marked = time.time()
        await asyncio.sleep(STOPPED_SECONDS - (time.monotonic() - began))
        await self.stack.start_worker()

    async def _cancel_what_nobody_answers(self) -> None:
        for run_id in self.run_ids:
            try:
                snapshot = await self.starter.snapshot(run_id)
                if snapshot.status == "requires_action" and not await self.starter.escalations(run_id):
                    await self.starter.cancel(run_id)
            except (LockstitchError, RPCError) as error:
                raise SystemExit(f"{run_id} could not be looked at: {error}") from error
