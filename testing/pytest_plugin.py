"""Fixtures for tests of handlers, and of code that talks to an Assistants server.

Switched on in a ``conftest.py``; whoever does not, pays nothing::

    pytest_plugins = ["lockstitch.testing.pytest_plugin"]
"""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from lockstitch.testing.assistants_upstream import AssistantsUpstream


@pytest.fixture
def assistants_upstream() -> Iterator[AssistantsUpstream]:
    """Give each test an Assistants server of its own, with the offline model until it gets a script.

    It runs in a thread, so that it serves tests with and without an event loop. The SDK's helpers are told to ask
    for a run's status every 10 ms.
    """
    with AssistantsUpstream(poll_after=timedelta(milliseconds=10)) as upstream:
        yield upstream
