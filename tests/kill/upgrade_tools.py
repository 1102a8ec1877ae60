"""Handlers of the upgrade drill: the run waits in the first until it is let go, and the second sends a letter."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from lockstitch.tools import NOT_DONE, ToolContext, tool

LEDGER = Path(os.environ["LEDGER"])
GATE = Path(os.environ["GATE"])


def _write(name: str, context: ToolContext) -> str:
    ledger = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(ledger, f"{name} {context.idempotency_key}\n".encode())  # one write: whole, or not at all
    finally:
        os.close(ledger)
    return f"{name} is done"


async def _find(name: str, context: ToolContext) -> Any:
    lines = LEDGER.read_text().splitlines() if LEDGER.exists() else []
    return f"{name} is done" if f"{name} {context.idempotency_key}" in lines else NOT_DONE


@tool(retry_safe=True, timeout=timedelta(minutes=30), max_attempts=50)
async def wait_at_the_gate(context: ToolContext) -> str:
    """Wait until the gate is opened; nothing happens by that."""
    (GATE.parent / "arrived" / context.run_id).touch()
    while not GATE.exists():
        await asyncio.sleep(0.5)
    return "the gate is open"


async def _find_letter(context: ToolContext) -> Any:
    return await _find("send_letter", context)


@tool(reconcile=_find_letter)
async def send_letter(context: ToolContext) -> str:
    """Send a letter; the ledger tells whether that happened."""
    return _write("send_letter", context)
