"""What the workflow of a run and the workers that run code agree on."""


def code_queue(task_queue: str) -> str:
    """Return the task queue of the calls of the code interpreter that have no session yet."""
    return f"{task_queue}-code"
