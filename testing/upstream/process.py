"""The scripted Assistants server as a process of its own, for tests that kill processes."""

import argparse
import asyncio
import json
import signal
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.errors import FaultInvalid
from lockstitch.testing.assistants_upstream import AssistantsUpstream
from lockstitch.testing.upstream.faults import Fault, fault_from_json


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    asyncio.run(_serve(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lockstitch.testing.assistants_upstream",
        description="A scripted Assistants API server on loopback, with faults on demand.",
    )
    parser.add_argument("--script", type=Path, help="what the model says; the offline model without it")
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--ready-file", type=Path, help="gets the server's origin as soon as it listens")
    parser.add_argument("--faults", type=Path, help="a JSON array of faults; ignored where the state file has some")
    parser.add_argument("--state-file", type=Path, help="keeps everything, so that a server that was killed goes on")
    parser.add_argument("--api-key", help="refuse requests with another")
    parser.add_argument("--poll-after-ms", type=int, help="what to send as openai-poll-after-ms")
    return parser


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    upstream = AssistantsUpstream(
        ScriptedModel.from_file(options.script) if options.script else None,
        faults=_faults(options.faults) if options.faults else (),
        api_key=options.api_key,
        poll_after=None if options.poll_after_ms is None else timedelta(milliseconds=options.poll_after_ms),
        state_file=options.state_file,
        port=options.port,
    )
    async with upstream:
        if options.ready_file:
            _announce(options.ready_file, upstream.origin)
        await stop.wait()


def _faults(file: Path) -> list[Fault]:
    described = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(described, list):
        raise FaultInvalid(str(file), "the file must be a JSON array of faults")
    return [fault_from_json(fault) for fault in described]


def _announce(file: Path, origin: str) -> None:
    """Write the file whole: who waits for it must not find it empty."""
    unfinished = file.with_name(f"{file.name}.unfinished")
    unfinished.write_text(origin, encoding="utf-8")
    unfinished.replace(file)
