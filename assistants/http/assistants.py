"""Assistants: create, retrieve, list, modify, delete."""

import time
from typing import Annotated, Any

from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.requests import Request

from lockstitch.assistants import objects
from lockstitch.assistants.http.answers import JsonAnswer, page_answer
from lockstitch.assistants.http.bodies import read_body, stored
from lockstitch.assistants.http.caller import project_of
from lockstitch.assistants.http.ids import path_id
from lockstitch.assistants.http.pages import page_cursor
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.http.tool_resources import NewToolResources, ToolResources, settle
from lockstitch.assistants.store import answerers, assistants
from lockstitch.assistants.store.rows import Row
from lockstitch.starter.contract import Metadata, ReasoningEffort, ResponseFormat, ToolParam


class ModifiedAssistant(BaseModel):
    """What can be changed about an assistant."""

    model: Annotated[str, Field(min_length=1)] = ""
    name: Annotated[str, Field(max_length=256)] | None = None
    description: Annotated[str, Field(max_length=512)] | None = None
    instructions: Annotated[str, Field(max_length=256_000)] | None = None
    tools: Annotated[list[ToolParam], Field(max_length=128)] | None = None
    tool_resources: ToolResources | None = None
    metadata: Metadata | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    reasoning_effort: ReasoningEffort | None = None
    response_format: ResponseFormat | None = None


class NewAssistant(ModifiedAssistant):
    """An assistant to create."""

    model: Annotated[str, Field(min_length=1)]
    tool_resources: NewToolResources | None = None


_NEW: dict[str, Any] = {
    "name": None,
    "description": None,
    "instructions": None,
    "tools": [],
    "tool_resources": {},
    "metadata": {},
    "temperature": None,
    "top_p": None,
    "reasoning_effort": None,
    "response_format": None,
}


class Assistants:
    """The operations on assistants."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._database = services.database

    async def create(self, request: Request) -> JsonAnswer:
        """Add an assistant."""
        project, body = project_of(request), await read_body(request, NewAssistant)
        values = _NEW | _columns(body) | {"project_id": project}

        def create(connection: Connection) -> Row:
            now = int(time.time())
            resources = settle(connection, project, body.tool_resources, now)
            return assistants.create(connection, values | {"tool_resources": resources}, now)

        return JsonAnswer(objects.assistant(await self._services.accept(create)))

    async def retrieve(self, request: Request) -> JsonAnswer:
        """Return an assistant."""
        assistant_id, project = path_id(request, "assistant_id"), project_of(request)
        row = await self._database.read(lambda connection: assistants.get(connection, assistant_id, project=project))
        return JsonAnswer(objects.assistant(row))

    async def list_page(self, request: Request) -> JsonAnswer:
        """Return a page of the assistants."""
        cursor, project = page_cursor(request, "asst"), project_of(request)
        page = await self._database.read(lambda connection: assistants.listed(connection, cursor, project=project))
        return page_answer(page, objects.assistant)

    async def modify(self, request: Request) -> JsonAnswer:
        """Change what the body names, and nothing else."""
        assistant_id, project = path_id(request, "assistant_id"), project_of(request)
        body = await read_body(request, ModifiedAssistant)
        values = _columns(body)

        def change(connection: Connection) -> Row:
            if "tool_resources" in values:
                values["tool_resources"] = settle(connection, project, body.tool_resources, int(time.time()))
            return assistants.change(connection, assistant_id, values, project=project)

        return JsonAnswer(objects.assistant(await self._database.write(change)))

    async def delete(self, request: Request) -> JsonAnswer:
        """Delete an assistant."""
        assistant_id, project = path_id(request, "assistant_id"), project_of(request)
        await self._database.write(lambda connection: assistants.delete(connection, assistant_id, project=project))
        return JsonAnswer(objects.deleted(assistant_id, "assistant.deleted"))


def _columns(assistant: ModifiedAssistant) -> dict[str, Any]:
    answerers.check_metadata(assistant.metadata)
    return stored(
        assistant,
        tools=objects.tools(assistant.tools or ()),
        metadata=assistant.metadata or {},
    )
