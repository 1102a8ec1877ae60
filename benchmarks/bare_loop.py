"""What one would write without Lockstitch: the same steps with the openai SDK and nothing else.

Nothing is stored, nothing is retried, and when the process dies the run is gone.
"""

import json
from typing import Any

import openai
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputItemDoneEvent,
    ResponseTextDeltaEvent,
)

from lockstitch.benchmarks.no_op_tool import look_up_order
from lockstitch.tools import Tool

_FUNCTION: Any = {"type": "function", **Tool.of(look_up_order).definition()["function"]}


async def run_bare_loop(client: openai.AsyncOpenAI, question: str) -> str:
    """Stream the model's turns, call the handler in between, and return the answer."""
    items: list[Any] = [{"role": "user", "content": question}]
    while True:
        text, calls = await _take_turn(client, items)
        if not calls:
            return text
        for call in calls:
            output = await look_up_order(**json.loads(call.arguments))
            items.append(
                {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
            )
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": output})


async def _take_turn(client: openai.AsyncOpenAI, items: list[Any]) -> tuple[str, list[ResponseFunctionToolCall]]:
    text: list[str] = []
    calls: list[ResponseFunctionToolCall] = []
    stream = await client.responses.create(model="scripted", input=items, tools=[_FUNCTION], store=False, stream=True)
    async for event in stream:
        if isinstance(event, ResponseTextDeltaEvent):
            text.append(event.delta)
        elif isinstance(event, ResponseOutputItemDoneEvent) and isinstance(event.item, ResponseFunctionToolCall):
            calls.append(event.item)
    return "".join(text), calls
