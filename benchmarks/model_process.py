"""The model: one process that answers both sides over the Responses API, as a script says.

Started as ``python -m lockstitch.benchmarks.model_process FILE``; it writes its origin into the file once it listens.
"""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import uvloop

from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.testing.model_endpoint import model_endpoint_app, serve

QUESTION = "Where is order 17?"
SLOW_QUESTION = "Where is order 17? Take your time."
SLOW_TURN_SECONDS = 1.0

ANSWER = (
    "Order 17 was shipped this morning and is on its way to you now; "
    "expect it at your door within three days."
)  # 21 words, each streamed as one delta

_CALL = {"name": "look_up_order", "arguments": {"order": 17}}

SCRIPT: list[dict[str, Any]] = [
    {"when": "take your time", "round": 0, "call": [_CALL], "delay_seconds": SLOW_TURN_SECONDS},
    {"when": "take your time", "round": 1, "say": ANSWER, "delay_seconds": SLOW_TURN_SECONDS},
    {"round": 0, "call": [_CALL]},
    {"round": 1, "say": ANSWER},
]


async def main(origin_file: Path) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serve(model_endpoint_app(ScriptedModel(SCRIPT, source="the benchmark"))) as origin:
        origin_file.write_text(origin)  # noqa: ASYNC240 - nothing else is under way
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
