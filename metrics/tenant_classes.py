"""The class of a tenant: metrics tell classes apart, for there may be any number of tenants."""

import re
from collections.abc import Sequence

from lockstitch.metrics.name_rules import NameRules

DEFAULT_CLASS = "default"
"""The class of every tenant that no rule names."""


class TenantClasses:
    """Classes by tenant, from rules such as ``acme=gold`` and ``free-*=trial``; raises `ValueError`."""

    def __init__(self, rules: Sequence[str] = ()) -> None:
        self._rules = NameRules(rules, _class)

    def __repr__(self) -> str:
        return f"TenantClasses({sorted(self.names)})"

    @property
    def names(self) -> frozenset[str]:
        """Every class that there can be."""
        return frozenset({DEFAULT_CLASS, *self._rules.values})

    def of(self, tenant: str) -> str:
        """Return the class of a tenant."""
        return self._rules.find(tenant) or DEFAULT_CLASS


def _class(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", text):
        raise ValueError(f"{text!r} is no name of a class: use up to 40 letters, digits, dots, dashes and underscores.")
    return text
