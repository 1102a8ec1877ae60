"""Pages of lists: ``limit``, ``order``, ``after`` and ``before``."""

from collections.abc import Mapping
from typing import Any

from lockstitch.assistants import objects, refusals

_MOST = 100


def page(found: list[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """Return the page that a query asks for, of objects that are given oldest first; raises `ApiError`."""
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise refusals.unsupported_value("order", order, ("asc", "desc"))
    limit = _limit(query.get("limit", "20"))
    ordered = found if order == "asc" else found[::-1]
    ids = [made["id"] for made in ordered]
    begin = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
    end = ids.index(query["before"]) if query.get("before") in ids else len(ids)
    between = ordered[begin:end]
    # Asked for what comes before an object, the API gives those next to it.
    shown = between[-limit:] if query.get("before") and not query.get("after") else between[:limit]
    return objects.page(shown, has_more=len(between) > limit)


def _limit(text: str) -> int:
    if not text.removeprefix("-").isdecimal():
        raise refusals.wrong_type("limit", "an integer", "a string")
    if int(text) > _MOST:
        raise refusals.above_maximum("limit", "integer", str(_MOST), text)
    if int(text) < 1:
        raise refusals.below_minimum("limit", "integer", "1", text)
    return int(text)
