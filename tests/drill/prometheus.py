"""Asks a Prometheus server, for the drill."""

from dataclasses import dataclass
from typing import Any

import httpx2

Series = dict[str, Any]


class QueryFailed(Exception):
    """Prometheus could not evaluate an expression; the message has its words."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """The server at ``url``."""

    url: str

    async def now(self, expression: str) -> list[Series]:
        """Return what an expression gives now: for each series its labels (``metric``) and its ``value``."""
        answer = await self._get("query", query=expression)
        if answer["resultType"] == "vector":
            return list(answer["result"])
        return [{"metric": {}, "value": answer["result"]}]

    async def over(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        """Return what it gave between two moments: for each series its labels and its ``values``."""
        answer = await self._get("query_range", query=expression, start=str(start), end=str(end), step=f"{step:g}")
        return list(answer["result"])

    async def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or firing."""
        return list((await self._get("alerts"))["alerts"])

    async def _get(self, path: str, **parameters: str) -> Any:
        async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
            answer = (await client.get(f"{self.url}/api/v1/{path}", params=parameters)).json()
        if answer["status"] != "success":
            raise QueryFailed(answer["error"])
        return answer["data"]
