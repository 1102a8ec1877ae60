"""The operations of the API by method and path."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that clients can ask for; names in braces stand for one segment of the path."""

    method: str
    path: str
    answer: Callable[[Request], Awaitable[Response]]
    needs_key: bool = True
    """Where keys are asked for at all."""
    azure_only: bool = False
    """Whether it is there for requests with an ``api-version`` only."""


class Place(NamedTuple):
    """Where a request leads to."""

    path: str
    """As the operations have it, without what a client made up."""
    operations: Mapping[str, Operation]
    """By method."""
    params: Mapping[str, str]


NOWHERE = Place("unknown", {}, {})


@dataclass(slots=True)
class _Node:
    path: str = ""
    operations: dict[str, Operation] = field(default_factory=dict)
    literals: dict[str, "_Node"] = field(default_factory=dict)
    param: str = ""
    behind_param: "_Node | None" = None


class RouteTable:
    """Finds operations segment by segment: trying one pattern after the other takes longer the more there are.

    Where a path could be read in two ways, the literal one is meant.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Node()
        for operation in operations:
            self._add(operation)

    def __repr__(self) -> str:
        return f"RouteTable({sorted(self._root.literals)})"

    def _add(self, operation: Operation) -> None:
        node = self._root
        for segment in operation.path[1:].split("/"):
            if segment.startswith("{"):
                node.param = segment[1:-1]
                node.behind_param = node = node.behind_param or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
        node.path = operation.path
        node.operations[operation.method] = operation

    def find(self, path: str) -> Place:
        """Return where a path leads to, `NOWHERE` where there is nothing."""
        node, params = self._root, {}
        for segment in path[1:].split("/"):
            below = node.literals.get(segment)
            if below is None:
                below = node.behind_param
                if below is None or not segment:
                    return NOWHERE
                params[node.param] = segment
            node = below
        return Place(node.path, node.operations, params) if node.operations else NOWHERE
