"""``lockstitch sandbox``: try what confines code on this machine."""

import typer

from lockstitch.commands.invocation import AsJson, carry_out, console, settings
from lockstitch.config import Config
from lockstitch.errors import SandboxUnavailable
from lockstitch.run_view import print_json

app = typer.Typer(help="Look after what confines code that models write.", no_args_is_help=True)


@app.callback()
def sandbox() -> None:
    """Look after what confines code that models write."""


@app.command("check")
def check(as_json: AsJson = False) -> None:
    """Confine something with every sandbox, and say which work; exit with 1 unless the chosen one does."""
    config = settings()
    problems: dict[str, str | None] = carry_out(_tried(config))
    for name, problem in problems.items():
        chosen = name == config.sandbox
        if as_json:
            print_json({"sandbox": name, "works": problem is None, "chosen": chosen, "problem": problem})
        else:
            console.print(f"{name}{' (chosen)' if chosen else ''}: {problem or 'works'}", highlight=False, markup=False)
    if config.sandbox == "none" and not as_json:
        console.print("LOCKSTITCH_SANDBOX is none: no code is run.", highlight=False)
    if problems.get(config.sandbox) is not None:
        raise typer.Exit(1)


async def _tried(config: Config) -> dict[str, str | None]:
    """Return what is wrong with each sandbox, nothing where it works."""
    from lockstitch.sandbox.sandboxes import CONFINING
    from lockstitch.sandbox_choice import sandbox_named

    problems: dict[str, str | None] = {}
    for name in CONFINING:
        tried = sandbox_named(name, config)
        try:
            await tried.probe()
            problems[name] = None
        except SandboxUnavailable as error:
            problems[name] = str(error)
        finally:
            await tried.aclose()
    return problems
