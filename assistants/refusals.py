"""The error texts of the Assistants API, byte for byte: clients match them and pick ids out of them."""

import math
from collections.abc import Sequence

from lockstitch.errors import ApiError


def no_assistant(assistant_id: str) -> ApiError:
    """The assistant does not exist."""
    return _not_found(f"No assistant found with id '{assistant_id}'.")


def no_thread(thread_id: str) -> ApiError:
    """The thread does not exist."""
    return _not_found(f"No thread found with id '{thread_id}'.")


def no_message(message_id: str) -> ApiError:
    """The message does not exist in this thread."""
    return _not_found(f"No message found with id '{message_id}'.")


def no_run(run_id: str) -> ApiError:
    """The run does not exist in this thread."""
    return _not_found(f"No run found with id '{run_id}'.")


def no_run_step(step_id: str) -> ApiError:
    """The step does not exist in this run."""
    return _not_found(f"No run step found with id '{step_id}'.")


def no_file(file_id: str) -> ApiError:
    """The file does not exist."""
    return ApiError(f"No such File object: {file_id}", status=404, param="id")


def no_vector_store(vector_store_id: str) -> ApiError:
    """The vector store does not exist."""
    return _not_found(f"No vector store found with id '{vector_store_id}'.")


def no_vector_store_file(file_id: str, vector_store_id: str) -> ApiError:
    """The vector store does not hold the file."""
    return _not_found(f"No file found with id '{file_id}' in vector store '{vector_store_id}'.")


def no_file_batch(batch_id: str, vector_store_id: str) -> ApiError:
    """The vector store has no such batch."""
    return _not_found(f"No file batch found with id '{batch_id}' in vector store '{vector_store_id}'.")


def vector_store_expired(vector_store_id: str) -> ApiError:
    """An expired vector store holds nothing any more and takes nothing."""
    return ApiError(f"Vector store '{vector_store_id}' is expired.", code="vector_store_expired")


def vector_store_full(vector_store_id: str, maximum: int) -> ApiError:
    """The vector store has no room for so many more files."""
    return ApiError(
        f"Vector store '{vector_store_id}' cannot hold more than {maximum} files.", code="vector_store_full"
    )


def batch_not_cancellable(status: str) -> ApiError:
    """A batch whose files are all done cannot be cancelled."""
    return ApiError(f"Cannot cancel file batch with status '{status}'.")


def one_of_two(first: str, second: str) -> ApiError:
    """Exactly one of two parameters has to be given."""
    return ApiError(f"Exactly one of '{first}' and '{second}' must be given.", param=first, code="invalid_value")


def too_many_code_files(maximum: int) -> ApiError:
    """The code interpreter takes so many files and no more."""
    return ApiError(f"The tool 'code_interpreter' cannot have more than {maximum} files.", param="attachments")


def message_while_run_is_active(thread_id: str, run_id: str) -> ApiError:
    """A thread takes no messages while a run is active."""
    return ApiError(f"Can't add messages to {thread_id} while a run {run_id} is active.")


def run_while_run_is_active(thread_id: str, run_id: str) -> ApiError:
    """A thread has at most one active run."""
    return ApiError(f"Thread {thread_id} already has an active run {run_id}.")


def nothing_to_run() -> ApiError:
    """Neither the thread nor the assistant says what to do."""
    return ApiError(
        "Run creation requires a Thread with a user message or an assistant with instructions.",
        code="invalid_thread",
    )


def outputs_not_accepted(status: str) -> ApiError:
    """Only a run in ``requires_action`` takes tool outputs."""
    return ApiError(f'Runs in status "{status}" do not accept tool outputs.')


def wrong_outputs(expected: Sequence[str], got: Sequence[str]) -> ApiError:
    """The outputs are not exactly those that the run asks for."""
    return ApiError(f"Expected tool outputs for call_ids {list(expected)}, got {list(got)}")


def not_cancellable(status: str) -> ApiError:
    """An ended run cannot be cancelled."""
    return ApiError(f"Cannot cancel run with status '{status}'.")


def no_code_run_here(param: str) -> ApiError:
    """The run has the tool that runs code, and nothing confines code here."""
    problem = "The tool 'code_interpreter' is not available on this server: it has no sandbox to run code in"
    return ApiError(
        f"{problem}. Use function tools, or have LOCKSTITCH_SANDBOX switch one on.",
        param=param,
        code="unsupported_tool",
    )


def named_as_built_in_tool(name: str, param: str) -> ApiError:
    """A function that is called as a built-in tool which the run has too."""
    return ApiError(
        f"The function '{name}' has the name of a built-in tool; give it another name, or leave out the tool.",
        param=param,
        code="invalid_value",
    )


def tool_not_there(tool: str) -> ApiError:
    """A tool that a run is to use and does not have."""
    return ApiError(
        f"The tool choice '{tool}' is not among the tools of the run.", param="tool_choice", code="invalid_value"
    )


def not_updatable(status: str) -> ApiError:
    """A run that is being worked on keeps its metadata."""
    return ApiError(f"Cannot update run with status '{status}'.")


def unknown_url(method: str, path: str) -> ApiError:
    """Nothing is found under this path."""
    return _not_found(f"Invalid URL ({method} {path})")


def method_not_allowed(method: str, path: str) -> ApiError:
    """The path takes other methods."""
    return ApiError(f"Not allowed to {method} on {path}.", status=405)


def beta_header_missing() -> ApiError:
    """The Assistants API asks for a header that says which version of it is meant."""
    return ApiError(
        "You must provide the 'OpenAI-Beta' header to access the Assistants API. "
        "Please try again by setting the header 'OpenAI-Beta: assistants=v2'.",
        status=401,
        code="invalid_beta",
    )


def key_missing() -> ApiError:
    """The request has no key, and this server asks for one."""
    return ApiError(
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
        "(i.e. Authorization: Bearer YOUR_KEY), or in an api-key header. You can obtain an API key from whoever runs "
        "this server.",
        status=401,
        headers={"www-authenticate": "Bearer"},
    )


def wrong_key(key: str) -> ApiError:
    """The key is none of ours, or was revoked; of what was sent, only the ends are shown."""
    shown = min(4, len(key) // 4)
    masked = key[:shown] + "*" * min(len(key) - 2 * shown, 40) + key[len(key) - shown :]
    return ApiError(
        f"Incorrect API key provided: {masked}. You can obtain an API key from whoever runs this server.",
        status=401,
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )


def operator_key_needed() -> ApiError:
    """The key is one of ours, and what is asked for concerns all projects."""
    return ApiError(
        "This needs an operator's key, because it concerns every project. Whoever runs this server makes one with "
        "`lockstitch keys create --operator`.",
        status=403,
        code="operator_key_needed",
    )


def several_keys() -> ApiError:
    """The request has keys that differ, and nobody can tell which is meant."""
    return ApiError("You provided more than one API key. Send one, in one header.", code="invalid_api_key")


def rate_limited(limit: int, wait_seconds: float) -> ApiError:
    """The key has made as many requests as it may for now; ``limit`` is in requests per minute."""
    return ApiError(
        f"Rate limit reached for requests per minute (RPM): Limit {limit}. Please try again in {wait_seconds:.3g}s.",
        status=429,
        type="requests",
        code="rate_limit_exceeded",
        headers=_retry_after(wait_seconds),
    )


def too_many_streams(limit: int) -> ApiError:
    """The key reads as many streams as it may."""
    return ApiError(
        f"Rate limit reached for open streams: Limit {limit}. Please close one and try again.",
        status=429,
        type="requests",
        code="rate_limit_exceeded",
        headers=_retry_after(1),
    )


def server_has_too_many_streams() -> ApiError:
    """This process sends as many streams as it may."""
    return ApiError(
        "The server is currently sending as many streams as it can. Please try again later.",
        status=503,
        type="server_error",
        headers=_retry_after(1),
    )


def not_http() -> ApiError:
    """What came is no HTTP request."""
    return ApiError("The server could not read this as an HTTP request.")


def head_too_large(limit: int) -> ApiError:
    """The target and the headers of a request have more than ``limit`` bytes."""
    return ApiError(f"The target and the headers of the request have more than {limit} bytes.", status=431)


def head_too_slow() -> ApiError:
    """The head of a request comes so slowly that the server does not wait for the rest."""
    return ApiError("The headers of the request were not received in time.", status=408)


def too_slow() -> ApiError:
    """The body comes so slowly that the server does not wait for the rest."""
    return ApiError(
        "The request body was not received in time. Please try again.", status=408, headers={"connection": "close"}
    )


def _retry_after(seconds: float) -> dict[str, str]:
    return {"retry-after": str(math.ceil(seconds)), "retry-after-ms": str(math.ceil(seconds * 1000))}


def not_json() -> ApiError:
    """The body is not JSON."""
    return ApiError(
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
        "library correctly. The API expects a JSON payload, but what was sent was not valid JSON.)"
    )


def unsupported_content_type(given: str, supported: str) -> ApiError:
    """The body is of another media type than the operation takes."""
    return ApiError(
        f"Unsupported content type: '{given}'. This API method only accepts '{supported}' requests, but you specified "
        f"the header 'Content-Type: {given}'. Please try again with a supported content type.",
        code="unsupported_content_type",
    )


def not_multipart(problem: str) -> ApiError:
    """The body of an upload is not multipart/form-data."""
    return ApiError(f"Could not parse multipart form: {problem}")


def body_too_large(limit: int) -> ApiError:
    """The body has more than ``limit`` bytes."""
    return ApiError(f"Maximum content size limit ({limit}) exceeded.", status=413)


def wrong_purpose(purpose: str, purposes: Sequence[str]) -> ApiError:
    """A file is for none of the purposes there are."""
    return ApiError(f"'{purpose}' is not one of {list(purposes)} - 'purpose'", param="purpose")


def wrong_id(param: str, value: str, prefix: str) -> ApiError:
    """An id that cannot be one of this kind."""
    message = f"Invalid '{param}': '{value}'. Expected an ID that begins with '{prefix}'."
    return ApiError(message, param=param, code="invalid_value")


def missing_parameter(param: str) -> ApiError:
    """A parameter that has no default is not there."""
    return ApiError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def unknown_parameter(param: str) -> ApiError:
    """A parameter that the operation does not have."""
    return ApiError(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")


def wrong_type(param: str, expected: str, got: str) -> ApiError:
    """A value of another type; ``expected`` and ``got`` are such as ``a string``."""
    message = f"Invalid type for '{param}': expected {expected}, but got {got} instead."
    return ApiError(message, param=param, code="invalid_type")


def wrong_body_type(got: str) -> ApiError:
    """The body is JSON, but not an object."""
    return ApiError(f"Invalid body: expected an object, but got {got} instead.", code="invalid_type")


def unsupported_value(param: str, value: object, supported: Sequence[str]) -> ApiError:
    """A value that is none of those there are."""
    *others, last = [f"'{choice}'" for choice in supported]
    comma = "," if len(others) > 1 else ""
    choices = f"{', '.join(others)}{comma} and {last}" if others else last
    message = f"Invalid value: '{value}'. Supported values are: {choices}."
    return ApiError(message, param=param, code="invalid_value")


def wrong_value(param: str, problem: str) -> ApiError:
    """A value that is wrong in a way that has no wording of its own."""
    return ApiError(f"Invalid value for '{param}': {problem}.", param=param, code="invalid_value")


def wrong_url(param: str) -> ApiError:
    """A text that is no URL."""
    message = f"Invalid '{param}'. Expected a valid URL, but got a value with an invalid format."
    return ApiError(message, param=param, code="invalid_value")


def wrong_pattern(param: str, pattern: str) -> ApiError:
    """A string with characters that it may not have."""
    message = (
        f"Invalid '{param}': string does not match pattern. Expected a string that matches the pattern '{pattern}'."
    )
    return ApiError(message, param=param, code="invalid_value")


def too_long(param: str, kind: str, maximum: int, length: int) -> ApiError:
    """A string or an array (``kind``) that is too long."""
    message = (
        f"Invalid '{param}': {kind} too long. Expected {_with_article(kind)} with maximum length {maximum}, "
        f"but got {_with_article(kind)} with length {length} instead."
    )
    return ApiError(message, param=param, code=f"{kind}_above_max_length")


def empty(param: str, kind: str) -> ApiError:
    """A string or an array (``kind``) in which there is nothing."""
    message = (
        f"Invalid '{param}': empty {kind}. Expected {_with_article(kind)} with minimum length 1, "
        f"but got an empty {kind} instead."
    )
    return ApiError(message, param=param, code=f"empty_{kind}")


def too_many_properties(param: str, maximum: int, count: int) -> ApiError:
    """An object with too many entries."""
    message = (
        f"Invalid '{param}': too many properties. Expected an object with at most {maximum} properties, "
        f"but got an object with {count} properties instead."
    )
    return ApiError(message, param=param, code="object_above_max_properties")


def property_name_too_long(param: str, maximum: int, length: int) -> ApiError:
    """An object with an entry whose name is too long."""
    message = (
        f"Invalid '{param}': property name too long. Expected a property name with maximum length {maximum}, "
        f"but got one with length {length} instead."
    )
    return ApiError(message, param=param, code="string_above_max_length")


def above_maximum(param: str, kind: str, maximum: str, value: object) -> ApiError:
    """An ``integer`` or ``decimal`` (``kind``) that is too large."""
    message = f"Invalid '{param}': {kind} above maximum value. Expected a value <= {maximum}, but got {value} instead."
    return ApiError(message, param=param, code=f"{kind}_above_max_value")


def below_minimum(param: str, kind: str, minimum: str, value: object) -> ApiError:
    """An ``integer`` or ``decimal`` (``kind``) that is too small."""
    message = f"Invalid '{param}': {kind} below minimum value. Expected a value >= {minimum}, but got {value} instead."
    return ApiError(message, param=param, code=f"{kind}_below_min_value")


def server_error(request_id: str) -> ApiError:
    """Something broke that nobody foresaw."""
    return ApiError(
        "The server had an error processing your request. Sorry about that! You can retry your request, or tell "
        "whoever runs this server if you keep seeing this error. "
        f"(Please include the request ID {request_id} in your email.)",
        status=500,
        type="server_error",
    )


def store_unavailable() -> ApiError:
    """The database is out of reach; trying again may help."""
    return ApiError(
        "The server is currently unable to reach its database. Please try again later.",
        status=503,
        type="server_error",
    )


def embedder_unavailable() -> ApiError:
    """What turns queries into vectors is out of reach; trying again may help."""
    return ApiError(
        "The server is currently unable to reach the model that its vector stores are searched with. Please try again "
        "later.",
        status=503,
        type="server_error",
    )


def server_starting() -> ApiError:
    """The server is not ready yet; trying again may help."""
    return ApiError(
        "The server is starting. Please try again later.", status=503, type="server_error", headers=_retry_after(1)
    )


def server_stopping() -> ApiError:
    """A stream ends because its server does; the run goes on."""
    return ApiError(
        "The server is stopping and ends this stream. The run goes on; retrieve it to see how it does.",
        status=503,
        type="server_error",
    )


def _with_article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _not_found(message: str) -> ApiError:
    return ApiError(message, status=404)
