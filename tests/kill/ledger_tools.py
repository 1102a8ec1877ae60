"""Handlers that write each side effect into a ledger, one line in one write, so that what was done twice shows."""

import asyncio
import os
import random
from pathlib import Path
from typing import Any

from lockstitch.tools import NOT_DONE, ToolContext, tool

LEDGER = Path(os.environ["LEDGER"])


async def _take_effect(name: str, context: ToolContext) -> str:
    await asyncio.sleep(random.uniform(0, 0.3))
    line = f"{name} {context.idempotency_key}\n".encode()
    ledger = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(ledger, line)
    finally:
        os.close(ledger)
    await asyncio.sleep(random.uniform(0, 0.3))
    return f"{name} is done"


def is_done(name: str, key: str) -> bool:
    """Tell whether the ledger has a side effect."""
    return LEDGER.exists() and f"{name} {key}" in LEDGER.read_text().splitlines()


async def _find_charge(context: ToolContext) -> Any:
    done = is_done("charge_card", context.idempotency_key)
    return "charge_card is done" if done else NOT_DONE


@tool(reconcile=_find_charge)
async def charge_card(context: ToolContext) -> str:
    """Charge a card; the ledger can be asked whether that happened."""
    return await _take_effect("charge_card", context)


@tool
async def send_letter(context: ToolContext) -> str:
    """Send a letter; where its outcome is unknown, a person has to look."""
    return await _take_effect("send_letter", context)
