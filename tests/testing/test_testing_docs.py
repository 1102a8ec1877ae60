"""What docs/testing.md shows works, and it names every fault."""

import re
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from lockstitch.testing import assistants_upstream
from lockstitch.testing.upstream.faults import KINDS

PACKAGE = Path(__file__).parents[2] / ".typecheck"
TEXT = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()


def test_the_examples_pass(tmp_path):
    for name, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", TEXT, re.DOTALL):
        (tmp_path / name).write_text(code)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = . {PACKAGE}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_fault_is_documented_with_the_operations_that_it_is_for(kind):
    [on] = [entry.default for entry in fields(kind) if entry.name == "on"]
    operations = () if on is MISSING else (on,) if isinstance(on, str) else on
    [row] = re.findall(rf"^\| `{kind.__name__}` .*$", TEXT, re.MULTILINE)

    assert row.endswith(f"| {', '.join(f'`{operation}`' for operation in operations)} |".replace("|  |", "| |"))
    assert kind.__name__ in assistants_upstream.__all__
