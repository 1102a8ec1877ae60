"""What a model asks of the built-in tools: the arguments of its calls, which are JSON where the model keeps to it."""

from typing import Any

from pydantic_core import from_json


def code_of(arguments: str, *, partial: bool = False) -> str:
    """Return the code of a call of the code interpreter; empty where there is none (yet)."""
    return _text(arguments, "code", partial=partial)


def query_of(arguments: str) -> str:
    """Return what a call of the file search looks for; empty where it says nothing."""
    return _text(arguments, "query", partial=False)


def _text(arguments: str, name: str, *, partial: bool) -> str:
    try:
        given: Any = from_json(arguments or "{}", allow_partial="trailing-strings" if partial else False)
    except ValueError:
        return ""
    value = given.get(name) if isinstance(given, dict) else None
    return value if isinstance(value, str) else ""
