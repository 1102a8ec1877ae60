"""Takes the pictures of docs/: the console and the Temporal UI, of runs on the embedded stack, with Chromium."""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import openai
from playwright.async_api import Browser
from starlette.responses import Response

from lockstitch.dev import DevOptions, DevStack
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, RunPolicy, ThreadRunRequest
from lockstitch.starter.escalations import Decision, Escalation
from lockstitch.tests.chromium import started_chromium
from lockstitch.tests.webhook_receiver import SECRET, Receiver, receiving

DOCS = Path(__file__).parents[2] / "docs"
HANDLERS = Path(__file__).parent / "handlers"
TOOLS = ("look_up_order", "charge_card", "reserve_stock", "refund_order", "get_delivery_date")
MOST_BYTES = 250_000


def calls(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "arguments": {"order": 17}} for name in names]


SCRIPT: list[dict[str, Any]] = [
    {"when": "Pay", "round": 0, "call": calls("look_up_order")},
    {"when": "Pay", "round": 1, "call": calls("charge_card", "reserve_stock")},
    {"when": "refund", "round": 0, "call": calls("look_up_order", "refund_order")},
    {"when": "delivery", "round": 0, "call": calls("get_delivery_date")},
    {"when": "order", "round": 0, "call": calls("look_up_order")},
    {"say": "Order 17 has two books and costs 31.80 EUR."},
]


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="lockstitch-pictures-") as folder:
        async with AsyncExitStack() as stack:
            receiver = await stack.enter_async_context(receiving())
            dev = await stack.enter_async_context(shop(Path(folder), receiver.url))
            starter = await stack.enter_async_context(await Starter.connect(dev.temporal_address))
            stuck = await bad_day(dev, starter, receiver)
            browser = await stack.enter_async_context(started_chromium())
            await take(browser, dev, stuck)


@asynccontextmanager
async def shop(folder: Path, receiver_url: str) -> AsyncIterator[DevStack]:
    """Start everything on free ports."""
    script = folder / "script.json"
    script.write_text(json.dumps(SCRIPT))
    settings = {
        "PYTHONPATH": str(HANDLERS),
        "LOCKSTITCH_TOOLS": "shop",
        "LOCKSTITCH_MODEL_SCRIPT": str(script),
        "LOCKSTITCH_EMBEDDER": "none",
        "LOCKSTITCH_SANDBOX": "none",
        "LOCKSTITCH_WEBHOOK_URL": f"{receiver_url}/pager",
        "LOCKSTITCH_WEBHOOK_SECRETS": SECRET,
        "LOCKSTITCH_WEBHOOK_ALLOW_PRIVATE": "true",
    }
    options = DevOptions(folder, port=0, temporal_port=0, ui_port=0, metrics_port=0, environment=settings, quiet=True)
    async with DevStack(options) as dev:
        yield dev


async def bad_day(dev: DevStack, starter: Starter, receiver: Receiver) -> str:
    """Let runs happen, most of them well, and return the id of one that is stuck."""
    tools: Any = [{"type": "function", "function": {"name": name}} for name in TOOLS]
    async with openai.AsyncOpenAI(base_url=f"{dev.server_url}/v1", api_key="none") as client:
        assistant = await client.beta.assistants.create(model="script", tools=tools)

    def request(text: str, **values: Any) -> ThreadRunRequest:
        policy = RunPolicy(deadline=timedelta(hours=1), decision_timeout=timedelta(minutes=20))
        given = {"tenant": "bookshop", "policy": policy, **values}
        messages = [NewMessage(role="user", content=text)]
        return ThreadRunRequest(assistant_id=assistant.id, messages=messages, **given)

    waits = RunPolicy(on_missing_handler="wait")
    for text in ("What is in the order?", "Show me the order.", "Hello.", "What does the order cost?"):
        await starter.run(request(text))
    cancelled = await starter.start(request("When is the delivery?", policy=waits))
    await starter.cancel(cancelled)
    await starter.start(request("Is the delivery today?", policy=waits))
    await starter.start(request("I want a refund."))
    async with asyncio.timeout(60):
        while not receiver.received:
            await asyncio.sleep(0.1)
    receiver.answers.append(Response(status_code=503))  # the pager is away when it is told of the next one
    stuck = await starter.start(request("Pay for it."))
    first = await asked(starter, stuck, 1)
    await asyncio.sleep(8)  # somebody reads what was asked; the pager is told a second time
    await starter.decide(stuck, Decision(escalation_id=first[0].id, action="retry", by="Ada"))
    await asked(starter, stuck, 2)
    await asyncio.sleep(15)  # it waits, as stuck runs do
    return stuck


async def asked(starter: Starter, run_id: str, number: int) -> Sequence[Escalation]:
    """Wait until the run has asked so many questions."""
    async with asyncio.timeout(60):
        while len(found := await starter.escalations(run_id)) < number:
            await asyncio.sleep(0.1)
    return found


async def take(browser: Browser, dev: DevStack, stuck: str) -> None:
    """Take each picture as soon as its page is complete."""
    page = await browser.new_page(viewport={"width": 1280, "height": 900})
    await page.goto(f"{dev.server_url}/console")
    save("console.png", await page.screenshot(full_page=True))
    await page.goto(f"{dev.server_url}/console/runs/{stuck}")
    end = await page.locator(".legend").evaluate("it => it.parentElement.getBoundingClientRect().bottom")
    await page.set_viewport_size({"width": 1280, "height": int(end) + 24})
    save("console-run.png", await page.screenshot())
    await page.set_viewport_size({"width": 1280, "height": 1180})
    await page.goto(dev.workflow_url(stuck))
    await page.get_by_text("charge_card").first.wait_for(timeout=60_000)
    await page.wait_for_load_state("networkidle")
    save("temporal-ui-stuck.png", await page.screenshot())


def save(name: str, picture: bytes) -> None:
    """Write one picture; one that is too large for a repository is refused."""
    if len(picture) > MOST_BYTES:
        sys.exit(f"{name} has {len(picture)} bytes, and {MOST_BYTES} is the most.")
    (DOCS / name).write_bytes(picture)
    sys.stdout.write(f"docs/{name}: {len(picture)} bytes\n")


if __name__ == "__main__":
    asyncio.run(main())
