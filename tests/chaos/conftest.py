"""Servers that these tests have for themselves, for they count what is in them."""

from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from lockstitch.tests.temporal_server import started_temporal


@pytest.fixture(scope="module")
async def temporal() -> AsyncIterator[Client]:
    """A Temporal dev server in which nothing is but the runs of one module."""
    async with started_temporal() as client:
        yield client
