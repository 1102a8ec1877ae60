"""Fuzzes a running server after the published description of its API: ``make fuzz`` runs it.

At least 10,000 requests, most of them on objects that exist. No answer may be a fault of the server (5xx) or have a
status, a content type or a body that the description does not have.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from copy import deepcopy
from pathlib import Path

import yaml

from lockstitch.dev import DevOptions, DevStack
from lockstitch.tests.api_description import API_DESCRIPTION

HERE = Path(__file__).parent
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES = 180
"""Generated requests per operation; those that a list of edge cases adds come on top."""


def description() -> dict:
    """Return the description without what the real API does not keep to either.

    An empty list has no first and no last id, and a file may be for evals.
    """
    described = deepcopy(API_DESCRIPTION)
    schemas = described["components"]["schemas"]
    for name, schema in schemas.items():
        if name.startswith("List"):
            schema["properties"] |= {key: {"type": ["string", "null"]} for key in ("first_id", "last_id")}
    schemas["OpenAIFile"]["properties"]["purpose"]["enum"].append("evals")
    described.pop("security", None)
    return described


async def fuzz(fuzzer: Path, examples: int) -> int:
    """Start a server with a worker, let the fuzzer loose on it, and return the fuzzer's exit code."""
    with tempfile.TemporaryDirectory(prefix="lockstitch-fuzz-") as name:
        folder = Path(name)
        described = folder / "description.yaml"
        described.write_text(yaml.safe_dump(description()))
        settings = {"LOCKSTITCH_MODEL": "offline", "LOCKSTITCH_LOG_LEVEL": "error"}
        ports = {"port": 0, "temporal_port": 0, "ui_port": 0, "metrics_port": 0}
        async with DevStack(DevOptions(folder, **ports, environment=settings, quiet=True)) as stack:
            url = f"{stack.server_url}/v1"
            command = [
                str(fuzzer), "run", str(described), "--url", url, "--header", "OpenAI-Beta: assistants=v2",
                "--phases", "coverage,fuzzing", "--max-examples", str(examples),
                "--workers", "1", "--no-shrink", "--continue-on-failure", "--checks", CHECKS, "--warnings", "off",
            ]  # fmt: skip
            environment = {
                **os.environ,
                "FUZZED_SERVER": url,
                "SCHEMATHESIS_HOOKS": "hooks",
                "PYTHONPATH": str(HERE),
            }
            process = await asyncio.create_subprocess_exec(*command, env=environment, cwd=folder)
            return await process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fuzzer", type=Path, help="the command schemathesis")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="generated requests per operation")
    options = parser.parse_args()
    sys.exit(asyncio.run(fuzz(options.fuzzer.absolute(), options.examples)))
