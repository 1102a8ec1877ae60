"""What the model is told in one turn of a run."""

from typing import Any

from lockstitch.assistants.model.turn import (
    FunctionCall,
    FunctionTool,
    ImagePart,
    Message,
    ModelTurn,
    NamedFunction,
    ToolRound,
)
from lockstitch.testing.upstream.state import Row, State


def next_turn(state: State, run: Row) -> ModelTurn:
    """Return the run's next turn: the thread so far, and the run's own tool rounds."""
    messages = [row for row in state.messages_of(state.threads[run["thread_id"]]) if row["status"] == "completed"]
    last = run["truncation_strategy"]["last_messages"]
    rounds = [step["calls"] for step in state.steps_of(run) if step["calls"] and step["status"] == "completed"]
    return ModelTurn(
        model=run["model"],
        instructions=run["instructions"],
        messages=tuple(
            Message(row["role"], tuple(map(_part, row["content"]))) for row in messages[-last if last else 0 :]
        ),
        rounds=tuple(ToolRound(tuple(map(_call, calls))) for calls in rounds),
        tools=tuple(_tool(tool["function"]) for tool in run["tools"] if tool["type"] == "function"),
        tool_choice=_choice(run["tool_choice"]),
        parallel_tool_calls=run["parallel_tool_calls"],
        temperature=run["temperature"],
        top_p=run["top_p"],
        max_completion_tokens=_tokens_left(run),
        reasoning_effort=run["reasoning_effort"],
        response_format=run["response_format"] or "auto",
    )


def _part(part: Row) -> str | ImagePart:
    match part["type"]:
        case "text":
            return str(part["text"]["value"])
        case "image_url":
            return ImagePart(part["image_url"]["url"], part["image_url"]["detail"])
        case _:  # there are no files here, and a scripted model does not look
            return ImagePart(f"file:{part['image_file']['file_id']}", part["image_file"]["detail"])


def _call(call: Row) -> FunctionCall:
    return FunctionCall(call["call_id"], call["name"], call["arguments"], call["output"] or "")


def _tool(function: Row) -> FunctionTool:
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return FunctionTool(function["name"], function.get("description") or "", parameters, bool(function.get("strict")))


def _choice(choice: Any) -> Any:
    if isinstance(choice, dict):
        return NamedFunction(choice["function"]["name"]) if choice["type"] == "function" else "auto"
    return choice or "auto"


def _tokens_left(run: Row) -> int | None:
    budget = run["max_completion_tokens"]
    return None if budget is None else max(budget - run["usage"].get("completion_tokens", 0), 0)
