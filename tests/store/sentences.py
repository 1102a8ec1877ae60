"""What errors of the store have to look like: something that an operator can read in a log line."""

from lockstitch.errors import LockstitchError


def one_sentence(error: LockstitchError) -> str:
    """Return what the error says, which has to be short and on one line."""
    assert "\n" not in str(error)
    assert len(str(error)) < 250
    return str(error)
