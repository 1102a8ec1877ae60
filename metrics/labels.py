"""Keeps the number of series bounded where a label's values come from outside."""

from collections.abc import Collection

OTHER = "other"
"""What stands for every value beyond the bound."""


LONGEST = 100
"""Characters of a value that are kept."""


class BoundedLabel:
    """Passes the first ``most`` values that it meets, and those that are ``reserved``; any other becomes `OTHER`."""

    def __init__(self, most: int, reserved: Collection[str] = ()) -> None:
        self._most = most
        self._reserved = frozenset(reserved)
        self._met: set[str] = set()

    def __repr__(self) -> str:
        return f"BoundedLabel(met={len(self._met)}, most={self._most})"

    def of(self, value: str) -> str:
        """Return the value as a label may have it."""
        value = value[:LONGEST]
        if value in self._reserved or value in self._met:
            return value
        if len(self._met) >= self._most:
            return OTHER
        self._met.add(value)
        return value
