"""The handlers that the drill's runs call: one that works, one that never does, and one that a person has to allow."""

import asyncio
from datetime import timedelta

from lockstitch.tools import tool


@tool
async def look_up(order: str) -> str:
    """Look an order up."""
    await asyncio.sleep(0.05)
    return f"{order} is on its way"


@tool(max_attempts=2, initial_interval=timedelta(seconds=0.5), on_failure="fail_run")
async def charge_card(order: str) -> str:
    """Charge a card; the bank is away."""
    await asyncio.sleep(0.2)
    raise ConnectionError("the bank does not answer")


@tool(approval=True)
async def pay_back(order: str) -> str:
    """Pay an order back."""
    return f"{order} is paid back"
