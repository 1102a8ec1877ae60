"""Where the story of a run upstream meets the store: reading what was told, and telling more in one transaction."""

from collections.abc import Callable, Container, Iterator, Sequence

from sqlalchemy import Connection

from lockstitch.activities.backends.assistants import rounds
from lockstitch.activities.backends.assistants.rounds import CallNames
from lockstitch.activities.backends.assistants.story import Story
from lockstitch.activities.messages import RunRef
from lockstitch.assistants.store import event_log
from lockstitch.assistants.store.event_log import LoggedEvent, NewEvent
from lockstitch.errors import WriterFenced

_READ_AT_ONCE = 500


def read_names(connection: Connection, run: RunRef) -> CallNames:
    """Return the names of the run's calls."""
    return CallNames(run, rounds.of_run(connection, run.run_id))


def read_story(connection: Connection, run: RunRef, handled: Container[str]) -> Story:
    """Return what watchers of the run were told."""
    story = Story(run, handled, read_names(connection, run))
    story.read(_events(connection, run.run_id))
    return story


def begin(connection: Connection, run_id: str, events: Sequence[NewEvent]) -> None:
    """Add the first events to a log that may not exist yet; raises `WriterFenced` where the run has ended before."""
    if event_log.is_closed(connection, run_id):
        raise WriterFenced(run_id)
    if event_log.exists(connection, run_id):
        event_log.append(connection, run_id, events)
    elif events:
        event_log.begin(connection, run_id, events)


def tell(
    connection: Connection, run: RunRef, handled: Container[str], news: Callable[[Story], Sequence[NewEvent]]
) -> Story:
    """Tell what is new, after whoever was telling before; returns the whole story."""
    fence = event_log.claim(connection, run.run_id)
    story = read_story(connection, run, handled)
    events = news(story)
    if events:
        event_log.append(connection, run.run_id, events, fence=fence)
    return story


def _events(connection: Connection, run_id: str) -> Iterator[LoggedEvent]:
    seq = 0
    while batch := event_log.after(connection, run_id, seq, limit=_READ_AT_ONCE):
        yield from batch
        seq = batch[-1].seq
