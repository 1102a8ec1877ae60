"""The handler that both the run and the bare loop call: it does nothing, so that nothing of its own is measured."""

from lockstitch.tools import tool


@tool
async def look_up_order(order: int) -> str:
    """Look up an order.

    Args:
        order: The order's number.
    """
    return f"order {order} was shipped"
