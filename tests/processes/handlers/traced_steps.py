"""Handlers that say more of what they do in the trace, and one that fails with what nobody else should read."""

from lockstitch.tools import ToolContext, tool


@tool
async def look_up(order: str, context: ToolContext) -> str:
    """Look an order up."""
    with context.span("ask the shop", shop="Oslo") as asked:
        asked.set_attributes({"shop.orders": 1})
    return f"{order} is on its way"


@tool
def weigh(order: str, context: ToolContext) -> str:
    """Weigh an order, on a thread."""
    with context.span("read the scales"):
        return "2 kg"


@tool(max_attempts=1)
async def refuse(order: str) -> str:
    """Say what is wrong with an order."""
    raise ValueError(f"{order} does not exist")
