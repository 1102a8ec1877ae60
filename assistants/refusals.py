"""The error texts of the Assistants API, byte for byte: clients match them and pick ids out of them."""

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


def built_in_tool_unavailable(tool: str, param: str) -> ApiError:
    """A built-in tool that this server does not provide."""
    return ApiError(
        f"The tool '{tool}' is not available on this server; use function tools.",
        param=param,
        code="unsupported_tool",
    )


def _not_found(message: str) -> ApiError:
    return ApiError(message, status=404)
