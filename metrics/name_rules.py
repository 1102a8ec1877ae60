"""Values by name: exact names, or beginnings with a ``*`` at the end; the first that fits counts."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class NameRules(Generic[T]):
    """Rules such as ``acme=gold`` and ``free-*=trial``, in order; ``read`` makes a value of what follows the sign.

    Raises `ValueError`, with a sentence, where a rule cannot be read; so does ``read``.
    """

    def __init__(self, rules: Sequence[str], read: Callable[[str], T]) -> None:
        self._values = [(name, read(value)) for name, value in map(_split, rules)]

    def __repr__(self) -> str:
        return f"NameRules({[name for name, _ in self._values]})"

    def find(self, name: str) -> T | None:
        """Return the value of the first rule that fits ``name``."""
        return next((value for rule, value in self._values if _fits(rule, name)), None)

    @property
    def exact_names(self) -> frozenset[str]:
        """The names that rules give whole."""
        return frozenset(rule for rule, _ in self._values if not rule.endswith("*"))

    @property
    def values(self) -> list[T]:
        """The values of all rules."""
        return [value for _, value in self._values]


def _split(rule: str) -> tuple[str, str]:
    name, sign, value = rule.rpartition("=")
    if not (sign and name.strip() and value.strip()):
        raise ValueError(f"{rule!r} is no rule: write a name, an equals sign and what belongs to it.")
    if "*" in name.strip()[:-1]:
        raise ValueError(f"{rule!r} has a * that is not at the end of the name.")
    return name.strip(), value.strip()


def _fits(rule: str, name: str) -> bool:
    return name.startswith(rule[:-1]) if rule.endswith("*") else name == rule
