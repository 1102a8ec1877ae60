"""What the model is told in one turn of a run of our own server."""

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from lockstitch.assistants.model.built_in_tools import BUILT_IN
from lockstitch.assistants.model.turn import (
    DataFile,
    FunctionCall,
    FunctionTool,
    ImagePart,
    Message,
    ModelTurn,
    NamedFunction,
    ToolRound,
)
from lockstitch.assistants.store import code_files, files, steps, threads
from lockstitch.assistants.store.rows import Row
from lockstitch.sandbox.port import DATA


def read_turn(connection: Connection, run: Row, run_steps: Sequence[Row]) -> ModelTurn:
    """Return the next turn of the run with these steps: the thread so far, and the run's own tool rounds."""
    # A message whose step is open was written by an attempt that broke off, however whole it looks.
    broken = [step["message_id"] for step in run_steps if step["message_id"] and step["status"] == "in_progress"]
    truncation = run["truncation_strategy"]
    last = truncation["last_messages"] if truncation["type"] == "last_messages" else None
    messages = threads.finished_messages(connection, run["thread_id"], last, without=broken)
    data_files = _data_files(connection, run)
    return ModelTurn(
        model=run["model"],
        instructions="\n\n".join(filter(None, [run["instructions"], _told_of(data_files)])),
        messages=tuple(_message(connection, run["project_id"], row) for row in messages),
        rounds=tuple(_round(calls) for calls in steps.completed_rounds(connection, run_steps)),
        tools=_tools(run["tools"]),
        tool_choice=_tool_choice(run["tool_choice"]),
        parallel_tool_calls=run["parallel_tool_calls"],
        temperature=run["temperature"],
        top_p=run["top_p"],
        max_completion_tokens=_tokens_left(run),
        reasoning_effort=run["reasoning_effort"],
        response_format=run["response_format"] or "auto",
        data_files=data_files,
    )


def _data_files(connection: Connection, run: Row) -> tuple[DataFile, ...]:
    """Return what code can read in this run: what clients gave, and what code in earlier runs has written."""
    if not any(tool["type"] == "code_interpreter" for tool in run["tools"]):
        return ()
    found = dict(code_files.given(connection, run))
    for path, file_id in code_files.of_thread(connection, run["thread_id"]).items():
        file = files.find(connection, file_id, project=run["project_id"])
        if file is not None:
            found[path] = file
    return tuple(DataFile(str(DATA / path), file["bytes"]) for path, file in found.items())


def _told_of(data_files: Sequence[DataFile]) -> str:
    """Say in words which files there are."""
    if not data_files:
        return ""
    lines = [f"- {file.path} ({file.size} bytes)" for file in data_files]
    return "\n".join(["Files for the code interpreter:", *lines])


def _tools(tools: Sequence[Mapping[str, Any]]) -> tuple[FunctionTool, ...]:
    """Return the tools as functions; a built-in tool that is there twice is there once."""
    built_in = dict.fromkeys(tool["type"] for tool in tools if tool["type"] != "function")
    functions = (_function(tool["function"]) for tool in tools if tool["type"] == "function")
    return (*(BUILT_IN[name] for name in built_in), *functions)


def _message(connection: Connection, project: str, row: Row) -> Message:
    return Message(row["role"], tuple(_part(connection, project, part) for part in row["content"]))


def _part(connection: Connection, project: str, part: Mapping[str, Any]) -> str | ImagePart:
    match part["type"]:
        case "text":
            return str(part["text"]["value"])
        case "image_url":
            return ImagePart(part["image_url"]["url"], part["image_url"].get("detail", "auto"))
        case "image_file":
            image = part["image_file"]
            return _stored_image(connection, project, image["file_id"], image.get("detail", "auto"))
        case "refusal":
            return str(part["refusal"])
        case other:
            raise ValueError(f"a message has content of the unknown type {other!r}")


def _stored_image(connection: Connection, project: str, file_id: str, detail: Any) -> str | ImagePart:
    file = files.find(connection, file_id, project=project)
    if file is None:  # deleted, or not imported with its thread; the rest of the thread is still worth an answer
        return f"[The image {file_id} is not there any more.]"
    kind = mimetypes.guess_type(file["filename"])[0] or "application/octet-stream"
    return ImagePart(f"data:{kind};base64,{base64.b64encode(files.content(connection, file_id)).decode()}", detail)


def _round(calls: list[Row]) -> ToolRound:
    return ToolRound(
        tuple(FunctionCall(call["call_id"], call["name"], call["arguments"], call["output"] or "") for call in calls)
    )


def _function(function: Mapping[str, Any]) -> FunctionTool:
    return FunctionTool(
        name=function["name"],
        description=function.get("description") or "",
        parameters=function.get("parameters") or {"type": "object", "properties": {}},
        strict=bool(function.get("strict")),
    )


def _tool_choice(choice: Any) -> Any:
    if isinstance(choice, dict):
        return NamedFunction(choice["function"]["name"] if choice["type"] == "function" else choice["type"])
    return choice or "auto"


def _tokens_left(run: Row) -> int | None:
    budget = run["max_completion_tokens"]
    return None if budget is None else max(budget - run["usage"].get("completion_tokens", 0), 0)
