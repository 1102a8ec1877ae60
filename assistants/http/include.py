"""What an answer shows only where it is asked for."""

from starlette.requests import Request

from lockstitch.assistants import refusals

SEARCH_RESULT_CONTENT = "step_details.tool_calls[*].file_search.results[*].content"


def check_include(request: Request) -> frozenset[str]:
    """Return what ``include[]`` asks for; raises `ApiError` for what there is not."""
    query = request.query_params
    asked = [*query.getlist("include[]"), *query.getlist("include")]
    for position, what in enumerate(asked):
        if what != SEARCH_RESULT_CONTENT:
            raise refusals.unsupported_value(f"include[{position}]", what, (SEARCH_RESULT_CONTENT,))
    return frozenset(asked)
