"""Text that PostgreSQL would refuse: it has every character but the one with the number 0.

Models and clients may say it, and SQLite keeps it, so it is written with an escape and read back as it was.
"""

from typing import Any

import psycopg
from psycopg.types.string import StrDumperUnknown, TextLoader

_ESCAPE = "\x1a"
"""The character SUBSTITUTE, which nobody writes; where somebody does, it is escaped too."""


class _Dumper(StrDumperUnknown):
    def dump(self, obj: str) -> Any:
        if "\x00" in obj or _ESCAPE in obj:
            obj = obj.replace(_ESCAPE, f"{_ESCAPE}1").replace("\x00", f"{_ESCAPE}0")
        return super().dump(obj)


class _Loader(TextLoader):
    def load(self, data: Any) -> Any:
        loaded = super().load(data)
        assert isinstance(loaded, str)  # noqa: S101 - in a database in UTF-8, text is text
        if _ESCAPE in loaded:
            return loaded.replace(f"{_ESCAPE}0", "\x00").replace(f"{_ESCAPE}1", _ESCAPE)
        return loaded


def register_text(connection: psycopg.Connection[Any]) -> None:
    """Let ``connection`` write and read every text."""
    connection.adapters.register_dumper(str, _Dumper)
    for name in ("text", "varchar"):
        connection.adapters.register_loader(name, _Loader)
