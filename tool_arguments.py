"""Reads the arguments of a call; what does not fit is said so that the model can mend it."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from lockstitch.errors import ArgumentsInvalid
from lockstitch.tool_schema import HandlerSignature

_LONGEST_PROBLEM = 930  # bytes; with the sentence around it about 1 KB


def read_arguments(signature: HandlerSignature, arguments_json: str) -> dict[str, Any]:
    """Return the keyword arguments for a handler; raises `ArgumentsInvalid`, whose text is for the model."""
    known = list(signature.parameters["properties"])
    try:
        given = json.loads(arguments_json.strip() or "{}", parse_constant=_refuse_constant)
        if isinstance(given, dict):
            return signature.keyword_arguments(given)
        problem = f"expected a JSON object with {_names(known)}, got {_shown(given)}"
    except ValidationError as invalid:
        problem = _problems(invalid, given, known)
    except ValueError as error:
        problem = f"they are not valid JSON ({error}); got {_clipped(arguments_json, 200)}"
    except RecursionError:
        problem = "they are nested too deeply"
    # A model may send half of a surrogate pair; what goes back to it must be UTF-8.
    said = problem.encode("utf-8", "backslashreplace")[:_LONGEST_PROBLEM].decode(errors="ignore")
    raise ArgumentsInvalid(signature.name, said)


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")


def _problems(invalid: ValidationError, given: Any, known: Sequence[str]) -> str:
    """Say for each field what was expected and what came, one line per field."""
    said: dict[str, list[str]] = {}
    came: dict[str, str] = {}
    for error in invalid.errors(include_url=False, include_context=False):
        path = _clipped(_path(error["loc"], given) or "arguments", 100)
        expected = _expected(error["type"], error["msg"], known if len(error["loc"]) == 1 else ())
        if expected not in said.setdefault(path, []):
            said[path].append(expected)
        if error["type"] != "missing":
            came[path] = f"; got {_shown(error['input'])}"
    lines = [_clipped(f"{path}: {', or '.join(said[path])}", 300) + came.get(path, "") for path in said]
    return _first_lines(lines)


def _first_lines(lines: Sequence[str]) -> str:
    shown: list[str] = []
    for line in lines:
        if shown and len("\n".join([*shown, line])) > _LONGEST_PROBLEM - 50:
            break
        shown.append(line)
    left = len(lines) - len(shown)
    return "\n".join([*shown, *([f"and {left} more problems"] if left else [])])


def _expected(kind: str, message: str, known: Sequence[str]) -> str:
    match kind:
        case "missing":
            return "required, but missing"
        case "extra_forbidden":
            return "no such argument" + (f"; the function takes {_names(known)}" if known else "")
    return message[:1].lower() + message[1:]


def _path(location: Sequence[int | str], given: Any) -> str:
    """Where in the arguments an error is, without the parts of its location that name a union's branch."""
    path, here = "", given
    for position, part in enumerate(location):
        is_last = position == len(location) - 1
        if isinstance(here, list) and isinstance(part, int):
            path, here = f"{path}[{part}]", here[part] if part < len(here) else None
        elif isinstance(here, dict) and isinstance(part, str) and (part in here or is_last):
            path, here = f"{path}.{part}" if path else part, here.get(part)
    return path


def _shown(value: Any) -> str:
    return _clipped(json.dumps(value, ensure_ascii=False, default=repr), 80)


def _clipped(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "\u2026"


def _names(known: Sequence[str]) -> str:
    return _clipped(", ".join(known) or "no arguments", 150)
