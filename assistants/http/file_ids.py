"""The files that a body speaks of."""

from collections.abc import Iterable, Iterator

from lockstitch.starter.contract import NewMessage


def of_messages(messages: Iterable[NewMessage] | None) -> Iterator[str]:
    """Yield the ids of the files that are attached to messages or shown in them."""
    for message in messages or ():
        for attachment in message.attachments or ():
            yield attachment.file_id
        for part in message.content:
            if not isinstance(part, str) and part.type == "image_file":
                yield part.image_file.file_id
