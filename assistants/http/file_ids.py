"""The files that a body speaks of."""

from collections.abc import Iterable, Iterator

from lockstitch.assistants.http.tool_resources import ToolResources
from lockstitch.starter.contract import NewMessage


def of_messages(messages: Iterable[NewMessage] | None) -> Iterator[str]:
    """Yield the ids of the files that are attached to messages or shown in them."""
    for message in messages or ():
        for attachment in message.attachments or ():
            yield attachment.file_id
        for part in message.content:
            if not isinstance(part, str) and part.type == "image_file":
                yield part.image_file.file_id


def of_resources(resources: ToolResources | None) -> Iterator[str]:
    """Yield the ids of the files that the code interpreter may read."""
    if resources is not None and resources.code_interpreter is not None:
        yield from resources.code_interpreter.file_ids or ()
