"""Makes a copy of this release that differs in its code, as the next one would."""

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]

ANOTHER_FIRST_STEP = {
    "workflows/thread_run.py": (
        "            if not started:\n",
        "            if not started:\n                await workflow.sleep(timedelta(milliseconds=50))\n",
    )
}
"""A run of this release begins with a timer, so neither can go on with a run of the other."""


def copied(folder: Path, edits: Mapping[str, tuple[str, str]]) -> Path:
    """Copy the package into ``folder``, with a text of some files replaced, and return what PYTHONPATH has to name.

    Each text must stand in its file exactly once.
    """
    for package in PACKAGES:
        part = Path(*package.split(".")[1:])
        target = folder / "lockstitch" / part
        target.mkdir(parents=True, exist_ok=True)
        for path in (ROOT / part).iterdir():
            if path.is_file() and (path.suffix in (".py", ".csv") or path.name == "py.typed"):
                shutil.copy2(path, target / path.name)
        if (compiled := ROOT / part / "__pycache__").is_dir():  # still good, for the times of the files are kept
            shutil.copytree(compiled, target / "__pycache__", dirs_exist_ok=True)
    for name, (old, new) in edits.items():
        path = folder / "lockstitch" / name
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} does not stand in {name} once"
        path.write_text(text.replace(old, new))
    return folder
