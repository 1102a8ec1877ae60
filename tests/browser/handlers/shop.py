"""The handlers of a shop on a bad day."""

from datetime import timedelta

from lockstitch.tools import tool


@tool
async def look_up_order(order: int) -> str:
    """Look an order up."""
    return f"order {order}: 2 books, 31.80 EUR, not paid"


@tool(on_failure="escalate", max_attempts=3, initial_interval=timedelta(milliseconds=600))
async def charge_card(order: int) -> str:
    """Charge the card of an order."""
    raise ConnectionError(f"The payment gateway answered 503 to the charge of order {order}.")


@tool(max_attempts=20, initial_interval=timedelta(seconds=4), max_interval=timedelta(minutes=10))
async def reserve_stock(order: int) -> str:
    """Set the books of an order aside."""
    raise TimeoutError(f"The warehouse did not answer about order {order}.")


@tool(approval=True)
async def refund_order(order: int) -> str:
    """Pay an order back, when somebody has approved it."""
    return f"refunded {order}"
