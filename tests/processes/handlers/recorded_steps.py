"""Handlers that write down each time they are called, so that a test can count."""

import asyncio
import os
from pathlib import Path

from lockstitch.tools import ToolContext, tool

FOLDER = Path(os.environ["RECORDED_STEPS_FOLDER"])


def _record(name: str, context: ToolContext) -> None:
    with (FOLDER / f"{name}.{context.run_id}").open("a") as record:
        record.write(f"{context.idempotency_key}\n")


@tool
async def first_step(context: ToolContext) -> str:
    """Take the first step."""
    _record("first_step", context)
    return "first done"


@tool(retry_safe=True)
async def second_step(context: ToolContext) -> str:
    """Take the second step: on the first attempt, one that never ends."""
    _record("second_step", context)
    if context.attempt == 1:
        await asyncio.Event().wait()
    return "second done"


@tool(approval=True)
async def refund_order(order: int, context: ToolContext) -> str:
    """Pay an order back, when somebody has approved it."""
    _record("refund_order", context)
    return f"refunded {order}"
