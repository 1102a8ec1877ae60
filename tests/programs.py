"""The programs that tests use beside Python's; `make test` installs them where it can."""

import os
import shutil

import pytest


def program(name: str) -> str:
    """Return the path of a program; without it the test is skipped, and at the gate it fails."""
    found = shutil.which(name)
    if found is None:
        complaint = f"{name} is not installed"
        if os.environ.get("TESTS_SKIP_NOTHING"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    return found
