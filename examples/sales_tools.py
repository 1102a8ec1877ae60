"""Two tools that read an uploaded CSV file of sales: what the demo registers.

They only read, so it does no harm to call them again when nobody knows what became of a call.
The handlers fetch the file from the Lockstitch server whose address is in ``LOCKSTITCH_SERVER_URL``, as any service
would.
"""

import csv
import os
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2

from lockstitch.tools import ToolContext, tool


@tool(initial_interval=timedelta(milliseconds=500), retry_safe=True)
async def sales_by_month(file_id: str) -> dict[str, Any]:
    """Add up the sales of each month.

    Args:
        file_id: The id of the uploaded CSV file.
    """
    totals: Counter[str] = Counter()
    async for row in _sales(file_id):
        totals[row["date"][:7]] += _cents(row)
    best, cents = totals.most_common(1)[0]
    return {"best_month": best, "its_sales": cents / 100, "sales_of_the_year": sum(totals.values()) / 100}


@tool(initial_interval=timedelta(milliseconds=500), retry_safe=True)
async def best_product(file_id: str, context: ToolContext) -> dict[str, Any]:
    """Find the product that sold best.

    Its first attempt fails on purpose: the demo shows that a call is tried again.

    Args:
        file_id: The id of the uploaded CSV file.
    """
    if context.attempt == 1:
        raise ConnectionError("the price list did not answer (on purpose, to show a retry)")
    totals: Counter[str] = Counter()
    async for row in _sales(file_id):
        totals[row["product"]] += _cents(row)
    product, cents = totals.most_common(1)[0]
    return {"product": product, "sales": cents / 100}


def _cents(row: dict[str, str]) -> int:
    return round(int(row["units"]) * float(row["unit_price"]) * 100)


async def _sales(file_id: str) -> AsyncIterator[dict[str, str]]:
    server = os.environ.get("LOCKSTITCH_SERVER_URL", "http://127.0.0.1:8700")
    async with httpx2.AsyncClient(base_url=server, trust_env=False) as client:
        answer = await client.get(f"/v1/files/{file_id}/content")
        answer.raise_for_status()
    for row in csv.DictReader(answer.text.splitlines()):
        yield row
