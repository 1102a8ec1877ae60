"""Names of handlers on the command line."""

import re
from collections.abc import Sequence
from typing import Annotated

import typer

HandlerNames = Annotated[
    str | None,
    typer.Option(
        "--handlers",
        help="Which registered handlers may answer the function calls of the project's runs: all, none, or names, "
        "separated by commas. Without it, a project keeps what it has; a new one has none.",
    ),
]

Handlers = tuple[str, ...] | None
"""Names of handlers; ``None`` stands for all."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def parse_handlers(text: str) -> Handlers:
    """Return the handlers; refuses what cannot be the name of one."""
    if text in ("all", "none"):
        return None if text == "all" else ()
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if not _NAME.fullmatch(name):
            raise typer.BadParameter(f"{name!r} cannot be the name of a handler", param_hint="--handlers")
    if not names:
        raise typer.BadParameter("say all, none, or names", param_hint="--handlers")
    return names


def written(handlers: Sequence[str] | None) -> str:
    """Return the handlers as they are given on the command line."""
    if handlers is None:
        return "all"
    return ",".join(handlers) or "none"
