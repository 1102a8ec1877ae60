"""Runs the code that the offline model writes, as the code interpreter would, in a process that stays warm."""

import json
import subprocess
import sys
from pathlib import Path

_LOOP = """
import contextlib, io, json, os, sys, traceback
import matplotlib
matplotlib.use("Agg")
import pandas
for line in sys.stdin:
    order = json.loads(line)
    folder, printed = order["folder"], io.StringIO()
    state = lambda: {name: os.stat(os.path.join(folder, name)).st_mtime_ns for name in os.listdir(folder)}
    before = state()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            exec(order["code"], {})
        except BaseException:
            traceback.print_exc()
    saved = [f"Saved: sandbox:/mnt/data/{name}" for name, at in sorted(state().items()) if before.get(name) != at]
    output = "\\n".join([printed.getvalue().rstrip(), *saved])
    sys.__stdout__.write(json.dumps(output) + "\\n")
    sys.__stdout__.flush()
"""


class CodeRunner:
    """A Python process; each piece of code starts with nothing, and ``folder`` stands in for /mnt/data."""

    def __init__(self) -> None:
        command = [sys.executable, "-W", "error", "-c", _LOOP]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, code: str, folder: Path) -> str:
        """What the code printed, its traceback, and a line for each file that it saved."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"code": code.replace("/mnt/data", str(folder)), "folder": str(folder)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        output = json.loads(self._process.stdout.readline())
        return str(output).replace(str(folder), "/mnt/data")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
