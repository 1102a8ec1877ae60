"""Lists runs from the earliest on.

The Temporal server lists the newest first. Whoever reads only so many of those misses just the runs that have waited
longest, so where there are too many to read all, the moment is sought before which there are few enough.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowExecution

MOST_RUNS = 4000
"""So many runs are read all, which takes a second or two; of more, at least so many of the earliest."""

QUERIES = 30
"""Queries that the search for the moment takes at most; beyond that, more runs are read."""

_FIRST_AGE = timedelta(minutes=1)
_LONGEST_AGE = timedelta(days=20_000)
_PAGE = 1000


async def earliest_runs(
    client: Client, query: str, moment: str, most: int = MOST_RUNS
) -> AsyncIterator[WorkflowExecution]:
    """Yield the runs of a query, in no order: all, or of many the earliest by the search attribute ``moment``.

    Of many, ``most`` or a few more are yielded. Raises what the Temporal client does.
    """
    bound = await _bound(client, query, moment, most)
    wanted = query if bound is None else _before(query, moment, bound)
    async for execution in client.list_workflows(wanted, page_size=_PAGE):
        yield execution


async def _bound(client: Client, query: str, moment: str, most: int) -> datetime | None:
    """Return before when there are ``most`` runs or a few more; ``None`` where there are not more in all."""
    few = most + most // 4
    if (await client.count_workflows(query)).count <= few:
        return None
    now = datetime.now(UTC)
    latest, age, floor = now + timedelta(minutes=1), _FIRST_AGE, None  # whoever started a run may have another clock
    for _ in range(QUERIES):
        middle = now - age if floor is None else floor + (latest - floor) / 2
        count = (await client.count_workflows(_before(query, moment, middle))).count
        if most <= count <= few:
            return middle
        if count < most:
            floor = middle
        else:
            latest, age = middle, min(age * 4, _LONGEST_AGE)
    return latest


def _before(query: str, moment: str, bound: datetime) -> str:
    return f"{query} AND {moment} < '{bound.isoformat()}'"
