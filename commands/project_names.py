"""Names of projects on the command line."""

from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from lockstitch.starter.contract import Name

ProjectName = Annotated[str, typer.Option("--project", help="The project whose objects the key may see.")]

_names: TypeAdapter[str] = TypeAdapter(Name)


def checked_project(name: str) -> str:
    """Return the name, which is also what runs are searched by; refuses what cannot be one."""
    try:
        return _names.validate_python(name)
    except ValidationError:
        raise typer.BadParameter(
            "a project has a name of 1 to 64 characters, without quotes, backslashes and control characters",
            param_hint="--project",
        ) from None
