"""The marks by which models cite passages, as the API has them."""


def mark(search: int, position: int, filename: str) -> str:
    """Return the mark of the passage at ``position`` among those that search number ``search`` of its thread found."""
    return f"【{search}:{position}†{filename.translate(_NOT_IN_MARKS)}】"


_NOT_IN_MARKS = {ord(character): "_" for character in "【】\n\r"}
