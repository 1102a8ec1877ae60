"""Run steps: retrieve, list."""

from sqlalchemy import Connection
from starlette.requests import Request

from lockstitch.assistants import objects
from lockstitch.assistants.http.answers import JsonAnswer
from lockstitch.assistants.http.caller import project_of
from lockstitch.assistants.http.ids import path_id
from lockstitch.assistants.http.include import SEARCH_RESULT_CONTENT, check_include
from lockstitch.assistants.http.pages import page_cursor
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.store import runs, steps, tool_calls


class Steps:
    """The operations on the steps of a run."""

    def __init__(self, services: Services) -> None:
        self._database = services.database

    async def retrieve(self, request: Request) -> JsonAnswer:
        """Return a step."""
        thread_id, run_id, project = path_id(request, "thread_id"), path_id(request, "run_id"), project_of(request)
        step_id = path_id(request, "step_id")
        with_content = SEARCH_RESULT_CONTENT in check_include(request)

        def read(connection: Connection) -> objects.Object:
            step = steps.get(connection, runs.get(connection, thread_id, run_id, project=project), step_id)
            return objects.run_step(
                step, tool_calls.of_steps(connection, [step_id])[step_id], with_content=with_content
            )

        return JsonAnswer(await self._database.read(read))

    async def list_page(self, request: Request) -> JsonAnswer:
        """Return a page of the run's steps."""
        thread_id, run_id, project = path_id(request, "thread_id"), path_id(request, "run_id"), project_of(request)
        cursor = page_cursor(request, "step")
        with_content = SEARCH_RESULT_CONTENT in check_include(request)

        def read(connection: Connection) -> objects.Object:
            page = steps.listed(connection, runs.get(connection, thread_id, run_id, project=project), cursor)
            calls = tool_calls.of_steps(connection, [step["id"] for step in page.rows])
            found = [objects.run_step(step, calls[step["id"]], with_content=with_content) for step in page.rows]
            return objects.page(found, has_more=page.has_more)

        return JsonAnswer(await self._database.read(read))
